//! `twincast-loadgen local`, the real binary with its real children.

mod common;
mod ends;
mod faults;
mod formats;
mod pace;
mod runs;
