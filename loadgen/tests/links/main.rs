//! Links of network namespaces, as runs of the real binary make, use and remove them.
//!
//! What takes the right to make namespaces says so on stderr and passes where that is missing.

mod ends;
mod fallback;
mod runs;
mod support;
