//! What the kernel knows of a TCP connection: who acknowledged how much, and what held it up.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd};

/// The part of `TCP_INFO` that reports are made of. A kernel too old to know a field leaves it zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// Bytes that the peer acknowledged.
    pub bytes_acked: u64,
    /// Bytes received in order.
    pub bytes_received: u64,
    /// Bytes sent, those sent again included.
    pub bytes_sent: u64,
    /// Bytes in the send buffer that were never sent.
    pub notsent_bytes: u32,
    /// Time with bytes to send, in us.
    pub busy_us: u64,
    /// Of that, the time in which the peer's window was closed, in us.
    pub rwnd_limited_us: u64,
    /// Of that, the time in which the send buffer was too small, in us.
    pub sndbuf_limited_us: u64,
    /// Segments sent more than once.
    pub retransmits_total: u32,
    /// Smoothed round-trip time, in us.
    pub rtt_us: u32,
    /// The least round-trip time seen, in us.
    pub rtt_us_min: u32,
    /// Congestion window, in segments.
    pub congestion_window_segments: u32,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// The delivery rate last measured, in bytes per second.
    pub delivery_rate_bytes_s: u64,
}

/// `struct tcp_info` of linux/tcp.h up to and with `tcpi_snd_wnd` (Linux 5.4). Later kernels append to it and answer
/// with as much as is asked for, earlier ones answer with less.
#[repr(C)]
#[derive(Default)]
struct Raw {
    state_to_flags: [u8; 8],
    rto: u32,
    ato: u32,
    snd_mss: u32,
    rcv_mss: u32,
    unacked: u32,
    sacked: u32,
    lost: u32,
    retrans: u32,
    fackets: u32,
    last_data_sent: u32,
    last_ack_sent: u32,
    last_data_recv: u32,
    last_ack_recv: u32,
    pmtu: u32,
    rcv_ssthresh: u32,
    rtt: u32,
    rttvar: u32,
    snd_ssthresh: u32,
    snd_cwnd: u32,
    advmss: u32,
    reordering: u32,
    rcv_rtt: u32,
    rcv_space: u32,
    total_retrans: u32,
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt: u32,
    data_segs_in: u32,
    data_segs_out: u32,
    delivery_rate: u64,
    busy_time: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
    delivered: u32,
    delivered_ce: u32,
    bytes_sent: u64,
    bytes_retrans: u64,
    dsack_dups: u32,
    reord_seen: u32,
    rcv_ooopack: u32,
    snd_wnd: u32,
}

const _: () = assert!(size_of::<Raw>() == 232);
const _: () = assert!(offset_of!(Raw, total_retrans) == 100);
const _: () = assert!(offset_of!(Raw, bytes_acked) == 120);
const _: () = assert!(offset_of!(Raw, delivery_rate) == 160);
const _: () = assert!(offset_of!(Raw, busy_time) == 168);
const _: () = assert!(offset_of!(Raw, bytes_sent) == 200);

/// Asks the kernel about a TCP socket.
///
/// # Errors
///
/// What `getsockopt` says: `EOPNOTSUPP` or `ENOTSOCK` for what is no TCP socket.
pub fn tcp_info(socket: impl AsFd) -> io::Result<TcpInfo> {
    let mut raw = Raw::default();
    let mut bytes = size_of::<Raw>() as libc::socklen_t;
    // SAFETY: `raw` is writable for `bytes` bytes and lives through the call (this function), and every bit pattern
    // is a value of it, as it is made of integers without padding (asserted by its size). The descriptor is open
    // while `socket` is borrowed (the caller).
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut raw).cast(),
            &mut bytes,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(TcpInfo {
        bytes_acked: raw.bytes_acked,
        bytes_received: raw.bytes_received,
        bytes_sent: raw.bytes_sent,
        notsent_bytes: raw.notsent_bytes,
        busy_us: raw.busy_time,
        rwnd_limited_us: raw.rwnd_limited,
        sndbuf_limited_us: raw.sndbuf_limited,
        retransmits_total: raw.total_retrans,
        rtt_us: raw.rtt,
        rtt_us_min: raw.min_rtt,
        congestion_window_segments: raw.snd_cwnd,
        segment_bytes: raw.snd_mss,
        delivery_rate_bytes_s: raw.delivery_rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn counts_what_the_peer_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(&[7; 1000]).unwrap();
        far.read_exact(&mut [0; 1000]).unwrap();
        far.write_all(&[7; 10]).unwrap();
        near.read_exact(&mut [0; 10]).unwrap();
        let info = tcp_info(&near).unwrap();
        assert_eq!(
            (info.bytes_acked, info.bytes_sent, info.bytes_received),
            (1001, 1000, 10),
            "SYN counts as one"
        );
        assert!(
            info.segment_bytes > 500 && info.congestion_window_segments > 0 && info.rtt_us > 0,
            "{info:?}"
        );
    }

    #[test]
    fn no_tcp_socket_is_an_error() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(tcp_info(&file).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}
