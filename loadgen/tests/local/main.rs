//! `twincast-loadgen local`, the real binary with its real children.

mod common;
mod ends;
mod pace;
mod runs;
