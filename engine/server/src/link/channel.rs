//! The private channel between the two servers: S1 begins it, and each pins the other's key.
//!
//! It stands between a connection's socket and its frames: what comes is a handshake and then records, what goes is the
//! same, and nothing that the other server did not seal becomes a frame.

use crate::keys::ChannelKeys;
use std::sync::Arc;
use twincast_protocol::channel::{
    ChannelError, Cipher, FIRST_BYTES, Initiator, KEY_BYTES, Purpose, Responder, SECOND_BYTES, SendKeys,
    THIRD_BYTES, Unsealer,
};
use twincast_protocol::ids::ServerSide;

/// What this server's end of every connection is made with.
#[derive(Debug)]
pub(super) struct LinkKeys {
    side: ServerSide,
    /// None: the link is plain.
    keys: Option<(Arc<ChannelKeys>, [u8; KEY_BYTES])>,
}

impl LinkKeys {
    /// The keys of one side; none where the link is plain.
    ///
    /// # Panics
    /// If the other server's key is not known: keys were checked with the configuration.
    pub(super) fn new(side: ServerSide, keys: Option<Arc<ChannelKeys>>) -> LinkKeys {
        let pinned = |keys: Arc<ChannelKeys>| {
            let peer = keys.peer().expect("the other server's key was checked to be there");
            (keys, peer)
        };
        LinkKeys { side, keys: keys.map(pinned) }
    }

    /// The end of one connection; what it says first goes to `out`.
    pub(super) fn end(&self, out: &mut Vec<u8>) -> Option<LinkChannel> {
        let (keys, peer) = self.keys.as_ref()?;
        Some(match self.side {
            ServerSide::One => LinkChannel::begin(keys, *peer, out),
            ServerSide::Two => LinkChannel::await_peer(keys, *peer),
        })
    }
}

/// How far a private channel is.
#[derive(Debug)]
pub(super) struct LinkChannel {
    state: State,
    /// What came of the handshake and was not taken.
    came: Vec<u8>,
}

enum State {
    /// S1's, which waits for the second message.
    Begun(Box<Initiator>),
    /// S2's, which waits for the first message, or the third.
    Awaited(Box<Awaited>),
    /// It stands.
    Open(Box<Open>),
    /// It does not, and never will.
    Broken,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Begun(_) => "Begun",
            State::Awaited(_) => "Awaited",
            State::Open(_) => "Open",
            State::Broken => "Broken",
        })
    }
}

struct Awaited {
    responder: Responder,
    /// Whose key the peer has to have.
    peer: [u8; KEY_BYTES],
    has_first: bool,
}

struct Open {
    send: SendKeys,
    receive: Unsealer,
}

impl LinkChannel {
    /// S1's end; its first message goes to `out`.
    fn begin(keys: &ChannelKeys, peer: [u8; KEY_BYTES], out: &mut Vec<u8>) -> LinkChannel {
        let initiator = Initiator::new(keys.own(), peer, Cipher::best(), Purpose::Link, ServerSide::Two);
        out.extend_from_slice(&initiator.first());
        LinkChannel { state: State::Begun(Box::new(initiator)), came: Vec::new() }
    }

    /// S2's end.
    fn await_peer(keys: &ChannelKeys, peer: [u8; KEY_BYTES]) -> LinkChannel {
        let responder = Responder::new(keys.own(), Purpose::Link, ServerSide::Two);
        let awaited = Awaited { responder, peer, has_first: false };
        LinkChannel { state: State::Awaited(Box::new(awaited)), came: Vec::new() }
    }

    /// Whether frames can be sealed.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Seals what there is to say, as far as the handshake is done, and leaves nothing of it in `plain`.
    pub(super) fn seal(&mut self, plain: &mut Vec<u8>, out: &mut Vec<u8>) {
        if let State::Open(open) = &mut self.state {
            open.send.seal_all(plain, out);
            plain.clear();
        }
    }

    /// Takes bytes that came: appends what they say to `plain`, and what the handshake answers to `out`.
    ///
    /// # Errors
    /// When the peer is not the other server, or bytes were changed on the way: then nothing of it is believed any more.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), ChannelError> {
        let taken = self.try_take(bytes, plain, out);
        if taken.is_err() {
            self.state = State::Broken;
        }
        taken
    }

    fn try_take(&mut self, bytes: &[u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), ChannelError> {
        if let State::Open(open) = &mut self.state {
            return open.take(bytes, plain);
        }
        self.came.extend_from_slice(bytes);
        while !self.is_open() {
            if !self.shake_hands(out)? {
                return Ok(());
            }
        }
        let came = std::mem::take(&mut self.came);
        match &mut self.state {
            State::Open(open) => open.take(&came, plain),
            _ => unreachable!("it was opened just now"),
        }
    }

    /// Takes the handshake's next message, if it is whole.
    fn shake_hands(&mut self, out: &mut Vec<u8>) -> Result<bool, ChannelError> {
        let came = &mut self.came;
        self.state = match std::mem::replace(&mut self.state, State::Broken) {
            State::Begun(initiator) => match take_first::<SECOND_BYTES>(came) {
                None => {
                    self.state = State::Begun(initiator);
                    return Ok(false);
                }
                Some(second) => {
                    let (third, channel) = initiator.second(&second)?;
                    out.extend_from_slice(&third);
                    Open::state(channel.send, channel.receive.into_unsealer())
                }
            },
            State::Awaited(mut awaited) if !awaited.has_first => match take_first::<FIRST_BYTES>(came) {
                None => {
                    self.state = State::Awaited(awaited);
                    return Ok(false);
                }
                Some(first) => {
                    out.extend_from_slice(&awaited.responder.first(&first)?);
                    awaited.has_first = true;
                    State::Awaited(awaited)
                }
            },
            State::Awaited(awaited) => match take_first::<THIRD_BYTES>(came) {
                None => {
                    self.state = State::Awaited(awaited);
                    return Ok(false);
                }
                Some(third) => {
                    let Awaited { responder, peer, .. } = *awaited;
                    let channel = responder.third(&third)?;
                    channel.require_peer(&peer)?;
                    Open::state(channel.send, channel.receive.into_unsealer())
                }
            },
            State::Open(_) => unreachable!("its handshake is done"),
            State::Broken => return Err(ChannelError::Broken),
        };
        Ok(true)
    }
}

impl Open {
    fn state(send: SendKeys, receive: Unsealer) -> State {
        State::Open(Box::new(Open { send, receive }))
    }

    fn take(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), ChannelError> {
        self.receive.push(bytes);
        while let Some(text) = self.receive.next_record()? {
            plain.extend_from_slice(text);
        }
        Ok(())
    }
}

/// The first bytes, if there are so many.
fn take_first<const N: usize>(came: &mut Vec<u8>) -> Option<[u8; N]> {
    let first = came.first_chunk::<N>().copied()?;
    came.drain(..N);
    Some(first)
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod rekey_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use ServerSide::{One, Two};
    use twincast_protocol::channel::StaticKey;

    fn key(side: ServerSide) -> StaticKey {
        StaticKey::from_bytes(&[side.index() as u8 + 1; KEY_BYTES])
    }

    /// One server's end, which pins this key, and what it says first.
    fn end(side: ServerSide, pinned: [u8; KEY_BYTES]) -> (LinkChannel, Vec<u8>) {
        let mut said = Vec::new();
        let keys = Arc::new(ChannelKeys::new(key(side), Some(pinned)));
        let channel = LinkKeys::new(side, Some(keys)).end(&mut said).expect("the link is private");
        (channel, said)
    }

    /// Shakes hands, until it is done or one of the two refuses.
    fn shake(one: [u8; KEY_BYTES], two: [u8; KEY_BYTES]) -> [Result<bool, ChannelError>; 2] {
        let ((mut s1, mut to_s2), (mut s2, mut to_s1)) = (end(One, one), end(Two, two));
        let mut ends = [Ok(false), Ok(false)];
        for _ in 0..2 {
            let mut plain = Vec::new();
            ends[1] = ends[1]
                .and(s2.take(&std::mem::take(&mut to_s2), &mut plain, &mut to_s1))
                .map(|()| s2.is_open());
            ends[0] = ends[0]
                .and(s1.take(&std::mem::take(&mut to_s1), &mut plain, &mut to_s2))
                .map(|()| s1.is_open());
            assert!(plain.is_empty());
        }
        for (channel, ended) in [(&mut s1, ends[0]), (&mut s2, ends[1])] {
            if ended.is_err() {
                assert!(!channel.is_open());
                let (mut plain, mut out) = (Vec::new(), Vec::new());
                assert_eq!(channel.take(&[0; 100], &mut plain, &mut out), Err(ChannelError::Broken));
                assert!(plain.is_empty() && out.is_empty());
            }
        }
        ends
    }

    /// A pinned key of small order, with which everybody agrees on the same secret, is no way in, and ends cleanly. No
    /// configuration has one.
    #[test]
    fn a_pinned_key_of_small_order_makes_no_link() {
        let known = |side| key(side).public();
        assert_eq!(shake(known(Two), known(One)), [Ok(true), Ok(true)]);
        let mut unit = [0; KEY_BYTES];
        unit[0] = 1;
        for small in [[0; KEY_BYTES], unit] {
            // S1 has nothing to say to such a key, and what it sends is no handshake.
            let [_, refused] = shake(small, known(One));
            assert!(matches!(refused, Err(ChannelError::HandshakeLength { bytes: 0, .. })), "{refused:?}");
            // Whatever is answered.
            let (mut s1, _) = end(One, small);
            let (mut plain, mut out) = (Vec::new(), Vec::new());
            let (mut s2, mut second) = (end(Two, known(One)).0, Vec::new());
            s2.take(&end(One, known(Two)).1, &mut plain, &mut second).expect("it is for S2");
            assert_eq!(s1.take(&second, &mut plain, &mut out), Err(ChannelError::NotThePinnedKey));
            assert!(!s1.is_open() && plain.is_empty() && out.is_empty());
            // S2 takes nobody.
            let [_, refused] = shake(known(Two), small);
            assert_eq!(refused, Err(ChannelError::UnexpectedPeer));
        }
    }
}
