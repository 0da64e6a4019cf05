//! One thread's part of the answers of one group, round by round.

use super::work::Rows;
use crate::limits::ROUNDS_BUFFERED;
use std::collections::BTreeMap;
use std::sync::Arc;
use twincast_answer::{Answers, Kernel, Part, Queries, parts};
use twincast_protocol::ids::RoundNumber;

/// One group's table in the epoch that runs, as far as this thread works on it.
#[derive(Debug)]
pub(super) struct Table {
    kernel: Kernel,
    queries: Arc<Queries>,
    part: Part,
    /// Buffers of rounds that are over; whoever still sends their answers holds them, too.
    buffers: Vec<Arc<Answers>>,
    /// Buffers of the rounds that are on their way.
    rounds: BTreeMap<RoundNumber, Arc<Answers>>,
}

impl Table {
    /// Part `index` of so many, of what these queries ask for.
    pub(super) fn new(queries: Arc<Queries>, index: usize, threads: usize) -> Table {
        let part = parts(queries.shape(), threads).swap_remove(index);
        Table {
            kernel: Kernel::best(),
            queries,
            part,
            buffers: Vec::with_capacity(ROUNDS_BUFFERED),
            rounds: BTreeMap::new(),
        }
    }

    /// A tile of the round is agreed.
    pub(super) fn add(&mut self, round: RoundNumber, rows: &Rows) {
        let records = rows.records[..rows.senders].as_flattened();
        self.begin(round);
        let answers = self.rounds.get_mut(&round).and_then(Arc::get_mut);
        let answers = answers.expect("answers that are worked out are nobody else's");
        self.part.add(self.kernel, rows.tile, records, &self.queries, answers);
    }

    /// All tiles were added: the part's answers.
    pub(super) fn finish(&mut self, round: RoundNumber) -> Arc<Answers> {
        self.begin(round);
        let answers = self.rounds.remove(&round).expect("it has begun");
        self.buffers.push(answers.clone());
        answers
    }

    /// The round is left out.
    pub(super) fn abandon(&mut self, round: RoundNumber) {
        self.buffers.extend(self.rounds.remove(&round));
    }

    /// Buffers that were made, in use or not.
    pub(super) fn buffers(&self) -> usize {
        self.buffers.len() + self.rounds.len()
    }

    /// The queries that are answered.
    pub(super) fn queries(&self) -> &Arc<Queries> {
        &self.queries
    }

    /// Takes a buffer for the round unless it has one. After the first rounds there is one that everybody is done with;
    /// as many as readers may be behind are made.
    fn begin(&mut self, round: RoundNumber) {
        if self.rounds.contains_key(&round) {
            return;
        }
        let free = self.buffers.iter_mut().position(|answers| Arc::get_mut(answers).is_some());
        let answers = match free {
            Some(free) => {
                let mut answers = self.buffers.swap_remove(free);
                Arc::get_mut(&mut answers).expect("nobody else can have taken it").clear();
                answers
            }
            None => Arc::new(self.part.answers()),
        };
        self.rounds.insert(round, answers);
    }

    /// Changes one bit of the answer to one query: for tests of who notices.
    #[cfg(feature = "fault-swap-half")]
    pub(super) fn falsify(&mut self, round: RoundNumber, query: usize) {
        let shape = *self.queries.shape();
        let mut only = Queries::new(&shape);
        let mut bits = vec![0; shape.records().div_ceil(8)];
        bits[0] = 1;
        if only.set(query, &bits).is_err() {
            return;
        }
        let mut records = vec![0; shape.records().min(64) * shape.record_bytes()];
        records[0] = 1;
        self.begin(round);
        let answers = self.rounds.get_mut(&round).and_then(Arc::get_mut).expect("it has begun");
        self.part.add(self.kernel, 0, &records, &only, answers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twincast_answer::{AnswerSet, Shape};

    fn table(threads: usize) -> Vec<Table> {
        let shape = Shape::new(2, 3, 352).unwrap();
        let mut queries = Queries::new(&shape);
        for query in 0..3 {
            queries.set(query, &[query as u8 + 1]).unwrap();
        }
        let queries = Arc::new(queries);
        (0..threads).map(|index| Table::new(queries.clone(), index, threads)).collect()
    }

    fn rows(first: u8) -> Rows {
        let mut records = vec![[0; 352]; 64].into_boxed_slice();
        records[0].fill(first);
        records[1].fill(7);
        Rows { tile: 0, senders: 2, records }
    }

    fn answers(parts: Vec<Arc<Answers>>) -> Vec<u8> {
        let set = AnswerSet::new(parts);
        (0..3)
            .map(|query| {
                let mut answer = [0; 352];
                set.gather(query, 0, &mut answer);
                assert!(answer.iter().all(|byte| *byte == answer[0]));
                answer[0]
            })
            .collect()
    }

    #[test]
    fn rounds_overlap_and_each_has_its_own_answers() {
        for threads in [1, 3] {
            let mut tables = table(threads);
            for table in &mut tables {
                table.add(RoundNumber(1), &rows(0x10));
                table.add(RoundNumber(2), &rows(0x20));
                table.abandon(RoundNumber(9));
            }
            for (round, first) in [(2, 0x20), (1, 0x10)] {
                let parts = tables.iter_mut().map(|table| table.finish(RoundNumber(round))).collect();
                assert_eq!(answers(parts), [first, 7, first ^ 7], "{threads} threads");
            }
        }
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_reads_it_and_is_clean_then() {
        let mut table = table(1).remove(0);
        let read: Vec<Arc<Answers>> = (1..4)
            .map(|round| {
                table.add(RoundNumber(round), &rows(1));
                table.finish(RoundNumber(round))
            })
            .collect();
        assert_eq!(table.buffers(), 3);
        drop(read);
        table.add(RoundNumber(4), &rows(2));
        table.abandon(RoundNumber(4));
        table.add(RoundNumber(5), &rows(4));
        assert_eq!((answers(vec![table.finish(RoundNumber(5))]), table.buffers()), (vec![4, 7, 3], 3));
    }
}
