//! Links of network namespaces, as runs of the real binary make, use and remove them.
//!
//! What takes the right to make namespaces says so on stderr and passes where that is missing.

#[allow(dead_code, reason = "other tests need the rest")]
#[path = "../local/common.rs"]
mod common;
mod ends;
mod fallback;
mod runs;
mod support;
