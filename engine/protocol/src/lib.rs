//! The Twincast protocol: bytes in, bytes out; no sockets, clocks or threads, and no hidden randomness but the
//! ephemeral key of a channel's handshake, which may be given a generator, too.

#![deny(unsafe_code)]

pub mod accountable;
pub mod algorithm4;
pub mod answer;
pub mod channel;
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
