//! What one server, or two members, or one of each, can do to a broadcast: PROTOCOL.md section 8, each row a test
//! by its name, for the paper profiles in `paper` and for the compact one in `compact`.
//!
//! The attacks run through the code that sends and receives: what a server holds is what `split` and `dial` wrote
//! for it, and what a member makes of a forgery is what `Opener` says. Where a defence holds, the same test takes
//! it away and shows that the attack then works. `one_server_view_is_independent_of_message` and the bound on
//! `known_message_lets_server_forge` of the compact profile are exhaustive in a small field: `tests/tiny_field.rs`.
//! Each prints its figure:
//!
//! ```text
//! cargo test -p twincast-protocol --test attacks -- --nocapture
//! ```

#[path = "../common/mod.rs"]
mod common;

mod compact;
mod four_combinations;
mod paper;
mod replay;
mod script;
mod world;
