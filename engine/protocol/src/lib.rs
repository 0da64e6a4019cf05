//! The Twincast protocol: bytes in, bytes out; no sockets, clocks, threads or hidden randomness.

#![deny(unsafe_code)]

pub mod algorithm4;
pub mod answer;
#[allow(unsafe_code, reason = "CPU intrinsics, with a safe twin")]
pub mod clmul;
pub mod codeword;
pub mod compact;
pub mod confirm;
pub mod context;
pub mod error;
pub mod format;
pub mod frame;
pub mod identity;
pub mod ids;
pub mod keys;
pub mod one_to_many;
pub mod paper;
pub mod parts;
mod portable;
pub mod receive;
pub mod sealed;
pub mod session_key;
pub mod statements;
pub mod wire;
