//! The paper's own set-up (Bowers et al. 2022, section 6), rebuilt: two servers, each an epoll loop on one thread, and
//! one `write` for each share.
//!
//! Every user hands each server two shares a round, over a connection that it shares with other users of its host
//! (Algorithm 2, steps 5 and 6). When all senders' shares are in, the server sends for each sender and each recipient
//! the share that the sender's bit for that recipient selects (steps 7 and 8): header and share in one write, nothing
//! gathered, nothing batched. Each connection is sent to by a task of its own, so that a slow host keeps nobody waiting
//! but itself. `nagle` is Boost.Asio's default; without it TCP_NODELAY is set, and every share is a packet.
//!
//! What users submit has the form of shares and not the secrecy: a share says whose it is, in which round, and which
//! half, so that a host can tell that it got what the bit selects. Selection bits come from a seed that all hosts know.
//! XORing the two servers' shares, and decoding, is left out: shares are counted.
//!
//! Wire: as [`relay`](crate::RelayServer) says, with a vector of bits as introduction, two shares as upload, and
//! `recipient u32, sender u32, share` as delivery. The welcome is empty but for one word.

mod bits;
mod host;

pub use host::Host;

use crate::relay::{Delivery, Outlet, RelayServer, Trade};
use crate::{BaselineError, Setup};
use std::io;
use std::net::SocketAddr;

/// Bytes before a share on the wire: recipient and sender.
pub const HEADER_BYTES: usize = 8;

/// What a server says when all users are introduced.
const WELCOME: [u8; 4] = *b"dial";

/// Starts one of the two servers, where it is told to listen; on a free port where that port is 0. `alarm` is called, on its thread, when it cannot go on.
///
/// # Errors
/// The setup cannot be, or the kernel gives no socket.
pub fn start_server(
    listen: SocketAddr,
    setup: Setup,
    nagle: bool,
    alarm: impl FnOnce(&BaselineError) + Send + 'static,
) -> Result<RelayServer, BaselineError> {
    RelayServer::start(listen, setup, nagle, Shares(setup), alarm)
}

struct Shares(Setup);

impl Trade for Shares {
    fn introduction_bytes(&self) -> usize {
        bits::vector_bytes(&self.0)
    }

    fn upload_bytes(&self) -> usize {
        2 * self.0.share_bytes as usize
    }

    fn welcome(&self, _: &[u8]) -> Vec<u8> {
        WELCOME.to_vec()
    }

    async fn deliver(&self, round: &Delivery, to: &mut Outlet) -> io::Result<()> {
        let share_bytes = self.0.share_bytes as usize;
        let mut message = vec![0; HEADER_BYTES + share_bytes];
        let vectors = round.introductions.chunks_exact(self.introduction_bytes());
        for (sender, (halves, vector)) in round.uploads.chunks_exact(2 * share_bytes).zip(vectors).enumerate()
        {
            message[4..HEADER_BYTES].copy_from_slice(&(sender as u32).to_le_bytes());
            for index in 0..to.users.len() {
                let recipient = to.users[index];
                let half = bits::bit(vector, recipient);
                message[..4].copy_from_slice(&recipient.to_le_bytes());
                message[HEADER_BYTES..].copy_from_slice(&halves[half * share_bytes..][..share_bytes]);
                to.write(&message).await?;
            }
            to.delivered(to.users.len());
        }
        Ok(())
    }
}
