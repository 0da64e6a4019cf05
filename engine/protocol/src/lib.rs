//! The Twincast protocol: bytes in, bytes out; no sockets, clocks, threads or hidden randomness.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "CPU intrinsics, with a safe twin")]
pub mod clmul;
pub mod codeword;
pub mod compact;
pub mod confirm;
pub mod context;
pub mod error;
pub mod frame;
pub mod ids;
mod portable;
pub mod receive;
pub mod session_key;
pub mod wire;
