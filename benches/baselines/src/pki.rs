//! The single-server broadcast with a public-key infrastructure (Bowers et al. 2022, section 3.1).
//!
//! Each sender seals its 256-byte message to its recipient's public key. The server sends every ciphertext to every
//! user, and each user tries to open them all: whose it is, nobody but the recipient sees. The server is as good as
//! one on one thread can be: it writes a user's whole inbox of a round out of one ready buffer.
//!
//! The server learns who sends, and trusts nobody's key but hands them out: it is the PKI, too. Trial decryption is one
//! X25519 operation for each pair of sender and user, which a host that plays many users cannot do for all of them in
//! the time of a round. So the relaying is measured with nobody decrypting, and the decryption afterwards on a sample of
//! the last round's pairs ([`Host::open_some`]), all of them where they are few.
//!
//! Wire: as [`RelayServer`] says, with a public key as introduction, all members' keys as the welcome, a ciphertext as
//! upload, and `recipient u32, ciphertexts u32`, then all of the round's ciphertexts as delivery.

mod host;
mod seal;

pub use host::{Host, Trials};
pub use seal::{CIPHERTEXT_BYTES, KEY_BYTES, KeyPair, MESSAGE_BYTES, open, seal};

use crate::relay::{Delivery, Outlet, RelayServer, Trade};
use crate::{BaselineError, Setup};
use std::io;
use std::net::SocketAddr;

/// Bytes before a user's inbox of a round: recipient, and how many ciphertexts follow.
pub const HEADER_BYTES: usize = 8;

/// Starts the server, where it is told to listen; on a free port where that port is 0. Nagle's algorithm is off: with writes this large it delays their ends only.
/// `alarm` is called, on its thread, when it cannot go on.
///
/// # Errors
/// The setup cannot be, or the kernel gives no socket.
pub fn start_server(
    listen: SocketAddr,
    setup: Setup,
    alarm: impl FnOnce(&BaselineError) + Send + 'static,
) -> Result<RelayServer, BaselineError> {
    RelayServer::start(listen, setup, false, Broadcast(setup), alarm)
}

struct Broadcast(Setup);

impl Trade for Broadcast {
    fn introduction_bytes(&self) -> usize {
        KEY_BYTES
    }

    fn upload_bytes(&self) -> usize {
        CIPHERTEXT_BYTES
    }

    fn welcome(&self, introductions: &[u8]) -> Vec<u8> {
        introductions.to_vec()
    }

    async fn deliver(&self, round: &Delivery, to: &mut Outlet) -> io::Result<()> {
        let senders = self.0.senders;
        let mut inbox = vec![0; HEADER_BYTES];
        inbox[4..].copy_from_slice(&senders.to_le_bytes());
        inbox.extend_from_slice(&round.uploads);
        for index in 0..to.users.len() {
            let recipient = to.users[index];
            inbox[..4].copy_from_slice(&recipient.to_le_bytes());
            to.write(&inbox).await?;
            to.delivered(senders as usize);
        }
        Ok(())
    }
}
