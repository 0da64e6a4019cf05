//! Runs of the real binary whose servers and hosts are at agents, over the loopback interface and over ssh.

mod checks;
#[allow(dead_code, reason = "other tests need the rest")]
#[path = "../local/common.rs"]
mod common;
mod ends;
mod fixture;
mod refusals;
mod runs;
mod secrets;
mod ssh;
