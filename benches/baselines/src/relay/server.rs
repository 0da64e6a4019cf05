//! The server: one thread and an accept loop; each connection then has a task that reads and a task that sends.

use super::hall::Hall;
use super::outlet::Outlet;
use crate::{BaselineError, Setup};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

/// What one baseline does differently from another.
pub(crate) trait Trade: Send + 'static {
    /// Bytes that each user introduces itself with.
    fn introduction_bytes(&self) -> usize;

    /// Bytes that each sender uploads in a round.
    fn upload_bytes(&self) -> usize;

    /// What every connection gets when all users are introduced; `introductions` are theirs, ascending.
    fn welcome(&self, introductions: &[u8]) -> Vec<u8>;

    /// Sends a round to the users of one connection.
    fn deliver(&self, round: &Delivery, to: &mut Outlet) -> impl Future<Output = io::Result<()>>;
}

/// A round that is complete.
pub(crate) struct Delivery {
    /// What each user introduced itself with, ascending.
    pub(crate) introductions: Rc<[u8]>,
    /// What each sender uploaded, ascending.
    pub(crate) uploads: Vec<u8>,
}

/// What a server counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayReport {
    /// Bytes that connections took, headers included.
    pub egress_bytes: u64,
    /// Shares or ciphertexts delivered to a user.
    pub deliveries: u64,
    /// Calls of `write` that took bytes.
    pub writes: u64,
    /// Those of them that took only a part: the next one goes on.
    pub cut_writes: u64,
    /// Connections of hosts.
    pub connections: u64,
    /// Those of them on which the kernel says that TCP_NODELAY is set, that is Nagle's algorithm off.
    pub nodelay_connections: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) egress_bytes: AtomicU64,
    pub(super) deliveries: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) cut_writes: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) nodelay_connections: AtomicU64,
}

/// A running server; dropped, it closes its connections and its thread ends.
#[derive(Debug)]
pub struct RelayServer {
    address: SocketAddr,
    counters: Arc<Counters>,
    failure: Arc<Mutex<Option<BaselineError>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RelayServer {
    pub(crate) fn start<T: Trade>(
        listen: SocketAddr,
        setup: Setup,
        nagle: bool,
        trade: T,
        alarm: impl FnOnce(&BaselineError) + Send + 'static,
    ) -> Result<RelayServer, BaselineError> {
        setup.check()?;
        let listener = std::net::TcpListener::bind(listen).map_err(BaselineError::io("cannot listen"))?;
        listener.set_nonblocking(true).map_err(BaselineError::io("cannot listen"))?;
        let address = listener.local_addr().map_err(BaselineError::io("cannot listen"))?;
        let (counters, failure) = (Arc::new(Counters::default()), Arc::new(Mutex::new(None)));
        let (stop, stopped) = oneshot::channel();
        let (thread_counters, thread_failure) = (Arc::clone(&counters), Arc::clone(&failure));
        let run = move || {
            let hall = Hall::new(setup, nagle, trade, thread_counters);
            if let Err(error) = run(hall, listener, stopped) {
                alarm(&error);
                *thread_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        };
        let thread = std::thread::Builder::new().name("baseline server".into()).spawn(run);
        let thread = Some(thread.map_err(BaselineError::io("cannot start a thread"))?);
        Ok(RelayServer { address, counters, failure, stop: Some(stop), thread })
    }

    /// Where hosts connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counted since it began. A host may know of a delivery a moment before it is counted here.
    pub fn report(&self) -> RelayReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RelayReport {
            egress_bytes: read(&self.counters.egress_bytes),
            deliveries: read(&self.counters.deliveries),
            writes: read(&self.counters.writes),
            cut_writes: read(&self.counters.cut_writes),
            connections: read(&self.counters.connections),
            nodelay_connections: read(&self.counters.nodelay_connections),
        }
    }

    /// Ends it; what it counted, to the last write.
    ///
    /// # Errors
    /// What had ended it before.
    pub fn stop(mut self) -> Result<RelayReport, BaselineError> {
        self.end();
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(self.report()), Err)
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for RelayServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn run<T: Trade>(
    hall: Hall<T>,
    listener: std::net::TcpListener,
    stopped: oneshot::Receiver<()>,
) -> Result<(), BaselineError> {
    let hall = Rc::new(hall);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(BaselineError::io("cannot start tokio"))?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = TcpListener::from_std(listener).map_err(BaselineError::io("cannot listen"))?;
        tokio::select! {
            _ = stopped => Ok(()),
            () = hall.failed.notified() => Ok(()),
            error = accept(&hall, &listener) => Err(error),
        }
    })?;
    hall.failure.take().map_or(Ok(()), Err)
}

async fn accept<T: Trade>(hall: &Rc<Hall<T>>, listener: &TcpListener) -> BaselineError {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let hall = Rc::clone(hall);
                spawn_local(async move {
                    let end = hall.serve(stream).await;
                    hall.ended(end);
                });
            }
            Err(error) => return BaselineError::io("cannot accept a connection")(error),
        }
    }
}
