//! Serves `/metrics` and `/healthz`, on a thread of its own.

use crate::fanout::{CoreCounters, CoreHandle, CoreMessage};
use crate::front::Shared;
use crate::metrics::{self, Setting, Standing};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use tiny_http::{Header, Request, Response, Server};

/// How long a core may take to say what it counts: it answers between two turns.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks every core what it counts. Nothing of a core that does not answer in time.
pub(crate) fn count(cores: &[Arc<CoreHandle>]) -> Vec<Option<CoreCounters>> {
    let answers: Vec<_> = cores
        .iter()
        .map(|core| {
            let (reply, answer) = sync_channel(1);
            core.send(CoreMessage::Count(reply)).is_ok().then_some(answer)
        })
        .collect();
    answers.into_iter().map(|answer| answer?.recv_timeout(ANSWER_TIMEOUT).ok()).collect()
}

/// The thread that serves the pages.
pub(crate) struct Pages {
    server: Arc<Server>,
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Pages {
    /// Listens and serves from now on.
    pub(crate) fn start(address: SocketAddr, shared: Arc<Shared>) -> io::Result<Pages> {
        let server = Arc::new(Server::http(address).map_err(io::Error::other)?);
        let address = server.server_addr().to_ip().unwrap_or(address);
        let serving = server.clone();
        let settings = metrics::settings(&shared.config);
        let thread = std::thread::Builder::new().name("pages".into()).spawn(move || {
            for request in serving.incoming_requests() {
                // A reader who goes away in the middle harms nobody.
                let _ = answer(request, &shared, &settings);
            }
        })?;
        Ok(Pages { server, address, thread })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn stop(self) {
        self.server.unblock();
        if self.thread.join().is_err() {
            tracing::error!("the thread that serves /metrics panicked");
        }
    }
}

/// What the threads say of themselves now.
fn standing(shared: &Shared) -> Standing {
    // Before the cores are asked, which empty their queues for it.
    let core_queues = shared.cores.iter().map(|core| core.queue_length()).collect();
    Standing {
        cores: count(&shared.cores),
        core_queues,
        front_queues: shared.fronts.iter().map(|front| front.queue_length()).collect(),
        answer_queue: shared.answers.as_ref().map_or(0, |pool| pool.queue_length()),
    }
}

fn answer(request: Request, shared: &Shared, settings: &[Setting]) -> io::Result<()> {
    let text: Header = "Content-Type: text/plain; version=0.0.4".parse().expect("a header");
    match request.url() {
        "/metrics" => {
            let page = metrics::page(&shared.metrics, settings, &standing(shared));
            request.respond(Response::from_string(page).with_header(text))
        }
        "/healthz" => request.respond(Response::from_string("ok\n").with_header(text)),
        _ => request
            .respond(Response::from_string("only /metrics and /healthz are here\n").with_status_code(404)),
    }
}
