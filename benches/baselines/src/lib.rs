//! What Twincast is compared with, each as its own users would build it, and measured in the same run on the same link.
//!
//! - [`faithful`]: the paper's own server: epoll, one thread, one write for each share.
//! - [`pki`]: the single-server broadcast of the paper's section 3.1, with trial decryption.
//! - [`mcmix`]: conversation and dialling of MCMix (Alexopoulos et al. 2017) as a three-party model in one process.
//! - [`broker`]: a message broker, `nats-server`, where it is installed.
//!
//! The first two and the last have a server and client hosts over real sockets. All take a [`Setup`], play rounds in
//! lockstep (a host begins a round when the last has wholly come in), and tell a [`Play`].

#![forbid(unsafe_code)]

pub mod broker;
mod error;
pub mod faithful;
pub mod mcmix;
pub mod pki;
mod play;
mod relay;
mod setup;

pub use error::BaselineError;
pub use play::Play;
pub use relay::{RelayReport, RelayServer};
pub use setup::{HOSTS_MAX, MEMBERS_MAX, SHARE_BYTES_MAX, SHARE_BYTES_MIN, Setup};
