//! How a user gets an account: its key goes to both servers at once, and comes back signed by both (the cross-signed key
//! of Bowers et al. 2022, 5.3.1).

use crate::channel::ChannelSettings;
use crate::stream::Stream;
use rand::CryptoRng;
use std::fmt;
use twincast_protocol::accountable::Certificate;
use twincast_protocol::channel::ChannelError;
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};
use twincast_protocol::statements::register;
use twincast_protocol::wire::{Body, Code, ErrorFrame, HEADER_BYTES, Header, Kind, Register, Registered};

/// An account that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The group.
    pub group: GroupId,
    /// The user.
    pub user: UserId,
    /// From which epoch on the key is the user's, by what the user says to both servers: 0 for a first key. Where the
    /// operators gave the user this key in the place of another one, both servers answer for the epoch that they gave it.
    pub epoch: Epoch,
}

/// A user's registration at both servers, as a state machine like [`Client`](crate::Client): bytes in, bytes out.
///
/// Each server waits for the other one's word before it answers, so both connections are needed at once. A registration
/// that broke off may be tried again with the same key; nothing is kept of half a one.
pub struct Registration<'a> {
    account: Account,
    key: &'a SigningKey,
    servers: [VerifyingKey; 2],
    streams: [Stream; 2],
    asked: [bool; 2],
    answers: [Option<Certificate>; 2],
}

/// Why there is no account. The caller closes both connections.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// A server refuses it.
    #[error("{server} refuses the registration: {}", code.sentence())]
    Refused {
        /// Which server.
        server: ServerSide,
        /// Why.
        code: Code,
    },
    /// Whoever answers at a server's address refuses the connection before there is a private channel: it may be somebody
    /// else who says so.
    #[error(
        "whoever answers at {server}'s address refuses the connection: {} (not authenticated: it need not be {server} \
         that says so)",
        code.sentence()
    )]
    RefusedInTheClear {
        /// Which server was to be reached.
        server: ServerSide,
        /// Why.
        code: Code,
    },
    /// Both servers have the key, each from another epoch on. The operators' doing, or a rotation that is half done.
    #[error(
        "S1 has this key from epoch {} on and S2 from epoch {}: if it was rotated just now, try again; else ask both \
         operators",
        epochs[0], epochs[1]
    )]
    EpochsDiffer {
        /// What S1 and S2 say.
        epochs: [Epoch; 2],
    },
    /// A server sent something else than an answer. The server's doing.
    #[error("{server} sent what is no answer to a registration: {what}")]
    Answer {
        /// Which server.
        server: ServerSide,
        /// What is wrong with it.
        what: &'static str,
    },
    /// What a server says that a server signed is not signed by it, by the verifying keys that were given.
    #[error(
        "{server} answers with a signature that is not {signer}'s: compare {signer}'s verifying key with what its \
         operator publishes"
    )]
    Signature {
        /// Whose answer it is in.
        server: ServerSide,
        /// Whose signature it ought to be.
        signer: ServerSide,
    },
    /// The private channel with a server is broken, or the server is not the one whose key was given.
    #[error("the private channel with {server} is broken: {reason}")]
    Channel {
        /// Which server.
        server: ServerSide,
        /// What is wrong with it.
        reason: ChannelError,
    },
}

impl<'a> Registration<'a> {
    /// Asks for an account with this key at the two servers, which sign with `servers`.
    #[must_use]
    pub fn new(
        channel: &ChannelSettings,
        account: Account,
        key: &'a SigningKey,
        servers: [VerifyingKey; 2],
    ) -> Registration<'a> {
        let streams = ServerSide::BOTH.map(|server| Stream::new(server, channel));
        Registration { account, key, servers, streams, asked: [false; 2], answers: [None; 2] }
    }

    /// What is to be sent to `server` next; empty when there is nothing now.
    pub fn outgoing(&mut self, server: ServerSide, rng: &mut impl CryptoRng) -> &[u8] {
        let Account { group, user, epoch } = self.account;
        let stream = &mut self.streams[server.index()];
        stream.begin(rng);
        if let Some(binding) = stream.binding()
            && !std::mem::replace(&mut self.asked[server.index()], true)
        {
            let key = self.key.verifying_key();
            let signature = self.key.sign(&register(&binding, group, epoch, user, &key));
            Register::new(group, epoch, user, server, &key, signature).put(0, stream.outbound.end());
        }
        stream.seal();
        stream.unsent()
    }

    /// The first `bytes` bytes of [`outgoing`](Registration::outgoing) were sent.
    ///
    /// # Panics
    /// When there were fewer.
    pub fn sent(&mut self, server: ServerSide, bytes: usize) {
        self.streams[server.index()].sent(bytes);
    }

    /// Where bytes from `server` go.
    pub fn space(&mut self, server: ServerSide) -> &mut [u8] {
        self.streams[server.index()].space(false)
    }

    /// `bytes` bytes from `server` were written to the front of [`space`](Registration::space).
    ///
    /// # Panics
    /// When there was less room than that.
    pub fn filled(&mut self, server: ServerSide, bytes: usize) {
        self.streams[server.index()].filled(bytes);
    }

    /// Uses everything that came. The certificate, once both servers have answered with it: its epoch is a later one than
    /// was asked for where both servers have the key from there on.
    ///
    /// # Errors
    /// A server refuses, or sent what it must not.
    pub fn advance(&mut self) -> Result<Option<Certificate>, RegistrationError> {
        for server in ServerSide::BOTH {
            self.read(server)?;
        }
        let [one, two] = self.answers;
        match one.zip(two) {
            Some((one, two)) if one.epoch != two.epoch => {
                Err(RegistrationError::EpochsDiffer { epochs: [one.epoch, two.epoch] })
            }
            both => Ok(both.map(|(one, _)| one)),
        }
    }

    /// Whether `server` has answered.
    #[must_use]
    pub fn has_answered(&self, server: ServerSide) -> bool {
        self.answers[server.index()].is_some()
    }

    fn read(&mut self, server: ServerSide) -> Result<(), RegistrationError> {
        let stream = &mut self.streams[server.index()];
        stream.open();
        let wrong = |what| RegistrationError::Answer { server, what };
        while let Some((kind, body)) = next_frame(stream.inbound.data()).map_err(wrong)? {
            if kind == Kind::Error {
                let (head, _) = ErrorFrame::read(body).map_err(|code| wrong(code.sentence()))?;
                let code = Code::from_number(head.code.get());
                let code = code.ok_or(wrong("a refusal whose code this version does not know"))?;
                return Err(match stream.binding() {
                    Some(_) => RegistrationError::Refused { server, code },
                    None => RegistrationError::RefusedInTheClear { server, code },
                });
            }
            let registered = Registered::read(body).map_err(|code| wrong(code.sentence()))?;
            if self.answers[server.index()].is_some() || !self.asked[server.index()] {
                return Err(wrong("nobody has asked for it"));
            }
            let Account { group, user, epoch: from } = self.account;
            let epoch = Epoch(registered.epoch.get());
            if (registered.group.get(), registered.user.get()) != (group.0, user.0) || epoch < from {
                return Err(wrong("it is for another account"));
            }
            let key = self.key.verifying_key();
            let certificate = Certificate { key, epoch, signatures: registered.signatures };
            let is_signed = |signer: &ServerSide| {
                certificate.is_signed_by(*signer, group, user, &self.servers[signer.index()])
            };
            if let Some(signer) = ServerSide::BOTH.into_iter().find(|signer| !is_signed(signer)) {
                return Err(RegistrationError::Signature { server, signer });
            }
            let bytes = HEADER_BYTES + body.len();
            stream.inbound.consume(bytes);
            self.answers[server.index()] = Some(certificate);
        }
        stream.broken().map_or(Ok(()), |reason| Err(RegistrationError::Channel { server, reason }))
    }
}

impl fmt::Debug for Registration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("account", &self.account).finish_non_exhaustive()
    }
}

/// The next frame's kind and body, if all of it is there.
fn next_frame(data: &[u8]) -> Result<Option<(Kind, &[u8])>, &'static str> {
    let Some(header) = data.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let Header { kind, body_bytes } = Header::parse(header).map_err(Code::sentence)?;
    if !matches!(kind, Kind::Registered | Kind::Error) {
        return Err("a frame of another kind");
    }
    // Both kinds are far shorter than what is always read whole.
    if body_bytes as usize > crate::limits::SMALL_BODY_BYTES_MAX {
        return Err("it is longer than any answer");
    }
    Ok(data[HEADER_BYTES..].get(..body_bytes as usize).map(|body| (kind, body)))
}
