//! Counters, one at each branch of the loop.

use crate::tcp_info::TcpInfo;

/// What an egress did since its start. All are counts except where the name has a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EgressStats {
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that had nothing to do and slept.
    pub sleeps: u64,
    /// Completions handled.
    pub completions: u64,
    /// Sends given to the kernel, by copy and without.
    pub sends: u64,
    /// Bytes that the kernel took.
    pub sent_bytes: u64,
    /// Bytes that sources wrote into slabs; above `sent_bytes` by what was gathered twice.
    pub filled_bytes: u64,
    /// Sends of which the kernel took a part.
    pub short_sends: u64,
    /// Sends of which it took nothing, as the socket had no room.
    pub again: u64,
    /// Waits for room.
    pub polls: u64,
    /// Sends that found the kernel out of buffers or locked memory.
    pub enobufs: u64,
    /// Sends that a signal interrupted.
    pub interrupted: u64,
    /// Sends without a copy.
    pub zc_sends: u64,
    /// Notifications that the kernel is done with the memory of a send.
    pub zc_notifications: u64,
    /// Of those, the ones that say that it copied after all.
    pub zc_copied: u64,
    /// Zero-copy sends that the socket or the kernel does not do.
    pub zc_refused: u64,
    /// Slabs taken from a blocked connection for one that could send.
    pub slabs_reclaimed: u64,
    /// Connections that had to wait for a slab.
    pub slab_waits: u64,
    /// Times that a source left what it had to a later turn.
    pub put_off: u64,
    /// Slabs out of the pool at the end of the last turn.
    pub slabs_in_use: u64,
    /// The most slabs out of the pool at a time.
    pub slabs_in_use_max: u64,
    /// Stall deadlines that were renewed because the peer had acknowledged bytes.
    pub stalls_renewed: u64,
    /// Connections that came.
    pub added: u64,
    /// Connections closed on `close`.
    pub closed_asked: u64,
    /// Connections closed as the peer had gone.
    pub closed_peer: u64,
    /// Connections closed as the peer took no byte for `stall_timeout`.
    pub closed_stall: u64,
    /// Completions of connections that were closed already.
    pub late_completions: u64,
}

/// Sums over connections of what the kernel keeps in `TCP_INFO`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpTotals {
    /// Connections in the sums.
    pub connections: u64,
    /// Bytes that peers acknowledged.
    pub bytes_acked: u64,
    /// Time with bytes to send, in us.
    pub busy_us: u64,
    /// Of that, the time in which the peer's window was closed, in us.
    pub rwnd_limited_us: u64,
    /// Of that, the time in which the send buffer was too small, in us.
    pub sndbuf_limited_us: u64,
    /// Segments sent more than once.
    pub retransmits: u64,
}

impl TcpTotals {
    /// Adds one connection.
    pub fn add(&mut self, info: &TcpInfo) {
        self.connections += 1;
        self.bytes_acked += info.bytes_acked;
        self.busy_us += info.busy_us;
        self.rwnd_limited_us += info.rwnd_limited_us;
        self.sndbuf_limited_us += info.sndbuf_limited_us;
        self.retransmits += u64::from(info.retransmits_total);
    }
}
