//! A Twincast client as a state machine: bytes in, bytes out; no sockets, no clock, no hidden randomness.
#![forbid(unsafe_code)]

mod client;
mod dials;
mod error;
mod frames;
mod group;
mod inbound;
mod key;
pub mod limits;
mod observer;
mod outbound;
mod receiving;
mod sending;
mod stream;
mod table;

pub use client::{Client, ClientSettings};
pub use error::ClientError;
pub use observer::{Event, GroupSettings, Messages, Observer, Outbox, Tile, User};
