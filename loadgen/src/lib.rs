//! The Twincast load generator: client hosts that play many users, and the coordinator that runs them.
//!
//! [`cli`] reads the command line. [`coordinator`] starts two servers and the hosts as processes of their own, leads
//! them through a run over [`control`] and puts what they say together into a [`result::RunResult`], which [`report`]
//! prints. The same binary plays every part: it starts itself again in another role.

#![forbid(unsafe_code)]

pub mod agent;
pub mod baseline;
pub mod check;
pub mod cli;
pub mod compare;
pub mod control;
pub mod coordinator;
pub mod cost;
pub mod environment;
pub mod experiment;
pub mod fault;
pub mod host;
mod json_file;
pub mod keys;
pub mod latency;
pub mod limits;
mod maker;
pub mod net;
pub mod paper;
pub mod plan;
pub mod plan_file;
mod price;
pub mod process;
pub mod report;
pub mod result;
pub mod roof;
pub mod server_role;
pub mod stats;
pub mod store;
pub mod trials;
pub mod units;
pub mod workload;
