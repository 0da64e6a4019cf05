//! The sending half of a connection, which counts its writes.

use super::server::Counters;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;

/// The sending half of the connection of one host.
pub(crate) struct Outlet {
    stream: OwnedWriteHalf,
    /// The users at its far end, ascending.
    pub(crate) users: Vec<u32>,
    counters: Arc<Counters>,
}

impl Outlet {
    pub(super) fn new(stream: OwnedWriteHalf, users: Vec<u32>, counters: Arc<Counters>) -> Outlet {
        Outlet { stream, users, counters }
    }

    /// Sends these bytes with one write, and with one more for each time that the socket takes only a part. Where it
    /// takes nothing, waits until it does.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let whole = bytes.len();
        while !bytes.is_empty() {
            let taken = self.stream.write(bytes).await?;
            if taken == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[taken..];
            self.counters.writes.fetch_add(1, Ordering::Relaxed);
            self.counters.cut_writes.fetch_add(u64::from(!bytes.is_empty()), Ordering::Relaxed);
        }
        self.counters.egress_bytes.fetch_add(whole as u64, Ordering::Relaxed);
        Ok(())
    }

    /// So many shares or ciphertexts are sent.
    pub(crate) fn delivered(&self, count: usize) {
        self.counters.deliveries.fetch_add(count as u64, Ordering::Relaxed);
    }
}
