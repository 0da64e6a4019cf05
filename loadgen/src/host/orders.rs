//! The host's two standard streams: orders come in a line each, news go out a line each.

use crate::control::{HostNews, HostOrder};
use crate::limits::BEAT;
use std::collections::VecDeque;
use std::io::{BufRead, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// What came from the coordinator.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a few in a run")]
pub(super) enum Input {
    Order(HostOrder),
    /// A line that is no order, and why.
    Nonsense(String),
    /// The coordinator has gone.
    End,
}

/// Orders, as a thread reads them.
#[derive(Clone, Default)]
pub(super) struct Orders(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    inputs: VecDeque<Input>,
    waker: Option<Waker>,
}

impl Orders {
    /// Reads orders on a thread of their own until they end.
    pub(super) fn read(from: impl BufRead + Send + 'static) -> std::io::Result<Orders> {
        let orders = Orders::default();
        let to = orders.clone();
        std::thread::Builder::new().name("orders".into()).spawn(move || {
            for line in from.lines().map_while(Result::ok) {
                to.push(match serde_json::from_str(&line) {
                    Ok(order) => Input::Order(order),
                    Err(error) => Input::Nonsense(error.to_string()),
                });
            }
            to.push(Input::End);
        })?;
        Ok(orders)
    }

    fn push(&self, input: Input) {
        let mut queue = self.lock();
        queue.inputs.push_back(input);
        let waker = queue.waker.take();
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The next of them; wakes `waker` when there is one.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Input> {
        let mut queue = self.lock();
        match queue.inputs.pop_front() {
            Some(input) => Poll::Ready(input),
            None => {
                queue.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where news go.
pub(super) struct News<W>(Arc<Mutex<W>>);

impl<W: Write> News<W> {
    pub(super) fn to(writer: W) -> News<W> {
        News(Arc::new(Mutex::new(writer)))
    }

    /// Says it, at once.
    pub(super) fn say(&self, news: &HostNews) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(news)?;
        line.push(b'\n');
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        to.write_all(&line)?;
        to.flush()
    }
}

impl<W: Write + Send + 'static> News<W> {
    /// Says every second that the process lives, on a thread of its own, so that a busy executor does not look dead.
    /// It ends when what this gives back is dropped.
    pub(super) fn beat(&self) -> std::io::Result<Sender<()>> {
        let news = News(Arc::clone(&self.0));
        let (beats, ended) = channel();
        // Who does not listen any more has closed the orders, too.
        let beat = move || {
            while news.say(&HostNews::Alive).is_ok()
                && ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout)
            {}
        };
        std::thread::Builder::new().name("beats".into()).spawn(beat)?;
        Ok(beats)
    }
}
