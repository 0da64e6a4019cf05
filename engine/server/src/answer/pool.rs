//! The answer threads as everybody else sees them: where works are put, and how a thread that sleeps is woken.
//!
//! Works on a round's table go to every thread, each by a queue of its own and in order, since each thread has its part
//! of all answers. All other works lie in one queue, and whoever is free takes them. Both queues are bounded and have no
//! lock; what finds one full waits at the executor that sent it.

use super::thread::{Owner, Worker};
use super::work::Work;
use crate::front::FrontHandle;
use crate::limits::ANSWER_QUEUE_MAX;
use crate::metrics::Metrics;
use crossbeam::queue::ArrayQueue;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;
use twincast_protocol::ids::GroupId;

/// Where a work waits: one [on a table](Work::is_on_table) goes to every thread, any other to all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Of one thread.
    Thread(usize),
    /// Of all.
    Any,
}

#[derive(Debug)]
struct Seat {
    works: ArrayQueue<(GroupId, Work)>,
    /// The thread found nothing to do and sleeps, or is about to.
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

/// The answer threads, for those who give them works.
#[derive(Debug)]
pub struct AnswerPool {
    seats: Vec<Seat>,
    any: ArrayQueue<(GroupId, Work)>,
    stopping: AtomicBool,
    failed: AtomicBool,
}

impl AnswerPool {
    /// A pool whose threads are yet to start.
    #[must_use]
    pub fn new(threads: usize) -> Arc<AnswerPool> {
        let seat = || Seat {
            works: ArrayQueue::new(ANSWER_QUEUE_MAX),
            asleep: AtomicBool::new(false),
            thread: OnceLock::new(),
        };
        Arc::new(AnswerPool {
            seats: (0..threads).map(|_| seat()).collect(),
            any: ArrayQueue::new(ANSWER_QUEUE_MAX),
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        })
    }

    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.seats.len()
    }

    /// Queues a work and wakes whoever may do it. Once a thread has failed works are dropped: nobody would finish them.
    ///
    /// # Errors
    /// The work, when the queue is full: the caller keeps it and tries again, in order.
    pub fn send(&self, lane: Lane, group: GroupId, work: Work) -> Result<(), Work> {
        if self.has_failed() {
            return Ok(());
        }
        let queue = match lane {
            Lane::Thread(index) => &self.seats[index].works,
            Lane::Any => &self.any,
        };
        let sent = queue.push((group, work)).map_err(|(_, work)| work);
        // Either the thread sees what was just queued, or this one sees that it sleeps.
        fence(Ordering::SeqCst);
        match lane {
            Lane::Thread(index) => drop(self.seats[index].wake()),
            // One is enough; where nobody sleeps, all will look at the queue before they do.
            Lane::Any => drop(self.seats.iter().any(Seat::wake)),
        }
        sent
    }

    /// Whether a thread has panicked: no round of any group will have its answers any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Works that wait now, in all queues.
    pub(crate) fn queue_length(&self) -> usize {
        self.any.len() + self.seats.iter().map(|seat| seat.works.len()).sum::<usize>()
    }

    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A thread's next work on a table.
    pub(super) fn next_of(&self, index: usize) -> Option<(GroupId, Work)> {
        self.seats[index].works.pop()
    }

    /// The next work that anybody may do.
    pub(super) fn next_of_any(&self) -> Option<(GroupId, Work)> {
        self.any.pop()
    }

    /// A thread's share of the works that anybody may do: some are left for the others.
    pub(super) fn share_of_any(&self) -> usize {
        self.any.len().div_ceil(self.threads())
    }

    /// A thread that has nothing to do sleeps until it has, or for so long.
    pub(super) fn sleep(&self, index: usize, most: Option<Duration>) {
        let seat = &self.seats[index];
        seat.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if seat.works.is_empty() && self.any.is_empty() && !self.is_stopping() {
            match most {
                Some(most) => std::thread::park_timeout(most),
                None => std::thread::park(),
            }
        }
        seat.asleep.store(false, Ordering::Relaxed);
    }
}

impl Seat {
    /// Wakes the thread if it sleeps; returns whether it did.
    fn wake(&self) -> bool {
        let slept = self.asleep.swap(false, Ordering::Relaxed);
        if slept && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        slept
    }
}

/// The running threads, for who stops them.
#[derive(Debug)]
pub struct AnswerThreads {
    pool: Arc<AnswerPool>,
    threads: Vec<JoinHandle<()>>,
}

impl AnswerThreads {
    /// Starts the pool's threads, each on its core if it has one. `owners`: of each group whose delivery is `answer`, the
    /// executor that hears what was done, and what the group signs with.
    ///
    /// # Errors
    /// When the system has no thread left; none is left running then.
    pub fn start(
        pool: Arc<AnswerPool>,
        cores: &[Option<usize>],
        owners: HashMap<GroupId, Owner>,
        fronts: &[Arc<FrontHandle>],
        metrics: &Arc<Metrics>,
    ) -> io::Result<AnswerThreads> {
        let owners = Arc::new(owners);
        let mut started = AnswerThreads { pool: pool.clone(), threads: Vec::new() };
        for (index, core) in cores.iter().copied().enumerate() {
            let worker = Worker::new(index, pool.clone(), owners.clone(), fronts.to_vec(), metrics.clone());
            let builder = std::thread::Builder::new().name(format!("answer-{index}"));
            match builder.spawn(move || worker.run_on(core)) {
                Ok(thread) => {
                    let _ = pool.seats[index].thread.set(thread.thread().clone());
                    started.threads.push(thread);
                }
                Err(error) => {
                    let _ = started.stop();
                    return Err(error);
                }
            }
        }
        Ok(started)
    }

    /// Ends the threads, whatever still waits for them.
    ///
    /// # Errors
    /// If one had panicked.
    pub fn stop(self) -> io::Result<()> {
        self.pool.stopping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let ended = self.threads.into_iter().map(|thread| {
            thread.thread().unpark();
            thread.join().map_err(|_| io::Error::other("an answer thread panicked"))
        });
        ended.fold(Ok(()), io::Result::and)
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
