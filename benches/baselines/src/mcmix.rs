//! MCMix: conversation and dialling by secure computation between three servers (Alexopoulos, Kiayias,
//! Talviste and Zacharias, *MCMix: Anonymous Messaging via Secure Multiparty Computation*, USENIX Security
//! 2017), as a model of our own in one process.
//!
//! Every user hands each of three servers one share of its row. The servers shuffle the rows so that none of
//! them knows the order, sort them by quicksort with opened comparisons, find equal neighbours without
//! learning which, let these exchange, and shuffle and sort everything back to the order of the users. The
//! steps are those of the paper's conversation and dialling protocols and of the programs that its authors
//! published (`single-island/conversation.sc` and `dialing.sc` in `druid/mcmix-benchmark`).
//!
//! # What is measured, counted and modelled
//!
//! - **Measured**: the CPU time of each party's own computation. The three parties are three states that take
//!   turns on one thread; each turn is timed on the thread's CPU clock and put on that party's account.
//!   [`Cost::local_seconds`] is the slowest of the three, since they would compute side by side, each on one
//!   thread.
//! - **Counted**: rounds and payload bytes, by an object through which everything passes that one party gets
//!   from another, and which delivers nothing before the round's end. What users hand in and get back is
//!   counted apart.
//! - **Modelled**: the time on the network, [`Cost::network_seconds`], from a latency and a rate that the
//!   caller states. The CPU time of sockets, of encryption between the servers and of the users' own sharing
//!   is in neither.
//!
//! # What differs from the paper
//!
//! Nearly everything that differs makes it cheaper, so a comparison with it is kind to MCMix; its figures are
//! this model's, not those that the paper printed for Sharemind:
//!
//! - Sharemind holds additive shares and reshares before each product. Here shares are replicated (each party
//!   holds two of three components), and the randomness of a product comes from keys that two parties share:
//!   one word a party and gate. Security is the same: one party of three, semi-honest, with a pseudorandom
//!   generator (ChaCha12) in place of true randomness.
//! - Sharemind's share conversion, less-than and equality protocols are replaced by circuits of AND gates on
//!   bits: a carry-save layer and a Kogge-Stone adder, a comparison tree, a tree of ANDs. The tag is
//!   converted once before the sort, not once a comparison, and gates on comparisons are packed 64 rows to a
//!   word.
//! - The authors break ties of the sort by a shuffled index. Here the user's place, which is shared in any
//!   case, is the low part of the key; it makes keys unique and counts only as many bits as the number of
//!   users has. The sort back compares these bits only.
//! - Only a tag that exactly two users have makes them exchange. The authors' program takes the neighbour
//!   before, then the one after; with three users of a tag its places are no permutation any more and others
//!   get wrong messages.
//! - Messages can be of any length. The published program measures 8 bytes; both shuffles move whole
//!   messages.
//! - One island of three servers; the paper's several islands in parallel are not modelled. Nor are
//!   submission by deadline, the cover of absent users, and the key exchange of users, which cost the servers
//!   nothing to speak of.
//!
//! As in the paper, a user who calls does not learn in that round who called it, and the answer of a user who
//! waits is one caller of perhaps many.
//!
//! Only made-up messages pass through here. The keys between parties are wiped when a run ends; shares of
//! messages are not.
//!
//! # Example
//!
//! ```
//! use twincast_baselines::mcmix::{McmixError, run_conversation};
//!
//! let cost = run_conversation(20, 256, 1)?;
//! // Shares of a tag and 32 words go in, shares of 32 words come out.
//! assert_eq!((cost.client_bytes_in, cost.client_bytes_out), (20 * 3 * 264, 20 * 3 * 256));
//! // Half a millisecond from server to server, 1 Gb/s out of each.
//! assert!(cost.network_seconds(0.5e-3, 1e9) > 0.5e-3 * cost.rounds as f64);
//! # Ok::<(), McmixError>(())
//! ```

mod bits;
mod clear;
mod conversation;
mod cost;
mod dialling;
mod gate;
mod network;
mod session;
mod share;
mod shuffle;
mod sort;
#[cfg(test)]
mod tests;

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

pub use clear::{conversation_in_the_clear, dialling_in_the_clear};
pub use conversation::{Submission, conversation};
pub use cost::Cost;
pub use dialling::{Dial, dialling};

/// Most users of one run. A user of conversation with 256-byte messages takes about 6 kB at the peak, for all
/// three parties and the check of their answers.
pub const USERS_MAX: usize = 1 << 20;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum McmixError {
    /// The caller asked for no users or for too many; nothing was run.
    #[error("{users} users are not between 1 and {USERS_MAX}")]
    Users {
        /// How many were asked for.
        users: usize,
    },
    /// The caller's messages are empty or not of one length; nothing was run.
    #[error("messages must have one length, of at least one byte")]
    MessageBytes,
    /// The caller's addresses are not unique or reserved (0 and 2^64 - 1); nothing was run.
    #[error("an address is reserved or appears twice")]
    Address,
    /// The answers are not those of a plain sort: a bug of this model. No cost is given.
    #[error("the answers for {users} users are not those of a plain sort; seed {seed}")]
    WrongAnswers {
        /// The number of users.
        users: usize,
        /// The seed of the workload.
        seed: u64,
    },
}

/// Runs one round of conversation of a made-up workload, drawn from `seed`, checks the answers against
/// [`conversation_in_the_clear`], and gives the cost. The parties' randomness is the thread's generator,
/// which the operating system seeds.
///
/// # Errors
///
/// Those of [`conversation()`], and [`McmixError::WrongAnswers`].
pub fn run_conversation(users: usize, message_bytes: usize, seed: u64) -> Result<Cost, McmixError> {
    check_users(users)?;
    let talk = clear::talk(users, message_bytes, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let submissions: Vec<Submission<'_>> =
        talk.iter().map(|(tag, message)| Submission { tag: *tag, message }).collect();
    let (cost, answers) = conversation(&submissions, &mut rand::rng())?;
    if answers != conversation_in_the_clear(&submissions) {
        return Err(McmixError::WrongAnswers { users, seed });
    }
    Ok(cost)
}

/// Runs one round of dialling of a made-up workload, drawn from `seed`, checks the answers against
/// [`dialling_in_the_clear`], and gives the cost. The parties' randomness is the thread's generator, which
/// the operating system seeds.
///
/// # Errors
///
/// Those of [`dialling()`], and [`McmixError::WrongAnswers`].
pub fn run_dialling(users: usize, seed: u64) -> Result<Cost, McmixError> {
    check_users(users)?;
    let dials = clear::calls(users, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let (cost, answers) = dialling(&dials, &mut rand::rng())?;
    if answers != dialling_in_the_clear(&dials) {
        return Err(McmixError::WrongAnswers { users, seed });
    }
    Ok(cost)
}

fn check_users(users: usize) -> Result<usize, McmixError> {
    if (1..=USERS_MAX).contains(&users) { Ok(users) } else { Err(McmixError::Users { users }) }
}

/// Bits in which all places `0..users` differ.
fn index_bits(users: usize) -> u32 {
    usize::BITS - (users - 1).leading_zeros()
}
