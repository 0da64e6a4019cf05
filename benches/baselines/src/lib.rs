//! What Twincast is compared with, each as its own users would build it, and measured in the same run on the same link.
//!
//! - [`faithful`]: the paper's own server: epoll, one thread, one write for each share.
//! - [`pki`]: the single-server broadcast of the paper's section 3.1, with trial decryption.
//! - [`mcmix`]: conversation and dialling of MCMix (Alexopoulos et al. 2017) as a three-party model in one process.
//! - [`broker`]: a message broker, `nats-server`, where it is installed.

#![forbid(unsafe_code)]

pub mod broker;
pub mod faithful;
pub mod mcmix;
pub mod pki;
