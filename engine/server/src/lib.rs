//! The Twincast server: front, rounds, answers and fan-out.
//!
//! A share comes in on a front executor ([`front`]), is placed into the open tile of its group ([`group`]), and when
//! the tile is sealed ([`tile`]) every fan-out core ([`fanout`]) writes each recipient's cells to its connections. Where the
//! delivery is `answer`, the threads of [`answer`] work out what each reader asked for, and that is what is written.
//! `engine/docs/ARCHITECTURE.md` follows one share from socket to socket.
#![forbid(unsafe_code)]

pub mod accountable;
pub mod accounts;
pub mod admin;
pub mod answer;
pub mod config;
pub mod fanout;
pub mod front;
pub mod group;
pub mod keys;
pub mod limits;
pub mod link;
pub mod metrics;
mod pages;
pub mod parts_box;
pub mod roster;
mod server;
pub mod tile;
pub mod transpose;

pub use server::{Counters, Server, StartError};
