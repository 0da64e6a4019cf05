//! One answer thread: verifies what came in, and works on its part of every group's answers.

use super::perform::{Verifying, perform};
use super::pool::AnswerPool;
use super::table::Table;
use super::work::{Done, Setup, Work};
use crate::front::{FrontHandle, FrontMessage};
use crate::limits::VERIFY_TILES_MAX;
use crate::metrics::Metrics;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use twincast_protocol::ids::GroupId;

/// How soon a message for a full queue is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// Whose works they are.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The executor that owns the group.
    pub front: usize,
    /// What the group signs and verifies with.
    pub setup: Arc<Setup>,
    /// What is done wrong, for tests of who notices: the round, and the query whose answer is changed.
    #[cfg(feature = "fault-swap-half")]
    pub false_answer: Option<(u64, usize)>,
}

/// One answer thread.
pub(super) struct Worker {
    index: usize,
    pool: Arc<AnswerPool>,
    owners: Arc<HashMap<GroupId, Owner>>,
    fronts: Vec<Arc<FrontHandle>>,
    metrics: Arc<Metrics>,
    tables: HashMap<GroupId, Table>,
    verifying: Verifying,
    /// Whose the tiles in `verifying` are, and how many of their senders have a record.
    verified_for: Vec<(GroupId, u32)>,
    /// Messages for executors whose queue was full, in order.
    unsent: VecDeque<(usize, FrontMessage)>,
    /// What this thread has added to the gauge of memory.
    memory_bytes: u64,
}

/// Says so when a thread ends before it was told to: without it no round would ever have its answers, and nobody know why.
struct Watch(Arc<AnswerPool>, Arc<Metrics>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.answer_threads_failed.fetch_add(1, Relaxed);
            self.0.fail();
            tracing::error!(
                "an answer thread panicked: groups whose delivery is `answer` are closed until a restart"
            );
        }
    }
}

impl Worker {
    pub(super) fn new(
        index: usize,
        pool: Arc<AnswerPool>,
        owners: Arc<HashMap<GroupId, Owner>>,
        fronts: Vec<Arc<FrontHandle>>,
        metrics: Arc<Metrics>,
    ) -> Worker {
        Worker {
            index,
            pool,
            owners,
            fronts,
            metrics,
            tables: HashMap::new(),
            verifying: Verifying::default(),
            verified_for: Vec::with_capacity(VERIFY_TILES_MAX),
            unsent: VecDeque::new(),
            memory_bytes: 0,
        }
    }

    /// Works until the pool is stopped, on this core if one is given.
    pub(super) fn run_on(mut self, core: Option<usize>) {
        if let Some(core) = core {
            crate::server::pin(core);
        }
        let watch = Watch(self.pool.clone(), self.metrics.clone());
        while !self.pool.is_stopping() {
            self.flush();
            let begun = Instant::now();
            // Agreement waits for signatures, and the tables for agreement.
            if self.verify_some() || self.work_on_table() {
                let busy = begun.elapsed().as_micros() as u64;
                self.metrics.answer_busy_microseconds.fetch_add(busy, Relaxed);
                continue;
            }
            let most = (!self.unsent.is_empty()).then_some(RETRY);
            self.pool.sleep(self.index, most);
        }
        drop(watch);
    }

    /// Does its share of the works that anybody may do: at most some tiles' signatures together, so that the tables are
    /// not forgotten over them. Returns whether there were any.
    fn verify_some(&mut self) -> bool {
        let share = self.pool.share_of_any().min(VERIFY_TILES_MAX);
        let owners = self.owners.clone();
        for _ in 0..share {
            let Some((group, work)) = self.pool.next_of_any() else { break };
            let setup = &owners[&group].setup;
            match work {
                Work::Verify { round, roster, rows, senders, alone: false } => {
                    self.verified_for.push((group, senders.count_ones()));
                    self.verifying.push(setup, round, &roster, rows, senders);
                }
                work => {
                    let verified =
                        if let Work::Verify { senders, .. } = &work { senders.count_ones() } else { 0 };
                    if let Some(done) = perform(work, setup, &mut rand::rng()) {
                        self.count_signatures(verified, &done);
                        self.tell(group, done);
                    }
                }
            }
        }
        if self.verifying.is_empty() {
            return share > 0;
        }
        let done = self.verifying.finish(&mut rand::rng());
        let mut tiles = std::mem::take(&mut self.verified_for);
        for ((group, senders), done) in tiles.drain(..).zip(done) {
            self.count_signatures(senders, &done);
            self.tell(group, done);
        }
        self.verified_for = tiles;
        true
    }

    /// Counts the signatures of a tile, of which so many senders had a record.
    fn count_signatures(&self, senders: u32, done: &Done) {
        if let Done::Verified { valid, .. } = done {
            let valid = valid.count_ones();
            self.metrics.signatures_verified.fetch_add(valid.into(), Relaxed);
            self.metrics.signatures_refused.fetch_add((senders - valid).into(), Relaxed);
        }
    }

    /// Does its next work on a table, if there is one.
    fn work_on_table(&mut self) -> bool {
        let Some((group, work)) = self.pool.next_of(self.index) else { return false };
        let (index, threads) = (self.index, self.pool.threads());
        if matches!(work, Work::Open { .. } | Work::Close) {
            self.tables.remove(&group);
            if let Work::Open { queries, .. } = work {
                self.tables.insert(group, Table::new(queries, index, threads));
            }
            self.count_memory();
            return true;
        }
        // What comes while no epoch is open concerns none.
        let Some(table) = self.tables.get_mut(&group) else { return true };
        let buffers = table.buffers();
        match work {
            Work::Add { round, rows } => table.add(round, &rows),
            Work::Finish { round } => {
                #[cfg(feature = "fault-swap-half")]
                if let Some((_, query)) = self.owners[&group].false_answer.filter(|(at, _)| *at == round.0) {
                    table.falsify(round, query);
                }
                let answers = table.finish(round);
                self.tell(group, Done::Part { round, part: index, answers });
            }
            Work::Abandon { round } => table.abandon(round),
            _ => unreachable!("the others are for anybody"),
        }
        if self.tables[&group].buffers() != buffers {
            self.count_memory();
        }
        true
    }

    fn tell(&mut self, group: GroupId, done: Done) {
        let front = self.owners[&group].front;
        self.unsent.push_back((front, FrontMessage::Worked(group, done)));
        self.flush();
    }

    /// Sends what is done, as far as there is room. One executor that is behind holds the others' messages up for as long
    /// as that lasts, which is what keeps them in order.
    fn flush(&mut self) {
        while let Some((front, message)) = self.unsent.pop_front() {
            if let Err(message) = self.fronts[front].send(message) {
                self.unsent.push_front((front, message));
                return;
            }
        }
    }

    /// Says what its tables take. The queries are all threads' together: the first one counts them.
    fn count_memory(&mut self) {
        let threads = self.pool.threads() as u64;
        let of_table = |table: &Table| {
            let shape = table.queries().shape();
            let queries = if self.index == 0 { shape.query_memory_bytes() } else { 0 };
            queries + table.buffers() as u64 * shape.answer_memory_bytes() / threads
        };
        let now: u64 = self.tables.values().map(of_table).sum();
        let before = std::mem::replace(&mut self.memory_bytes, now);
        // Wraps where it shrinks, as counters do.
        self.metrics.answer_memory_bytes.fetch_add(now.wrapping_sub(before), Relaxed);
    }
}
