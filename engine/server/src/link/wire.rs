//! One connection between the servers: bytes in, frames out of them, frames in, bytes out, nothing blocks. Where the
//! channel is private the bytes are a handshake and records (`channel`), and frames wait until the handshake is done.

use super::channel::{LinkChannel, LinkKeys};
use crate::limits::{LINK_READ_BYTES, LINK_SEND_BYTES};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use twincast_protocol::wire::link::{LINK_BODY_BYTES_MAX, LinkFrame};
use twincast_protocol::wire::{Code, HEADER_BYTES, Header};

/// One connection, its buffers bounded in both directions: by one frame and a read, and by one frame and
/// [`LINK_SEND_BYTES`].
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    peer: SocketAddr,
    /// None: it is plain.
    channel: Option<LinkChannel>,
    /// What came, in plain.
    inbound: Vec<u8>,
    /// Bytes of `inbound` that are consumed.
    at: usize,
    /// What was read, where that is not plain.
    raw: Vec<u8>,
    /// Frames that are not sealed yet, where they have to be.
    unsealed: Vec<u8>,
    outbound: Vec<u8>,
    /// Bytes of `outbound` that are sent.
    sent: usize,
    /// Bytes that were read, all in all.
    received: u64,
    /// When the socket last took bytes, or bytes for it came while it had none.
    moved_at: Instant,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The end of the stream.
    End,
}

impl Wire {
    /// Takes a connected socket; `channel`: how it becomes private, if it does. What it sends is acknowledged within
    /// `stall_timeout`, or the kernel ends it.
    ///
    /// # Errors
    /// When the peer is gone already.
    pub(super) fn new(socket: TcpStream, stall_timeout: Duration, channel: &LinkKeys) -> io::Result<Wire> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let stall_ms = u32::try_from(stall_timeout.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(&socket, stall_ms)?;
        let peer = socket.peer_addr()?;
        if peer == socket.local_addr()? {
            // Two ends of one socket: a port of this machine that happened to be its own.
            return Err(io::Error::other("the connection leads back to itself"));
        }
        let mut outbound = Vec::new();
        let channel = channel.end(&mut outbound);
        Ok(Wire {
            socket,
            peer,
            channel,
            inbound: Vec::new(),
            at: 0,
            raw: Vec::new(),
            unsealed: Vec::new(),
            outbound,
            sent: 0,
            received: 0,
            moved_at: Instant::now(),
        })
    }

    /// How it is private, which it is.
    #[cfg(test)]
    pub(super) fn channel_mut(&mut self) -> &mut LinkChannel {
        self.channel.as_mut().expect("it is private")
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Reads once. Only for who has taken all whole frames: what is left is less than one.
    pub(super) fn read(&mut self) -> io::Result<Brought> {
        self.inbound.drain(..self.at);
        self.at = 0;
        let into = if self.channel.is_some() { &mut self.raw } else { &mut self.inbound };
        let end = into.len();
        into.resize(end + LINK_READ_BYTES, 0);
        let read = loop {
            match self.socket.read(&mut into[end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        into.truncate(end + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Ok(Brought::End),
            Ok(bytes) => {
                self.received += bytes as u64;
                if let Some(channel) = &mut self.channel {
                    let taken = channel.take(&self.raw, &mut self.inbound, &mut self.outbound);
                    self.raw.clear();
                    taken.map_err(io::Error::other)?;
                }
                Ok(Brought::Bytes(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Brought::Nothing),
            Err(error) => Err(error),
        }
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// What is wrong with it; already at its header, if that is wrong.
    pub(super) fn next(&mut self) -> Result<Option<LinkFrame>, Code> {
        let rest = &self.inbound[self.at..];
        let Some(header) = rest.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let header = Header::parse(header)?;
        if header.body_bytes > LINK_BODY_BYTES_MAX {
            return Err(Code::FrameTooLarge);
        }
        // A kind that has no place here is refused before its body comes: no kind takes an empty one.
        if let Err(Code::KindUnknown) = LinkFrame::read(header.kind, &[]) {
            return Err(Code::KindUnknown);
        }
        let end = HEADER_BYTES + header.body_bytes as usize;
        let Some(body) = rest.get(HEADER_BYTES..end) else { return Ok(None) };
        let frame = LinkFrame::read(header.kind, body)?;
        self.at += end;
        Ok(Some(frame))
    }

    /// Appends a frame to what is to be sent.
    pub(super) fn push(&mut self, frame: &LinkFrame) {
        if !self.has_unsent() {
            self.outbound.clear();
            self.sent = 0;
            self.moved_at = Instant::now();
        }
        frame.put(if self.channel.is_some() { &mut self.unsealed } else { &mut self.outbound });
    }

    /// Whether there are bytes for the socket. Frames that wait for the handshake's end are none yet.
    pub(super) fn has_unsent(&self) -> bool {
        let is_open = self.channel.as_ref().is_some_and(LinkChannel::is_open);
        self.sent < self.outbound.len() || (is_open && !self.unsealed.is_empty())
    }

    /// Whether its peer still has to show that it is the other server.
    pub(super) fn shakes_hands(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| !channel.is_open())
    }

    /// Whether a further frame is to be appended now.
    pub(super) fn has_room(&self) -> bool {
        self.outbound.len() - self.sent + self.unsealed.len() < LINK_SEND_BYTES
    }

    /// When the socket has to take bytes at the latest, if there are any for it.
    pub(super) fn stalls_at(&self, stall_timeout: Duration) -> Option<Instant> {
        self.has_unsent().then(|| self.moved_at + stall_timeout)
    }

    /// Sends what the socket takes. Returns how much.
    pub(super) fn write(&mut self) -> io::Result<usize> {
        if let Some(channel) = &mut self.channel {
            channel.seal(&mut self.unsealed, &mut self.outbound);
        }
        let mut written = 0;
        while self.has_unsent() {
            match self.socket.write(&self.outbound[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    written += bytes;
                    self.sent += bytes;
                    self.moved_at = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.sent >= LINK_SEND_BYTES || !self.has_unsent() {
            self.outbound.drain(..self.sent);
            self.sent = 0;
        }
        Ok(written)
    }
}
