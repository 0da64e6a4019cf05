//! The three messages of a handshake, and the channel that comes of them.

use super::primitives::{Primitives, Secret};
use super::{
    ChannelError, Cipher, FIRST_BYTES, KEY_BYTES, LENGTH_BYTES, MAGIC, PREAMBLE_BYTES, ReceiveKeys,
    SECOND_BYTES, SendKeys, StaticKey, THIRD_BYTES, VERSION,
};
use crate::ids::ServerSide;
use crate::statements::{Binding, HASH_BYTES, Hash};
use rand::CryptoRng;
use snow::params::NoiseParams;
use snow::{Builder, HandshakeState};
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// What the prologue begins with.
const LABEL: &[u8] = b"twincast/channel/v1";
/// More than any message of the handshake holds besides its payload, which is empty.
const MESSAGE_BYTES_MAX: usize = FIRST_BYTES + THIRD_BYTES;

/// What a channel is for. A handshake for one is nothing for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A client and a server.
    Client,
    /// The two servers: S1 initiates.
    Link,
}

impl Purpose {
    fn code(self) -> u8 {
        match self {
            Purpose::Client => 0,
            Purpose::Link => 1,
        }
    }
}

/// A channel that both sides have agreed on. Its two directions have nothing in common, and may go to two threads.
#[derive(Debug)]
pub struct Channel {
    /// The handshake's hash, which no two channels share: what is signed over it is of no use elsewhere.
    pub binding: Hash,
    /// The peer's static key. Of a responder's peer it is known that it holds that key, not that anybody trusts it.
    pub peer: [u8; KEY_BYTES],
    /// For what is sent.
    pub send: SendKeys,
    /// For what is received.
    pub receive: ReceiveKeys,
}

impl Channel {
    fn new(cipher: Cipher, mut state: HandshakeState) -> Channel {
        assert!(state.is_handshake_finished(), "a channel comes of a whole handshake");
        let binding: [u8; HASH_BYTES] = state.get_handshake_hash().try_into().expect("SHA-256");
        let peer = state.get_remote_static().expect("both know the other's static key by now");
        let peer = peer.try_into().expect("a key of X25519");
        let (initiators, responders) = state.dangerously_get_raw_split();
        let keys = [Zeroizing::new(initiators), Zeroizing::new(responders)];
        let (send, receive) = if state.is_initiator() { (0, 1) } else { (1, 0) };
        Channel {
            binding,
            peer,
            send: SendKeys::new(cipher, &keys[send]),
            receive: ReceiveKeys::new(cipher, &keys[receive]),
        }
    }

    /// Whether the peer is the pinned one; compared in constant time.
    ///
    /// # Errors
    /// [`ChannelError::UnexpectedPeer`].
    pub fn require_peer(&self, pinned: &[u8; KEY_BYTES]) -> Result<(), ChannelError> {
        if bool::from(self.peer.ct_eq(pinned)) { Ok(()) } else { Err(ChannelError::UnexpectedPeer) }
    }

    /// What statements made on this channel are bound to. `server` is the static key of the handshake's responder: the
    /// peer's for the initiator, its own for the responder.
    #[must_use]
    pub fn statement_binding(&self, server: &[u8; KEY_BYTES]) -> Binding {
        Binding { server: *server, handshake: self.binding }
    }

    /// Replaces both directions' keys after so many records, for tests. Both ends must, before the first record.
    #[doc(hidden)]
    pub fn rekey_every(&mut self, records: u64) {
        self.send.rekey_every(records);
        self.receive.rekey_every(records);
    }
}

/// Who begins: a client, or S1 on the servers' link.
pub struct Initiator {
    cipher: Cipher,
    state: HandshakeState,
    first: [u8; FIRST_BYTES],
}

impl Initiator {
    /// Begins a handshake with whoever holds the private half of `peer`, as the server of `side`. The ephemeral key comes
    /// from the thread's generator, which the operating system seeded.
    #[must_use]
    pub fn new(
        own: &StaticKey,
        peer: [u8; KEY_BYTES],
        cipher: Cipher,
        purpose: Purpose,
        side: ServerSide,
    ) -> Initiator {
        Initiator::with_rng(own, peer, cipher, purpose, side, &mut rand::rng())
    }

    /// The same with an ephemeral key from `rng`.
    #[must_use]
    pub fn with_rng(
        own: &StaticKey,
        peer: [u8; KEY_BYTES],
        cipher: Cipher,
        purpose: Purpose,
        side: ServerSide,
        rng: &mut impl CryptoRng,
    ) -> Initiator {
        let mut preamble = [0; PREAMBLE_BYTES];
        preamble[..MAGIC.len()].copy_from_slice(&MAGIC);
        preamble[MAGIC.len()..].copy_from_slice(&[VERSION, cipher.code()]);
        let mut state = state(own, Some(&peer), cipher, &prologue(&preamble, purpose, side), &draw(rng));
        let mut first = [0; FIRST_BYTES];
        first[..PREAMBLE_BYTES].copy_from_slice(&preamble);
        // A pinned key of small order agrees with nobody. No message comes of it, and none will be answered.
        if let Some(message) = write::<SECOND_BYTES>(&mut state) {
            first[PREAMBLE_BYTES..].copy_from_slice(&message);
        }
        Initiator { cipher, state, first }
    }

    /// What to send first.
    #[must_use]
    pub fn first(&self) -> [u8; FIRST_BYTES] {
        self.first
    }

    /// Takes the responder's answer. Returns what to send then, and the channel: records may follow at once.
    ///
    /// # Errors
    /// [`ChannelError::HandshakeLength`]; [`ChannelError::NotThePinnedKey`].
    pub fn second(
        mut self,
        second: &[u8; SECOND_BYTES],
    ) -> Result<([u8; THIRD_BYTES], Channel), ChannelError> {
        read(&mut self.state, second, ChannelError::NotThePinnedKey)?;
        let third = write::<THIRD_BYTES>(&mut self.state).ok_or(ChannelError::NotThePinnedKey)?;
        Ok((third, Channel::new(self.cipher, self.state)))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

/// Who answers: a server, or S2 on the servers' link.
pub struct Responder {
    own: StaticKey,
    purpose: Purpose,
    side: ServerSide,
    ephemeral: Secret,
    /// Once the first message came.
    begun: Option<(Cipher, HandshakeState)>,
}

impl Responder {
    /// Waits for a handshake for this server's key, purpose and side. The ephemeral key comes from the thread's
    /// generator, which the operating system seeded.
    #[must_use]
    pub fn new(own: &StaticKey, purpose: Purpose, side: ServerSide) -> Responder {
        Responder::with_rng(own, purpose, side, &mut rand::rng())
    }

    /// The same with an ephemeral key from `rng`.
    #[must_use]
    pub fn with_rng(
        own: &StaticKey,
        purpose: Purpose,
        side: ServerSide,
        rng: &mut impl CryptoRng,
    ) -> Responder {
        Responder { own: own.clone(), purpose, side, ephemeral: draw(rng), begun: None }
    }

    /// Takes the initiator's first message. Returns what to answer.
    ///
    /// # Errors
    /// [`ChannelError::NotAChannel`], [`ChannelError::UnknownVersion`], [`ChannelError::UnknownCipher`],
    /// [`ChannelError::HandshakeLength`], before anything is computed; [`ChannelError::NotForThisKey`].
    ///
    /// # Panics
    /// Where a first message was taken already.
    pub fn first(&mut self, first: &[u8; FIRST_BYTES]) -> Result<[u8; SECOND_BYTES], ChannelError> {
        assert!(self.begun.is_none(), "a handshake has one first message");
        let (preamble, message) = first.split_first_chunk::<PREAMBLE_BYTES>().expect("it is longer");
        let [magic @ .., version, code] = preamble;
        if *magic != MAGIC {
            return Err(ChannelError::NotAChannel);
        }
        if *version != VERSION {
            return Err(ChannelError::UnknownVersion { version: *version });
        }
        let cipher = Cipher::from_code(*code)?;
        check_length(message)?;
        let prologue = prologue(preamble, self.purpose, self.side);
        let mut state = state(&self.own, None, cipher, &prologue, &self.ephemeral);
        read(&mut state, message, ChannelError::NotForThisKey)?;
        let second = write(&mut state).ok_or(ChannelError::NotForThisKey)?;
        self.begun = Some((cipher, state));
        Ok(second)
    }

    /// Takes the initiator's last message. Returns the channel.
    ///
    /// # Errors
    /// [`ChannelError::HandshakeLength`]; [`ChannelError::HandshakeChanged`].
    ///
    /// # Panics
    /// Where no first message was taken.
    pub fn third(self, third: &[u8; THIRD_BYTES]) -> Result<Channel, ChannelError> {
        let (cipher, mut state) = self.begun.expect("the last message comes after the first");
        read(&mut state, third, ChannelError::HandshakeChanged)?;
        Ok(Channel::new(cipher, state))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Responder { purpose, side, begun, .. } = self;
        let begun = begun.is_some();
        f.debug_struct("Responder")
            .field("purpose", purpose)
            .field("side", side)
            .field("begun", &begun)
            .finish_non_exhaustive()
    }
}

fn draw(rng: &mut impl CryptoRng) -> Secret {
    let mut drawn = Secret::default();
    rng.fill_bytes(&mut Arc::get_mut(&mut drawn).expect("nobody shares it yet")[..]);
    drawn
}

/// What both sides must agree on before the first byte.
fn prologue(preamble: &[u8; PREAMBLE_BYTES], purpose: Purpose, side: ServerSide) -> Vec<u8> {
    [LABEL, preamble, &[purpose.code(), side.index() as u8 + 1]].concat()
}

fn state(
    own: &StaticKey,
    peer: Option<&[u8; KEY_BYTES]>,
    cipher: Cipher,
    prologue: &[u8],
    ephemeral: &Secret,
) -> HandshakeState {
    let name = match cipher {
        Cipher::AesGcm => "Noise_XK_25519_AESGCM_SHA256",
        Cipher::ChaChaPoly => "Noise_XK_25519_ChaChaPoly_SHA256",
    };
    let params: NoiseParams = name.parse().expect("a name of Noise");
    // That there is a key of its own. Which, the primitives know, and it is copied nowhere.
    let private = [0; KEY_BYTES];
    let builder = Builder::with_resolver(params, Box::new(Primitives::new(own, ephemeral)));
    let builder = builder.prologue(prologue).and_then(|builder| builder.local_private_key(&private));
    let built = match peer {
        Some(peer) => builder
            .and_then(|builder| builder.remote_public_key(peer))
            .and_then(|builder| builder.build_initiator()),
        None => builder.and_then(|builder| builder.build_responder()),
    };
    built.expect("all that the handshake needs is there")
}

/// The next message of this side, behind its length. None where the peer's keys agree with nobody.
fn write<const BYTES: usize>(state: &mut HandshakeState) -> Option<[u8; BYTES]> {
    let mut out = [0; MESSAGE_BYTES_MAX];
    let bytes = state.write_message(&[], &mut out).ok()?;
    assert_eq!(bytes, BYTES - LENGTH_BYTES, "a message of the handshake has one length");
    let mut message = [0; BYTES];
    message[..LENGTH_BYTES].copy_from_slice(&(bytes as u16).to_be_bytes());
    message[LENGTH_BYTES..].copy_from_slice(&out[..bytes]);
    Some(message)
}

fn check_length(message: &[u8]) -> Result<&[u8], ChannelError> {
    let (length, rest) = message.split_first_chunk::<LENGTH_BYTES>().expect("it is longer");
    let (bytes, expected) = (u16::from_be_bytes(*length), rest.len() as u16);
    if bytes == expected { Ok(rest) } else { Err(ChannelError::HandshakeLength { bytes, expected }) }
}

/// Takes the peer's next message, which is behind its length.
fn read(state: &mut HandshakeState, message: &[u8], refused: ChannelError) -> Result<(), ChannelError> {
    let message = check_length(message)?;
    // The payload is empty; snow wants room for what it may be.
    let payload = state.read_message(message, &mut [0; MESSAGE_BYTES_MAX]).map_err(|_| refused)?;
    if payload == 0 { Ok(()) } else { Err(refused) }
}
