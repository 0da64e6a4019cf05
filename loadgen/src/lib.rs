//! The Twincast load generator: client hosts that play many users, and the coordinator that runs them.

pub mod control;
pub mod plan;
