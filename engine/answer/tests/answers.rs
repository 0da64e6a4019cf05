//! Every kernel and every cut of the work against a naive XOR.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::sync::Arc;
use twincast_answer::{AnswerSet, Answers, Kernel, Part, Queries, QueryError, Shape, TILE_RECORDS, parts};

/// A table and queries of random bits; the first selects nothing and the last everything, where there are as
/// many.
struct Group {
    shape: Shape,
    table: Vec<u8>,
    bits: Vec<Vec<u8>>,
    queries: Queries,
    rng: Xoshiro256PlusPlus,
}

impl Group {
    fn new(seed: u64, records: usize, queries: usize, record_bytes: usize) -> Group {
        let shape = Shape::new(records, queries, record_bytes).unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let bits: Vec<_> = (0..queries)
            .map(|query| {
                let mut bits = vec![0; records.div_ceil(8)];
                match query {
                    0 if queries > 2 => {}
                    _ if query + 1 == queries => bits.fill(0xff),
                    _ => rng.fill_bytes(&mut bits),
                }
                if !records.is_multiple_of(8) {
                    *bits.last_mut().unwrap() &= (1 << (records % 8)) - 1;
                }
                bits
            })
            .collect();
        let mut asked = Queries::new(&shape);
        bits.iter().enumerate().for_each(|(query, bits)| asked.set(query, bits).unwrap());
        let mut group = Group { shape, table: Vec::new(), bits, queries: asked, rng };
        group.table = group.new_table();
        group
    }

    fn new_table(&mut self) -> Vec<u8> {
        let mut table = vec![0; self.shape.records() * self.shape.record_bytes()];
        self.rng.fill_bytes(&mut table);
        table
    }

    /// The tiles' numbers in some order.
    fn some_order(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.shape.tiles()).collect();
        for end in (1..order.len()).rev() {
            order.swap(end, self.rng.next_u64() as usize % (end + 1));
        }
        order
    }

    fn add(&self, kernel: Kernel, tile: usize, table: &[u8], part: &mut Part, answers: &mut Answers) {
        let records = table.chunks(TILE_RECORDS * self.shape.record_bytes()).nth(tile).unwrap();
        part.add(kernel, tile, records, &self.queries, answers);
    }

    /// Works out everything, each part in an order of its own.
    fn answers(&mut self, kernel: Kernel, threads: usize) -> AnswerSet {
        let mut all = Vec::new();
        for mut part in parts(&self.shape, threads) {
            let mut answers = part.answers();
            for tile in self.some_order() {
                self.add(kernel, tile, &self.table, &mut part, &mut answers);
            }
            all.push(Arc::new(answers));
        }
        AnswerSet::new(all)
    }

    fn naive(&self, query: usize, table: &[u8]) -> Vec<u8> {
        let mut answer = vec![0; self.shape.record_bytes()];
        for (index, record) in table.chunks(self.shape.record_bytes()).enumerate() {
            if self.bits[query][index / 8] >> (index % 8) & 1 == 1 {
                answer.iter_mut().zip(record).for_each(|(to, from)| *to ^= from);
            }
        }
        answer
    }
}

fn read(answers: &AnswerSet, query: usize) -> Vec<u8> {
    let mut answer = vec![0xa5; answers.shape().record_bytes()];
    assert_eq!(answers.gather(query, 0, &mut answer), answer.len());
    answer
}

#[test]
fn every_kernel_gives_what_a_naive_xor_gives() {
    let sizes = [
        // Records, queries, record bytes, threads.
        (1, 1, 1, 1),
        (1, 3, 352, 2),
        (63, 5, 352, 1),
        (64, 64, 352, 2),
        (65, 65, 352, 3),
        (65, 130, 33, 3),
        (130, 390, 352, 4),
        (200, 130, 352, 24),
        (100, 512, 64, 2),
        (1000, 1000, 352, 2),
        (1000, 2000, 31, 64),
        (1000, 7, 97, 5),
        (1000, 1030, 352, 13),
    ];
    for (seed, (records, queries, record_bytes, threads)) in (0..).zip(sizes) {
        let mut group = Group::new(seed, records, queries, record_bytes);
        let expected: Vec<_> = (0..queries).map(|query| group.naive(query, &group.table)).collect();
        for kernel in Kernel::ALL {
            let answers = group.answers(kernel, threads);
            for (query, expected) in expected.iter().enumerate() {
                let at =
                    format!("seed {seed}, {kernel}, query {query}, {threads} threads, {:?}", group.shape);
                assert_eq!(read(&answers, query), *expected, "{at}");
            }
        }
    }
}

#[test]
fn the_plain_way_is_a_naive_xor_with_every_instruction() {
    for (seed, (records, record_bytes)) in (10..).zip([(1, 1), (63, 352), (64, 33), (130, 352), (1000, 31)]) {
        let group = Group::new(seed, records, 9, record_bytes);
        for (query, kernel) in (0..9).flat_map(|query| Kernel::ALL.map(|kernel| (query, kernel))) {
            let mut bits = group.bits[query].clone();
            let spare = records.next_multiple_of(8) - records;
            *bits.last_mut().unwrap() |= !(0xff >> spare);
            let mut answer = vec![0xa5; record_bytes];
            kernel.answer_plainly(&group.table, &bits, &mut answer);
            assert_eq!(answer, group.naive(query, &group.table), "seed {seed}, {kernel}, query {query}");
        }
    }
}

#[test]
fn threads_share_the_queries_and_nothing_else() {
    let seed = 20;
    let group = Group::new(seed, 333, 700, 352);
    let answers = std::thread::scope(|scope| {
        let work = |mut part: Part| {
            let group = &group;
            scope.spawn(move || {
                let mut answers = part.answers();
                for tile in 0..group.shape.tiles() {
                    group.add(Kernel::best(), tile, &group.table, &mut part, &mut answers);
                }
                Arc::new(answers)
            })
        };
        let threads: Vec<_> = parts(&group.shape, 3).into_iter().map(work).collect();
        AnswerSet::new(threads.into_iter().map(|thread| thread.join().unwrap()).collect())
    });
    for query in 0..700 {
        assert_eq!(read(&answers, query), group.naive(query, &group.table), "seed {seed}, query {query}");
    }
}

#[test]
fn two_rounds_of_one_part_overlap_and_their_buffers_are_used_again() {
    let seed = 30;
    let mut group = Group::new(seed, 200, 150, 352);
    let mut parts = parts(&group.shape, 2);
    let mut buffers: [Vec<Answers>; 2] = std::array::from_fn(|_| parts.iter().map(Part::answers).collect());
    for turn in 0..2 {
        let tables = [group.new_table(), group.new_table()];
        // The second round begins before the first has all its tiles.
        let steps = [(0, 2), (1, 3), (0, 0), (1, 1), (0, 3), (1, 0), (0, 1), (1, 2)];
        for (round, tile) in steps {
            for (part, answers) in parts.iter_mut().zip(&mut buffers[round]) {
                group.add(Kernel::best(), tile, &tables[round], part, answers);
            }
        }
        for (round, table) in tables.iter().enumerate() {
            let shared: Vec<_> = buffers[round].drain(..).map(Arc::new).collect();
            let set = AnswerSet::new(shared.iter().map(Arc::clone).collect());
            for query in 0..150 {
                let at = format!("seed {seed}, turn {turn}, round {round}, query {query}");
                assert_eq!(read(&set, query), group.naive(query, table), "{at}");
            }
            drop(set);
            let mut own =
                shared.into_iter().map(|answers| Arc::into_inner(answers).expect("nobody reads it now"));
            buffers[round].extend(own.by_ref());
            buffers[round].iter_mut().for_each(Answers::clear);
        }
    }
}

#[test]
fn two_queries_that_differ_in_one_bit_differ_by_that_record() {
    for (seed, target) in (40..).zip([0, 7, 8, 63, 64, 127, 128, 129]) {
        let mut group = Group::new(seed, 130, 2, 352);
        let mut bits = group.bits[0].clone();
        bits[target / 8] ^= 1 << (target % 8);
        group.queries.set(1, &bits).unwrap();
        let answers = group.answers(Kernel::best(), 1);
        let sum: Vec<u8> =
            read(&answers, 0).iter().zip(read(&answers, 1)).map(|(one, two)| one ^ two).collect();
        assert_eq!(sum, group.table[target * 352..][..352], "seed {seed}, target {target}");
    }
}

#[test]
fn an_answer_is_read_from_every_offset_and_no_further_than_its_end() {
    let seed = 50;
    for record_bytes in [1, 32, 33, 100, 352] {
        let mut group = Group::new(seed, 70, 40, record_bytes);
        let answers = group.answers(Kernel::best(), 7);
        for query in [0, 5, 17, 39] {
            let whole = group.naive(query, &group.table);
            for from in 0..=record_bytes + 33 {
                for room in [0, 1, 31, 32, 33, 64, 200, record_bytes, record_bytes + 5] {
                    let mut out = vec![0xa5; room];
                    let bytes = answers.gather(query, from, &mut out);
                    let expected = &whole[from.min(record_bytes)..record_bytes.min(from + room)];
                    let at =
                        format!("seed {seed}, {record_bytes} bytes, query {query}, from {from}, room {room}");
                    assert_eq!(out[..bytes], *expected, "{at}");
                    assert!(out[bytes..].iter().all(|byte| *byte == 0xa5), "{at}");
                }
            }
        }
    }
}

#[test]
fn a_query_is_replaced_and_cleared() {
    let seed = 60;
    let mut group = Group::new(seed, 100, 600, 64);
    group.bits[3] = group.bits[4].clone();
    group.queries.set(3, &group.bits[4]).unwrap();
    group.bits[599].fill(0);
    group.queries.clear(599).unwrap();
    let answers = group.answers(Kernel::best(), 2);
    for query in 0..600 {
        assert_eq!(read(&answers, query), group.naive(query, &group.table), "seed {seed}, query {query}");
    }
}

#[test]
fn a_bad_query_is_refused_and_changes_nothing() {
    let mut group = Group::new(70, 12, 3, 32);
    let before = group.answers(Kernel::best(), 1);
    let queries = &mut group.queries;
    assert_eq!(queries.set(3, &[0; 2]), Err(QueryError::NoSuchQuery { query: 3, queries: 3 }));
    assert_eq!(queries.clear(3), Err(QueryError::NoSuchQuery { query: 3, queries: 3 }));
    assert_eq!(queries.set(1, &[0xff; 1]), Err(QueryError::Length { want: 2, got: 1 }));
    assert_eq!(queries.set(1, &[0xff, 0xf, 0]), Err(QueryError::Length { want: 2, got: 3 }));
    assert_eq!(queries.set(1, &[0xff, 0x10]), Err(QueryError::SpareBits));
    assert_eq!(queries.set(1, &[0xff, 0x80]), Err(QueryError::SpareBits));
    let after = group.answers(Kernel::best(), 1);
    for query in 0..3 {
        assert_eq!(read(&before, query), read(&after, query), "query {query}");
    }
    assert_eq!(group.queries.set(1, &[0xff, 0x0f]), Ok(()));
}

#[test]
fn nothing_that_is_printed_shows_a_bit() {
    let (mut zeros, mut ones) = (Group::new(80, 64, 3, 32), Group::new(80, 64, 3, 32));
    for query in 0..3 {
        zeros.queries.set(query, &[0; 8]).unwrap();
        ones.queries.set(query, &[0xff; 8]).unwrap();
    }
    assert_eq!(format!("{:?}", zeros.queries), format!("{:?}", ones.queries));
    let [of_zeros, of_ones] = [zeros, ones].map(|mut group| {
        let mut part = parts(&group.shape, 1).remove(0);
        let mut answers = part.answers();
        group.add(Kernel::best(), 0, &group.table, &mut part, &mut answers);
        format!("{part:?} {answers:?} {:?}", group.answers(Kernel::best(), 1))
    });
    assert_eq!(of_zeros, of_ones);
}

#[test]
fn what_a_shape_takes_is_exact() {
    let shape = Shape::new(100_000, 100_000, 352).unwrap();
    assert_eq!((shape.tiles(), shape.columns()), (1563, 11));
    assert_eq!(shape.query_memory_bytes(), 1563 * 100_000 * 8);
    assert_eq!(shape.answer_memory_bytes(), 100_000 * 352);
    // Whole pages of queries have a line of 64 bytes after them.
    assert_eq!(Shape::new(65_536, 65_536, 352).unwrap().query_memory_bytes(), 1024 * (65_536 * 8 + 64));
    assert_eq!(Shape::new(65, 3, 33).unwrap().answer_memory_bytes(), 3 * 64);
}

#[test]
fn a_shape_that_cannot_be_is_refused() {
    for (records, queries, record_bytes) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, (1 << 17) + 1)] {
        assert!(Shape::new(records, queries, record_bytes).is_err(), "{records} {queries} {record_bytes}");
    }
    assert!(Shape::new(usize::MAX, usize::MAX, 352).is_err());
    assert!(Shape::new(1, usize::MAX, 1).is_err());
    assert!(Shape::new(1, 1, 1 << 17).is_ok());
}

#[test]
fn kernels_have_names_and_the_best_is_one_that_is_usable() {
    assert_eq!(Kernel::ALL.map(|kernel| kernel.to_string()), ["portable", "avx2", "avx512"]);
    assert_eq!(Kernel::best().usable(), Kernel::best());
    assert_eq!(Kernel::Portable.usable(), Kernel::Portable);
    assert!(Kernel::ALL.iter().all(|kernel| Kernel::ALL.contains(&kernel.usable())));
}

#[test]
#[should_panic(expected = "a part's answers are missing")]
fn a_set_without_one_of_the_parts_is_refused() {
    let group = Group::new(90, 64, 600, 352);
    let parts = parts(&group.shape, 3);
    let _ = AnswerSet::new(parts[1..].iter().map(|part| Arc::new(part.answers())).collect());
}

#[test]
#[should_panic(expected = "answers of another part")]
fn answers_of_another_part_are_refused() {
    let group = Group::new(91, 64, 600, 352);
    let mut parts = parts(&group.shape, 2);
    let mut answers = parts[0].answers();
    group.add(Kernel::best(), 0, &group.table, &mut parts[1], &mut answers);
}

#[test]
#[should_panic(expected = "the records of a whole tile")]
fn a_tile_that_lacks_a_record_is_refused() {
    let mut group = Group::new(92, 65, 2, 352);
    group.table.truncate(64 * 352 + 351);
    group.answers(Kernel::best(), 1);
}
