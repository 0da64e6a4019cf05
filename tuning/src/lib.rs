//! Tunes machines for Twincast: says what one lacks, applies profiles, finds the best settings of a server by measuring, and
//! plans groups before they are run. `README.md` beside the crate's manifest is the manual.
//!
//! What is checked is [`twincast_node`]'s. [`apply`] changes a machine and takes that back. [`sweep`] measures with the load
//! generator. [`plan`] does not run anything: its bytes and memory are exact, since they are the load generator's cost model and
//! the server's own sizing; its times are worked out from [`constants`] that were [measured](measure) on one core of a machine,
//! with the link's rate taken as given; on another machine, or on more cores than that one has, they are predictions and called so.
//!
//! | module | what |
//! |---|---|
//! | [`apply`] | profiles, the changes that they are, and what undoes them |
//! | [`sweep`] | the search for the best settings |
//! | [`group`] | who is planned for, and on what |
//! | [`bytes`] | what clients and servers send each other |
//! | [`memory`] | what a server sizes for a group |
//! | [`measure`] | the constants of this machine |
//! | [`constants`] | the same in a file |
//! | [`work`] | CPU time of servers and clients |
//! | [`prediction`] | all of it for one delivery, and how long a round takes |
//! | [`plan`] | both deliveries beside each other, and which one to use |
//! | [`results`], [`compare`] | predictions beside what the load generator has measured |

#![forbid(unsafe_code)]

pub mod apply;
pub mod bytes;
pub mod cli;
pub mod compare;
pub mod constants;
mod file;
pub mod group;
pub mod measure;
pub mod memory;
pub mod plan;
pub mod prediction;
pub mod results;
pub mod sweep;
mod table;
mod units;
pub mod work;

/// Why a command ends without its result. The sentence says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// What the user asked for cannot be: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// The machine got in the way, a full disk for example: exit status 1.
    #[error("{0}")]
    Failed(String),
    /// Ctrl-C: exit status 130.
    #[error("{0}")]
    Interrupted(String),
}
