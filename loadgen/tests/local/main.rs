//! `twincast-loadgen local`, the real binary with its real children.

mod answers;
mod common;
mod ends;
mod faults;
mod formats;
mod guard;
mod pace;
mod runs;
