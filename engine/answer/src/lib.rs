//! The answer kernel: two-server PIR answers (Chor, Goldreich, Kushilevitz, Sudan 1995) for all readers of a
//! group at once.
//!
//! A group whose delivery is `answer` has a table of n records a round, one of each member, and a query of n
//! bits for each reader and slot. A server's answer to a query is the XOR of the records that its bits select.
//! All answers together are a product of matrices over GF(2), queries (n*K x n bits) times records (n x record
//! bytes), and are worked out tile by tile (64 records) as tiles seal, so that the work is nearly done when a
//! round ends.
//!
//! **How.** The method of the four Russians (Arlazarov, Dinic, Kronrod, Faradzev 1970): the sums of every
//! choice among eight records are tabled once, and each query looks its sum up by eight of its bits. For a
//! tile's column (32 bytes of each of its records) that is eight tables of 256 sums.
//!
//! **What moves.** The tables of a column are 64 KiB and stay in the first two levels of the caches. A query
//! reads 8 bytes of its own and eight sums there, and its answer's 32 bytes are loaded and stored: 72 bytes
//! from further away for 64 * 32 = 2,048 bytes of records selected among. So a core at 800 GB/s of that (n *
//! record bytes a query) asks 28 GB/s of where queries and answers lie, in order: a column's answers are 320 KB
//! at n*K = 10,000 and 2 MiB at 65,536. Making the tables is 2,048 sums a tile's column, about what 500 queries
//! take: groups of a thousand notice it, larger ones do not.
//!
//! **Who.** No sockets, clocks, threads or randomness: the caller gives each [`Part`] of the work to a thread
//! of its own, which adds tiles to that part's [`Answers`], a buffer for each round on its way. Nothing that is
//! written is shared. When all parts have all tiles of a round, an [`AnswerSet`] reads their buffers.
//!
//! What the kernels reach on a machine: `cargo bench -p twincast-benches --bench answer`.
//!
//! ```
//! use std::sync::Arc;
//! use twincast_answer::{AnswerSet, Kernel, Queries, Shape, parts};
//!
//! let shape = Shape::new(100, 1, 352).unwrap();
//! let mut queries = Queries::new(&shape);
//! queries.set(0, &[0b101, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
//! let records: Vec<u8> = (0..100u8).flat_map(|record| [record; 352]).collect();
//! let mut answers = Vec::new();
//! for mut part in parts(&shape, 2) {
//!     let mut of_part = part.answers();
//!     for (tile, records) in records.chunks(64 * 352).enumerate() {
//!         part.add(Kernel::best(), tile, records, &queries, &mut of_part);
//!     }
//!     answers.push(Arc::new(of_part));
//! }
//! let mut answer = [0; 352];
//! assert_eq!(AnswerSet::new(answers).gather(0, 0, &mut answer), 352);
//! assert_eq!(answer, [0 ^ 2; 352]);
//! ```

#![deny(unsafe_code)]

mod answers;
#[allow(unsafe_code, reason = "CPU intrinsics, with a safe twin")]
mod kernel;
mod part;
mod queries;
mod shape;

pub use answers::{AnswerSet, Answers};
pub use kernel::Kernel;
pub use part::{Part, parts};
pub use queries::{Queries, QueryError};
pub use shape::{COLUMN_BYTES, Shape, ShapeError, TILE_RECORDS};
