//! What a connection sends, in plain: as it comes, or out of the records of its private channel.
//!
//! Only the reader has the keys of this direction: the core that writes to the connection has the other direction's, and
//! the two share nothing.

use super::net::Ear;
use super::strangers::Stranger;
use crate::limits::{DROPPED_BYTES_MAX, STRANGER_BYTES};
use std::fmt;
use twincast_protocol::channel::{ReceiveKeys, Unsealer};
use zeroize::Zeroize;

/// Why a connection is not read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The peer went away.
    Gone,
    /// A record is not the peer's: bytes were changed, dropped or repeated on the way.
    Broken,
    /// A stranger's address has sent more than it may.
    Flood,
}

/// A connection that is read.
pub(super) struct Inlet {
    ear: Ear,
    /// While its peer has not said who it is.
    stranger: Option<Stranger>,
    form: Form,
    /// Bytes that came and were not counted yet.
    received: usize,
}

/// How what comes is to be taken.
enum Form {
    Plain,
    /// What came of it and was not taken.
    Handshake(Vec<u8>),
    Records(Incoming),
}

/// One direction of a private channel, as one executor may hand it to another.
pub struct Incoming {
    unsealer: Unsealer,
    /// The plaintext of a record for which there was no room, and how much of it was taken.
    plain: Vec<u8>,
    taken: usize,
}

impl Inlet {
    /// A stranger's connection; `private`: it begins with a handshake.
    pub(super) fn of_stranger(ear: Ear, stranger: Stranger, private: bool) -> Inlet {
        let form = if private { Form::Handshake(Vec::new()) } else { Form::Plain };
        Inlet { ear, stranger: Some(stranger), form, received: 0 }
    }

    /// A connection whose peer has said who it is.
    pub(super) fn of_member(ear: Ear, incoming: Option<Incoming>) -> Inlet {
        Inlet { ear, stranger: None, form: incoming.map_or(Form::Plain, Form::Records), received: 0 }
    }

    /// The handshake is done: what comes from now on is records.
    pub(super) fn open_with(&mut self, keys: ReceiveKeys) {
        let Form::Handshake(rest) = &self.form else { panic!("a channel has one handshake") };
        let mut unsealer = keys.into_unsealer();
        unsealer.push(rest);
        self.form = Form::Records(Incoming { unsealer, plain: Vec::new(), taken: 0 });
    }

    /// What whoever reads this connection next goes on with.
    pub(super) fn into_incoming(self) -> Option<Incoming> {
        match self.form {
            Form::Records(incoming) => Some(incoming),
            Form::Plain | Form::Handshake(_) => None,
        }
    }

    /// Bytes that came on the wire since this was asked last.
    pub(super) fn take_received(&mut self) -> usize {
        std::mem::take(&mut self.received)
    }

    /// Reads plaintext that is there, or waits. 0: the peer sends no more, and all that it sent is whole.
    pub(super) async fn read(&mut self, room: &mut [u8]) -> Result<usize, Cut> {
        let Inlet { ear, stranger, form, received } = self;
        match form {
            Form::Plain => hear(ear, room, stranger.as_ref(), received).await,
            Form::Handshake(_) => panic!("what comes before the handshake's end is no plaintext"),
            Form::Records(incoming) => loop {
                let taken = incoming.take(room)?;
                if taken > 0 || room.is_empty() {
                    return Ok(taken);
                }
                match hear(ear, incoming.unsealer.space(), stranger.as_ref(), received).await? {
                    0 if incoming.unsealer.waiting() == 0 => return Ok(0),
                    // In the middle of a record.
                    0 => return Err(Cut::Gone),
                    bytes => incoming.unsealer.received(bytes),
                }
            },
        }
    }

    /// Drops what comes, until nothing does, or it is more than a frame, or more than a stranger's address may send.
    pub(super) async fn drop_all(&mut self) {
        let Inlet { ear, stranger, received, .. } = self;
        let mut room = [0; STRANGER_BYTES];
        let mut dropped = 0;
        while dropped < DROPPED_BYTES_MAX
            && let Ok(bytes @ 1..) = hear(ear, &mut room, stranger.as_ref(), received).await
        {
            dropped += bytes;
        }
    }

    /// Whether a handshake begins with these bytes. Waits no longer than it takes to know.
    pub(super) async fn begins_with(&mut self, expected: &[u8]) -> Result<bool, Cut> {
        loop {
            let came = self.handshake();
            if came.iter().zip(expected).any(|(came, expected)| came != expected) {
                return Ok(false);
            }
            if came.len() >= expected.len() {
                return Ok(true);
            }
            self.hear_handshake().await?;
        }
    }

    /// The next bytes of a handshake.
    pub(super) async fn exactly<const N: usize>(&mut self) -> Result<[u8; N], Cut> {
        loop {
            if let Some(bytes) = self.handshake().first_chunk::<N>().copied() {
                self.handshake().drain(..N);
                return Ok(bytes);
            }
            self.hear_handshake().await?;
        }
    }

    fn handshake(&mut self) -> &mut Vec<u8> {
        match &mut self.form {
            Form::Handshake(came) => came,
            Form::Plain | Form::Records(_) => panic!("there is no handshake, or it is done"),
        }
    }

    async fn hear_handshake(&mut self) -> Result<(), Cut> {
        let mut room = [0; STRANGER_BYTES];
        match hear(&mut self.ear, &mut room, self.stranger.as_ref(), &mut self.received).await? {
            0 => Err(Cut::Gone),
            bytes => {
                self.handshake().extend_from_slice(&room[..bytes]);
                Ok(())
            }
        }
    }
}

/// Reads what is there, or waits, and counts it.
async fn hear(
    ear: &mut Ear,
    room: &mut [u8],
    stranger: Option<&Stranger>,
    received: &mut usize,
) -> Result<usize, Cut> {
    let bytes = ear.read(room).await.map_err(|_| Cut::Gone)?;
    *received += bytes;
    if stranger.is_none_or(|stranger| stranger.sent(bytes)) { Ok(bytes) } else { Err(Cut::Flood) }
}

impl Incoming {
    /// Opens the records that are whole, as far as there is room for their plaintext. 0: more has to come.
    fn take(&mut self, room: &mut [u8]) -> Result<usize, Cut> {
        let mut taken = self.take_left(room);
        while taken < room.len() {
            let opened = self.unsealer.next_record_into(&mut room[taken..]);
            let whole = match opened {
                Ok(Some(0)) => self.unsealer.next_record(),
                Ok(Some(bytes)) => {
                    taken += bytes;
                    continue;
                }
                Ok(None) => break,
                Err(error) => Err(error),
            };
            match whole {
                Ok(whole) => {
                    let whole = whole.expect("it is there, and too long for the room");
                    self.plain.extend_from_slice(whole);
                    taken += self.take_left(&mut room[taken..]);
                }
                // What came before it is the peer's. It is broken when it is asked for again, too.
                Err(_) if taken > 0 => break,
                Err(_) => return Err(Cut::Broken),
            }
        }
        Ok(taken)
    }

    /// Takes what is left of a record that was too long.
    fn take_left(&mut self, room: &mut [u8]) -> usize {
        let left = &self.plain[self.taken..];
        let bytes = left.len().min(room.len());
        room[..bytes].copy_from_slice(&left[..bytes]);
        self.taken += bytes;
        if self.taken == self.plain.len() {
            self.plain.clear();
            self.taken = 0;
        }
        bytes
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // A dial's plaintext has a session key.
        self.plain.zeroize();
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What came may hold a session key.
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
