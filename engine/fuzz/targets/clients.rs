//! What a client reads beyond the frames of plain groups: what an accountable group's servers sign, private channels with
//! the refusals that come before them, and the answers to a registration.

use super::{Caller, Input, welcome};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::time::Duration;
use twincast_client::{Account, ChannelSettings, Client, ClientSettings, Registration};
use twincast_protocol::accountable::headers::{Headers, entry_digest, headers_digest};
use twincast_protocol::accountable::upload::share_hash;
use twincast_protocol::channel::{FIRST_BYTES, Purpose, Responder, SendKeys, StaticKey, THIRD_BYTES};
use twincast_protocol::context;
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::statements;
use twincast_protocol::wire::*;

const GROUP: GroupId = GroupId(1);
const EPOCH: Epoch = Epoch(0);
const MEMBERS: [UserId; 3] = [UserId(0), UserId(1), UserId(2)];
/// The client's users.
const USERS: [UserId; 2] = [UserId(0), UserId(1)];
/// Bytes of a cell, and of a share.
const CELL_BYTES: u32 = 64;

/// The key that a server signs with.
fn server_key(side: ServerSide) -> SigningKey {
    SigningKey::from_seed(&[1 + side.index() as u8; 32])
}

fn server_keys() -> [SigningKey; 2] {
    ServerSide::BOTH.map(server_key)
}

/// A client in an accountable group, and what its servers know.
struct Play {
    client: Client,
    caller: Caller,
    rng: StdRng,
    now: Duration,
    /// What each server was sent, and did not read.
    sent: [Vec<u8>; 2],
    /// The last tile that each was asked for.
    fetches: [Option<FetchHeaders>; 2],
    round: u64,
}

impl Play {
    fn new() -> Play {
        let settings = ClientSettings {
            group: GROUP,
            epoch: None,
            join: false,
            skew_bytes: 1 << 16,
            signed: Some((Epoch(0), RoundNumber(0))),
            accept_baseline: false,
            channel: ChannelSettings::Plain,
            accountable: Some(server_keys().each_ref().map(SigningKey::verifying_key)),
        };
        let key = SigningKey::from_seed(&[7; 32]);
        let caller = Caller { identity: Some(key), ..Caller::default() };
        let client = Client::new(settings, USERS.to_vec()).expect("two users, ascending");
        let rng = StdRng::seed_from_u64(1);
        let (sent, fetches) = ([Vec::new(), Vec::new()], [None, None]);
        Play { client, caller, rng, now: Duration::ZERO, sent, fetches, round: 1 }
    }

    /// Gives the client bytes of a server, in as many pieces as it takes; whether it goes on.
    fn say(&mut self, side: ServerSide, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let space = self.client.space(side, self.now);
            let some = bytes.len().min(space.len());
            if some == 0 {
                break;
            }
            space[..some].copy_from_slice(&bytes[..some]);
            self.client.filled(side, some);
            bytes = &bytes[some..];
            self.now += Duration::from_millis(1);
            if self.client.advance(self.now, &mut self.caller).is_err() {
                return false;
            }
        }
        true
    }

    /// Takes what the client sends: whether it goes on, and what is answered to its dials.
    fn take(&mut self, side: ServerSide) -> (bool, Vec<u8>) {
        let mut answers = Vec::new();
        for _ in 0..64 {
            let Ok(bytes) = self.client.outgoing(side, &mut self.rng, &mut self.caller) else {
                return (false, answers);
            };
            let some = bytes.len();
            if some == 0 {
                break;
            }
            self.sent[side.index()].extend_from_slice(bytes);
            self.client.sent(side, some);
        }
        let sent = std::mem::take(&mut self.sent[side.index()]);
        let mut rest = &sent[..];
        while let Some(header) = rest.first_chunk::<HEADER_BYTES>() {
            let Header { kind, body_bytes } =
                Header::parse(header).expect("a client's frames are well formed");
            let Some(body) = rest[HEADER_BYTES..].get(..body_bytes as usize) else { break };
            match kind {
                Kind::Dial => {
                    let (dial, _) = Dial::parse_prefix(body).expect("a dial");
                    let (id, sender) = (dial.dial_id.get(), MemberIndex(dial.sender.get()));
                    Dialled::new(id, EPOCH, sender, SlotIndex(dial.slot.get())).put(0, &mut answers);
                }
                Kind::FetchHeaders => {
                    self.fetches[side.index()] = Some(FetchHeaders::parse(body).expect("a fetch"));
                }
                _ => {}
            }
            rest = &rest[HEADER_BYTES + body.len()..];
        }
        self.sent[side.index()] = rest.to_vec();
        (true, answers)
    }

    /// Both servers take what is sent, and answer the dials.
    fn carry(&mut self) -> bool {
        ServerSide::BOTH.into_iter().all(|side| {
            let (goes_on, answers) = self.take(side);
            goes_on && self.say(side, &answers)
        })
    }

    /// From the first word to the first round: nobody's confirmations but zeros.
    fn open(&mut self) -> bool {
        let flags = Welcome::REGISTERED | Welcome::ACCOUNTABLE;
        let welcome = Welcome { flags, header_rounds: 1.into(), ..welcome(0) };
        let said = [welcome.frame(), Roster::frames(EPOCH, &MEMBERS)].concat();
        let both = |play: &mut Play, said: &[u8]| {
            ServerSide::BOTH.into_iter().all(|side| play.say(side, said)) && play.carry()
        };
        let (slot, first) = (SlotIndex(0), MemberIndex(0));
        let mut grant = Vec::new();
        Grant::new(context::Purpose::Confirmation, EPOCH, slot, first, 3).put(0, &mut grant);
        let confirmations = deliver(0, 1, 0b111, &[]);
        let open = EpochOpen::new(EPOCH, 3, RoundNumber(1)).frame().to_vec();
        self.carry() && both(self, &said) && both(self, &grant) && both(self, &[confirmations, open].concat())
    }

    /// ROUND_END of a server, signed.
    fn round_end(&self, side: ServerSide, body: &[u8]) -> Option<Vec<u8>> {
        let mut end = SignedRoundEnd::read(body, MEMBERS.len() as u32).ok()?;
        let (round, key) = (RoundNumber(end.end.round.get()), server_key(side));
        let hash = roster_hash(GROUP, EPOCH, &MEMBERS);
        end.receipt = key.sign(&statements::receipt(GROUP, EPOCH, round, side, &hash, &end.present));
        for (user, own) in USERS.iter().zip(&mut end.roots) {
            own.signature = key.sign(&statements::delivery(GROUP, EPOCH, round, side, *user, &own.root));
        }
        Some(end.frame())
    }

    /// HEADERS of a server, signed for whom they name.
    fn headers(&self, side: ServerSide, body: &[u8]) -> Option<Vec<u8>> {
        let headers = Headers::read(body).ok()?;
        let recipient = *MEMBERS.get(headers.head.user.get() as usize)?;
        let digests: Vec<_> = (0..headers.head.senders.get())
            .filter_map(|position| headers.parts(position))
            .map(|(front, opening)| entry_digest(front, &share_hash(opening)))
            .collect();
        let digest = headers_digest(&headers.head, &headers.path, &headers.blinded(), &digests);
        let signature = server_key(side).sign(&statements::headers(GROUP, side, recipient, &digest));
        let mut frame = headers_header(&headers.head).to_bytes().to_vec();
        frame.extend_from_slice(body);
        let at = frame.len() - signature.len();
        frame[at..].copy_from_slice(&signature);
        Some(frame)
    }
}

/// A tile of confirmations (in no round) or of messages for the client's users; its cells are these bytes, and zeros.
fn deliver(round: u64, purpose: u32, present: u64, cells: &[u8]) -> Vec<u8> {
    let bytes = USERS.len() * MEMBERS.len() * CELL_BYTES as usize;
    let head = Deliver {
        round: round.into(),
        present: present.into(),
        epoch: EPOCH.0.into(),
        slot: 0.into(),
        tile: 0.into(),
        first_sender: 0.into(),
        senders: (MEMBERS.len() as u32).into(),
        cell_bytes: CELL_BYTES.into(),
        users: (USERS.len() as u32).into(),
        purpose: purpose.into(),
        lost: 0.into(),
    };
    let mut out = Vec::new();
    head.put(bytes, &mut out);
    let cells = cells.iter().copied().chain(std::iter::repeat(0)).take(bytes);
    out.extend(cells);
    out
}

/// A client of an accountable group, whose servers sign what the input says. Each step is a byte, for the server and what
/// it does, and the bytes of what it says.
pub(crate) fn accountable_frames(data: &[u8]) {
    let mut input = Input(data);
    let mut play = Play::new();
    assert!(play.open(), "the beginning is right");
    assert!(play.caller.opened, "the first round is open");
    while !input.0.is_empty() {
        if std::mem::take(&mut play.caller.opened) || std::mem::take(&mut play.caller.closed) {
            let _ = play.client.submit();
        }
        if !play.carry() {
            return;
        }
        let step = input.byte();
        let side = ServerSide::BOTH[usize::from(step & 1)];
        let bytes = usize::from(input.byte());
        let said = match step >> 1 & 7 {
            0 => input.take(bytes).to_vec(),
            // A whole round of both servers: cells, who is present and roots are the input's.
            1 => {
                let (present, root) = (input.number() & 0b111, input.byte());
                let cells = input.take(bytes);
                let round = play.round;
                play.round += 1;
                let mut goes_on = true;
                for side in ServerSide::BOTH {
                    let signed = SignedRoot { root: [root; 32], signature: [0; 64] };
                    let end = SignedRoundEnd {
                        end: RoundEnd::new(round, 1, present.count_ones()),
                        present: vec![present],
                        receipt: [0; 64],
                        roots: vec![signed; USERS.len()],
                    };
                    let end = play.round_end(side, &end.frame()[HEADER_BYTES..]).expect("a right one");
                    let said = [deliver(round, 0, present, cells), end].concat();
                    goes_on &= play.say(side, &said);
                }
                if !goes_on {
                    return;
                }
                Vec::new()
            }
            // The end of a round, or headers, as in the input, signed.
            2 => play.round_end(side, input.take(4 * bytes)).unwrap_or_default(),
            3 => play.headers(side, input.take(16 * bytes)).unwrap_or_default(),
            // Headers of what was asked for: the input has the entries.
            4 | 5 => {
                let Some(fetch) = play.fetches[side.index()] else { continue };
                let present = input.number() & 0b111;
                let head = HeadersHead::new(&fetch, MEMBERS.len() as u32, 1, present);
                let tail_bytes = headers_frame_bytes(&head) - HEADER_BYTES - size_of::<HeadersHead>();
                let mut frame = Vec::new();
                head.put(tail_bytes, &mut frame);
                let entries = input.take(8 * bytes).iter().copied().chain(std::iter::repeat(0));
                frame.extend(entries.take(tail_bytes));
                play.headers(side, &frame[HEADER_BYTES..]).unwrap_or_default()
            }
            6 => {
                let Some(fetch) = play.fetches[side.index()] else { continue };
                let code = Code::from_number(bytes as u16).unwrap_or(Code::HeadersRange);
                code.frame(fetch.user.get(), fetch.slot.get(), fetch.round.get()).to_vec()
            }
            _ => {
                play.now += Duration::from_millis(10 * bytes as u64);
                if play.client.advance(play.now, &mut play.caller).is_err() {
                    return;
                }
                Vec::new()
            }
        };
        if !play.say(side, &said) {
            return;
        }
    }
    ServerSide::BOTH.into_iter().for_each(|side| play.client.closed(side));
    let _ = play.client.advance(play.now, &mut play.caller);
}

/// One server's end of a private channel.
enum End {
    First(Box<Responder>),
    Third(Box<Responder>),
    Up(SendKeys),
    /// It says whatever it likes in the clear.
    Clear,
}

impl End {
    /// Answers what the client sent, if that is a message of the handshake.
    fn answer(&mut self, sent: &mut Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        if let End::First(responder) = self
            && let Some(first) = sent.first_chunk::<FIRST_BYTES>()
        {
            out.extend(responder.first(first).expect("a client's first message"));
            sent.drain(..FIRST_BYTES);
            let End::First(responder) = std::mem::replace(self, End::Clear) else { unreachable!() };
            *self = End::Third(responder);
        }
        if let End::Third(_) = self
            && let Some(third) = sent.first_chunk::<THIRD_BYTES>()
        {
            let End::Third(responder) = std::mem::replace(self, End::Clear) else { unreachable!() };
            *self = End::Up(responder.third(third).expect("a client's third message").send);
        }
        out
    }

    /// What a server says: through the channel once there is one.
    fn seal(&mut self, said: &[u8]) -> Vec<u8> {
        match self {
            End::Up(keys) => {
                let mut out = Vec::new();
                keys.seal_all(said, &mut out);
                out
            }
            _ => said.to_vec(),
        }
    }
}

/// Both servers' ends. The lowest bits of `start` say which of them says what it likes instead of shaking hands.
fn ends(start: u8, rng: &mut StdRng) -> (ChannelSettings, [End; 2]) {
    let keys = [[3; 32], [4; 32]].map(|seed| StaticKey::from_bytes(&seed));
    let servers = keys.each_ref().map(StaticKey::public);
    let ends = ServerSide::BOTH.map(|side| match start >> side.index() & 1 {
        1 => End::Clear,
        _ => {
            let key = &keys[side.index()];
            End::First(Responder::with_rng(key, Purpose::Client, side, rng).into())
        }
    });
    (ChannelSettings::Noise { servers }, ends)
}

/// A client over private channels, which two servers, or whoever answers for them, tell anything: refusals in the clear
/// before there is a channel, records that are sealed, and bytes that are not.
pub(crate) fn line(data: &[u8]) {
    let mut input = Input(data);
    let (start, mut rng) = (input.byte(), StdRng::seed_from_u64(2));
    let (channel, mut ends) = ends(start, &mut rng);
    let settings = ClientSettings {
        group: GROUP,
        epoch: None,
        join: false,
        skew_bytes: 1 << 16,
        signed: None,
        accept_baseline: false,
        channel,
        accountable: None,
    };
    let Ok(mut client) = Client::new(settings, USERS.to_vec()) else { return };
    let (mut caller, mut now) = (Caller::default(), Duration::ZERO);
    let mut sent = [Vec::new(), Vec::new()];
    let mut is_first = [start & 4 != 0; 2];
    while !input.0.is_empty() {
        let piece = input.byte();
        let side = ServerSide::BOTH[usize::from(piece & 1)];
        let (end, sent) = (&mut ends[side.index()], &mut sent[side.index()]);
        for _ in 0..4 {
            let Ok(bytes) = client.outgoing(side, &mut rng, &mut caller) else { return };
            let some = bytes.len();
            sent.extend_from_slice(bytes);
            client.sent(side, some);
            let mut said = end.answer(sent);
            if matches!(end, End::Up(_)) && std::mem::take(&mut is_first[side.index()]) {
                let frames = [welcome(0).frame(), Roster::frames(EPOCH, &MEMBERS)].concat();
                said.extend(end.seal(&frames));
            }
            let space = client.space(side, now);
            let some = said.len().min(space.len());
            space[..some].copy_from_slice(&said[..some]);
            client.filled(side, some);
            if client.advance(now, &mut caller).is_err() {
                return;
            }
        }
        let bytes = input.take(usize::from(piece >> 2) * 4 + 1);
        let said = if piece & 2 == 0 { end.seal(bytes) } else { bytes.to_vec() };
        let space = client.space(side, now);
        let some = said.len().min(space.len());
        space[..some].copy_from_slice(&said[..some]);
        client.filled(side, some);
        now += Duration::from_millis(u64::from(piece));
        if client.advance(now, &mut caller).is_err() {
            return;
        }
    }
}

/// A registration, in the clear or over private channels, which two servers answer with anything: also with certificates
/// that are signed, by what the input says of them.
pub(crate) fn registration(data: &[u8]) {
    let mut input = Input(data);
    let (start, mut rng) = (input.byte(), StdRng::seed_from_u64(3));
    let (noise, mut ends) = ends(start >> 1, &mut rng);
    let is_plain = start & 1 == 1;
    let channel = if is_plain { ChannelSettings::Plain } else { noise };
    let (user, epoch) = (UserId(7), Epoch(u32::from(start >> 6)));
    let account = Account { group: GROUP, user, epoch };
    let key = SigningKey::from_seed(&[7; 32]);
    let signers = server_keys();
    let mut registration =
        Registration::new(&channel, account, &key, signers.each_ref().map(SigningKey::verifying_key));
    let mut sent = [Vec::new(), Vec::new()];
    while !input.0.is_empty() {
        let piece = input.byte();
        let side = ServerSide::BOTH[usize::from(piece & 1)];
        let (end, sent) = (&mut ends[side.index()], &mut sent[side.index()]);
        for _ in 0..4 {
            let bytes = registration.outgoing(side, &mut rng);
            let some = bytes.len();
            sent.extend_from_slice(bytes);
            registration.sent(side, some);
            let answer = if is_plain { Vec::new() } else { end.answer(sent) };
            let space = registration.space(side);
            let some = answer.len().min(space.len());
            space[..some].copy_from_slice(&answer[..some]);
            registration.filled(side, some);
            if registration.advance().is_err() {
                return;
            }
        }
        let said = match piece >> 1 & 3 {
            0 | 1 => input.take(usize::from(piece >> 3) * 4 + 1).to_vec(),
            // REGISTERED from an epoch on, signed by those whom the input says.
            _ => {
                let (from, signs) = (Epoch(u32::from(input.byte())), input.byte());
                let statement = statements::key(GROUP, from, user, &key.verifying_key());
                let signatures = [0, 1].map(|side: usize| match signs >> side & 1 {
                    0 => [signs; 64],
                    _ => signers[side].sign(&statement),
                });
                Registered::new(GROUP, from, user, signatures).frame().to_vec()
            }
        };
        let said = match end {
            End::Up(_) if !is_plain && piece >> 1 & 3 != 1 => end.seal(&said),
            _ => said,
        };
        let space = registration.space(side);
        let some = said.len().min(space.len());
        space[..some].copy_from_slice(&said[..some]);
        registration.filled(side, some);
        match registration.advance() {
            Ok(Some(certificate)) => {
                let servers = signers.each_ref().map(SigningKey::verifying_key);
                assert!(certificate.verify(GROUP, user, &servers) && certificate.epoch >= epoch);
            }
            Ok(None) => {}
            Err(_) => return,
        }
    }
}
