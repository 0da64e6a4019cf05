//! What is kept of runs, and what is made of it: folders of results, sweeps, searches and comparisons.

#[path = "../local/common.rs"]
#[allow(dead_code, reason = "the tests of local runs need all of it")]
mod common;

mod compare;
mod ends;
mod folder;
