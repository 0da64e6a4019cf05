//! The host's two standard streams: orders come in a line each, news go out a line each.

use crate::control::{HostNews, HostOrder};
use std::collections::VecDeque;
use std::io::{BufRead, Write};
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
pub(super) struct News<W>(pub(super) W);

impl<W: Write> News<W> {
    /// Says it, at once.
    pub(super) fn say(&mut self, news: &HostNews) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(news)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        self.0.flush()
    }
}
