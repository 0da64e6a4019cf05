//! What each fuzz target does with its bytes: everything that decodes what a peer sends. Nothing may panic; what is read
//! and can be written again is the same bytes.

#[path = "targets/clients.rs"]
mod clients;
#[path = "targets/judged.rs"]
mod judged;

pub(crate) use clients::{accountable_frames, line, registration};
pub(crate) use judged::{blame, evidence};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::time::Duration;
use twincast_client::{
    ChannelSettings, Client, ClientSettings, Event, Messages, Observer, Outbox, Tile, User,
};
use twincast_protocol::accountable::certificate::Certificate;
use twincast_protocol::accountable::dial::{DIAL_TAIL_BYTES, DialTail, Opening};
use twincast_protocol::accountable::headers::Headers;
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::answer::reader::{Reader, RoundContext};
use twincast_protocol::channel::{Cipher, Initiator, Purpose as Channelled, Responder, StaticKey};
use twincast_protocol::confirm::open_confirmations;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::format::{Opener, Profile, Scheme, ShareFormat};
use twincast_protocol::identity::{KEY_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::keys::{KeyKind, open_keys};
use twincast_protocol::receive::{Expected, TileCells, Verdicts};
use twincast_protocol::sealed::{self, Associated, SealKey};
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::wire::link::LinkFrame;
use twincast_protocol::wire::*;

/// Takes bytes off the front of the input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let taken = self.take(8);
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }
}

/// The header and the bodies that a server reads of a client.
pub(crate) fn client_frames(data: &[u8]) {
    let Some((header, body)) = data.split_first_chunk::<HEADER_BYTES>() else { return };
    let Ok(header) = Header::parse(header) else { return };
    assert_eq!(header.to_bytes(), data[..HEADER_BYTES]);
    match header.kind {
        Kind::Hello => {
            if let Ok((hello, side, users, proofs)) = Hello::read(body) {
                let (group, epoch) = (GroupId(hello.group.get()), Epoch(hello.epoch.get()));
                let again = Hello::frame_with(group, epoch, side, hello.join == 1, &users, proofs);
                assert_eq!(again[HEADER_BYTES..], *body);
            }
        }
        Kind::Dial => {
            if let Ok((_, key)) = Dial::parse_prefix(body) {
                let members = key.len() as u32 * 8;
                let _ = SessionKey::from_bytes(members, key);
                let _ = SessionKey::from_bytes(members.saturating_sub(3), key);
            }
        }
        Kind::PartsSeed | Kind::Parts => drop(PartsHead::parse_prefix(body)),
        Kind::Submit => drop(Submit::parse_prefix(body)),
        Kind::Leave => drop(Leave::parse(body)),
        Kind::Fetch => drop(Fetch::parse(body)),
        Kind::Register => drop(Register::read(body)),
        Kind::FetchHeaders => drop(FetchHeaders::parse(body)),
        _ => {}
    }
}

/// What the two servers say to each other.
pub(crate) fn link_frames(data: &[u8]) {
    let Some((header, body)) = data.split_first_chunk::<HEADER_BYTES>() else { return };
    let Ok(header) = Header::parse(header) else { return };
    if let Ok(frame) = LinkFrame::read(header.kind, body) {
        let mut again = Vec::new();
        frame.put(&mut again);
        assert_eq!(again[HEADER_BYTES..], *body);
    }
}

#[derive(Default)]
struct Caller {
    /// What its users sign with, if they do.
    identity: Option<SigningKey>,
    opened: bool,
    closed: bool,
}

impl Outbox for Caller {
    fn recipients(&mut self, _: Epoch, _: User, _: SlotIndex) -> &[UserId] {
        &[UserId(2)]
    }
    fn message(&mut self, _: RoundNumber, _: User, _: SlotIndex) -> &[u8] {
        b"hello"
    }
    fn identity(&mut self, _: UserId) -> Option<&SigningKey> {
        self.identity.as_ref()
    }
}

impl Observer for Caller {
    fn verdicts(&mut self, _: &Tile, _: User, verdicts: &Verdicts, messages: &Messages<'_>) {
        (0..64).filter(|sender| verdicts.accept >> sender & 1 == 1).for_each(|sender| {
            let _ = messages.get(sender);
        });
    }
    fn event(&mut self, event: Event) {
        self.opened |= matches!(event, Event::EpochOpen { .. });
        self.closed |= matches!(event, Event::RoundClosed { .. });
    }
}

fn welcome(delivery: u8) -> Welcome {
    let members = [UserId(0), UserId(1), UserId(2)];
    let answers = delivery == 1;
    Welcome {
        group: 1.into(),
        epoch: 0.into(),
        members: 3.into(),
        slots: 1.into(),
        frame_bytes: if answers { 272 } else { 16 }.into(),
        share_bytes: if answers { RECORD_BYTES as u32 } else { 64 }.into(),
        confirm_tile_senders: if answers { 0 } else { 64 }.into(),
        key_tile_senders: 0.into(),
        round_timeout_ms: 1000.into(),
        interval_ms: 0.into(),
        epoch_rounds: 8.into(),
        announce_rounds: 2.into(),
        header_rounds: 0.into(),
        round: 1.into(),
        roster_hash: roster_hash(GroupId(1), Epoch(0), &members),
        profile: 2,
        scheme: 0,
        subgroups_max: 0.into(),
        open: 0,
        delivery,
        linked: 1,
        flags: 0,
    }
}

/// A whole client in the clear, which two servers of a plain group tell anything. The first byte says how much of what they
/// say first is right; then come pieces: one byte for the server and the length, and the bytes.
pub(crate) fn server_frames(data: &[u8]) {
    let mut input = Input(data);
    let start = input.byte();
    let settings = ClientSettings {
        group: GroupId(1),
        epoch: None,
        join: false,
        skew_bytes: 1 << 16,
        signed: None,
        accept_baseline: false,
        channel: ChannelSettings::Plain,
        accountable: None,
    };
    let Ok(mut client) = Client::new(settings, vec![UserId(0), UserId(1)]) else { return };
    let (mut caller, mut rng) = (Caller::default(), StdRng::seed_from_u64(1));
    let mut now = Duration::ZERO;
    if start & 1 == 1 {
        let members = [UserId(0), UserId(1), UserId(2)];
        let said = [welcome(start >> 1 & 1).frame(), Roster::frames(Epoch(0), &members)].concat();
        for server in ServerSide::BOTH {
            client.space(server, now)[..said.len()].copy_from_slice(&said);
            client.filled(server, said.len());
        }
    }
    while !input.0.is_empty() {
        for server in ServerSide::BOTH {
            let Ok(bytes) = client.outgoing(server, &mut rng, &mut caller).map(<[u8]>::len) else { return };
            client.sent(server, bytes);
        }
        let piece = input.byte();
        let server = ServerSide::BOTH[usize::from(piece & 1)];
        let bytes = input.take(usize::from(piece >> 1) * 8 + 1);
        let space = client.space(server, now);
        let bytes = &bytes[..bytes.len().min(space.len())];
        space[..bytes.len()].copy_from_slice(bytes);
        client.filled(server, bytes.len());
        now += Duration::from_millis(u64::from(piece));
        if client.advance(now, &mut caller).is_err() {
            return;
        }
        if std::mem::take(&mut caller.opened) {
            let _ = client.submit();
        }
    }
    ServerSide::BOTH.into_iter().for_each(|server| client.closed(server));
    let _ = client.advance(now, &mut caller);
}

/// Cells of every profile, confirmations and keys, as a member reads them; and what is sealed.
pub(crate) fn cells(data: &[u8]) {
    let mut input = Input(data);
    let (which, count) = (input.byte(), usize::from(input.byte() % 65));
    let present = [input.number(), input.number()];
    let expected = Expected { confirmed: which & 8 != 0, real: input.number(), failed: input.number() };
    let profile = [Profile::Compact, Profile::PaperXor, Profile::PaperAdd][usize::from(which % 3)];
    let scheme = if which & 4 == 0 { Scheme::Plain } else { Scheme::Algorithm4 };
    let frame_bytes = if profile == Profile::Compact { 16 } else { 256 };
    let (half, other) = input.0.split_at(input.0.len() / 2);
    let tile = TileCells { count, cells: [half, other], present };
    let (group, epoch, sender, slot) = (GroupId(1), Epoch(2), MemberIndex(64), SlotIndex(0));
    if let Ok(format) = ShareFormat::new(profile, frame_bytes, scheme) {
        let context =
            Context { group, epoch, round: RoundNumber(3), sender, slot, purpose: Purpose::Message };
        let mut opener = Opener::new(format);
        let verdicts = opener.open(&context, &tile, expected);
        for sender in (0..64).filter(|sender| verdicts.accept >> sender & 1 == 1) {
            let _ = opener.message(sender);
        }
    }
    let _ = open_confirmations(group, epoch, sender, slot, &tile);
    for kind in [KeyKind::Key, KeyKind::Reply] {
        let _ = open_keys(group, epoch, sender, kind, &tile);
    }
    let associated =
        Associated { group, epoch, round: RoundNumber(3), sender, recipient_set: 1, sequence: 0 };
    let mut plain = vec![0; half.len()];
    let _ = sealed::open(&SealKey::from_bytes(&[7; 32]), &associated, half, &mut plain);
}

/// Answers, lists of absent senders, keys and signatures.
pub(crate) fn answers(data: &[u8]) {
    let mut input = Input(data);
    let (members, body_bytes) = (input.number() as u32 % 4096, input.number() as u32);
    if let Ok(head) = Answers::read(input.0.get(..64).unwrap_or_default(), body_bytes) {
        assert_eq!(64 + head.absent_bytes() + head.answers_bytes(), u64::from(body_bytes));
    }
    let _ = AbsentTile::read_list(input.0, members);
    if let Some(key) = input.0.first_chunk::<KEY_BYTES>()
        && let Ok(key) = VerifyingKey::from_bytes(key)
        && let Some(signature) = input.0.last_chunk::<64>()
    {
        let _ = key.verify(input.0, signature);
    }
    let (half, other) = input.0.split_at(input.0.len() / 2);
    if let (Some(one), Some(two)) = (half.first_chunk(), other.first_chunk()) {
        let mut reader = Reader::default();
        let context = RoundContext { group: GroupId(1), epoch: Epoch(2), round: RoundNumber(3) };
        reader.push(&context, None, [one, two]);
        reader.finish(true, &mut rand::rng(), |_, _| ());
    }
}

/// A handshake at either end, and the records behind it. The first byte says where the input takes over.
pub(crate) fn channel(data: &[u8]) {
    let mut input = Input(data);
    let start = input.byte();
    let mut rng = StdRng::seed_from_u64(1);
    let server = StaticKey::from_bytes(&[3; 32]);
    let cipher = Cipher::ALL[usize::from(start >> 7)];
    let user = StaticKey::random(&mut rng);
    let initiator =
        Initiator::with_rng(&user, server.public(), cipher, Channelled::Client, ServerSide::One, &mut rng);
    let mut responder = Responder::with_rng(&server, Channelled::Client, ServerSide::One, &mut rng);
    let or_right = |here: bool, right: &[u8], input: &mut Input<'_>| {
        let mut message = right.to_vec();
        if here {
            let taken = input.take(message.len());
            message[..taken.len()].copy_from_slice(taken);
        }
        message
    };
    let first = or_right(start & 3 == 1, &initiator.first(), &mut input);
    let Ok(second) = responder.first(first[..].try_into().unwrap()) else { return };
    let second = or_right(start & 3 == 2, &second, &mut input);
    let Ok((third, _)) = initiator.second(second[..].try_into().unwrap()) else { return };
    let third = or_right(start & 3 == 3, &third, &mut input);
    let Ok(channel) = responder.third(third[..].try_into().unwrap()) else { return };
    let mut unsealer = channel.receive.into_unsealer();
    while !input.0.is_empty() {
        let bytes = usize::from(input.byte()) + 1;
        unsealer.push(input.take(bytes));
        while let Ok(Some(_)) = unsealer.next_record() {}
    }
}

/// What accountable groups add, less evidence.
pub(crate) fn accountable(data: &[u8]) {
    let mut input = Input(data);
    let members = input.number() as u32 % 2048 + 1;
    let body = input.0;
    if let Ok(end) = SignedRoundEnd::read(body, members) {
        assert_eq!(end.frame()[HEADER_BYTES..], *body);
    }
    if let Ok(headers) = Headers::read(body) {
        let _ = (headers.digests(), headers.blinded(), headers.delivery_root());
        for position in 0..66 {
            let _ = headers.parts(position).map(|_| headers.share_hash(position));
        }
    }
    if let Some(opening) = Opening::read(body) {
        let mut again = Vec::new();
        opening.put(&mut again);
        assert!(body.starts_with(&again[..16]));
        let _ = opening.root(MemberIndex(members - 1), members);
    }
    if let Some(tail) = body.first_chunk::<DIAL_TAIL_BYTES>() {
        assert_eq!(DialTail::from_bytes(tail).to_bytes(), *tail);
    }
    if let Some(bytes) = body.first_chunk::<{ Certificate::BYTES }>() {
        let _ = Certificate::from_bytes(bytes);
    }
    let _ = Registered::read(body);
}
