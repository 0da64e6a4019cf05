//! Answer delivery on a server: the table of each round, and the threads that work on it.
//!
//! A group decides and the answer threads work. What a group wants done is a [`Work`], what was done comes back as a
//! [`Done`], in any order; each names its round, and what is of a round that is over is dropped. No lock is on the way:
//! a tile of rows belongs to whoever has its `Arc` alone.

mod identities;
mod perform;
mod pool;
mod table;
mod thread;
mod work;

pub use identities::{Identities, IdentityError};
pub(crate) use identities::{read_key, read_member};
pub use perform::{Verifying, perform};
pub use pool::{AnswerPool, AnswerThreads, Lane};
pub use thread::Owner;
pub(crate) use work::bits;
pub use work::{Done, Members, RoundAnswers, Rows, Setup, Work};
