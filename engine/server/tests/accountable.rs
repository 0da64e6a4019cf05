//! Accountable groups over real sockets: every byte of what is signed and shown, and who is named when a server cheats.

mod common;
#[path = "common/signer.rs"]
mod signer;

use common::client::{Client, kind, show};
use common::pair::Servers;
use common::readers::{server_seed, user_key};
use common::{NEVER_MS, config, group};
use signer::{Signers, entry};
use std::collections::HashMap;
use tempfile::TempDir;
#[cfg(feature = "fault-swap-half")]
use twincast_protocol::accountable::blame::Verdict;
#[cfg(feature = "fault-swap-half")]
use twincast_protocol::accountable::evidence::{About, Evidence, GivenBy};
use twincast_protocol::accountable::headers::Headers;
use twincast_protocol::context::Purpose;
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::statements;
use twincast_protocol::wire::{
    Body, Code, Deliver, Dial, FetchHeaders, HEADER_BYTES, Hello, Kind, PartsHead, SignedRoundEnd, Submit,
};
use twincast_server::config::{BoxConfig, Config, GroupConfig, IdentitiesName};

const GROUP: u32 = 3;
const MEMBERS: u32 = 70;
const HEADER_ROUNDS: u32 = 2;
const DELIVER_HEAD_BYTES: usize = HEADER_BYTES + size_of::<Deliver>();

fn accountable() -> GroupConfig {
    GroupConfig {
        accountable: true,
        header_rounds: HEADER_ROUNDS,
        confirm: true,
        identities: IdentitiesName::Registered,
        first_epoch: Some(0),
        ..group(GROUP, MEMBERS)
    }
}

/// Two servers, everybody at both over one connection each, and what came of it.
struct Scene {
    clients: [Client; 2],
    signers: Signers,
    roster_hash: [u8; 32],
    /// By round and sender what each server was given.
    given: [HashMap<(u64, u32), Vec<u8>>; 2],
    _servers: Servers,
    _folder: TempDir,
}

/// What one server gave the recipients of a round.
struct Ended {
    end: SignedRoundEnd,
    /// By tile: its first sender, and the cells of all members.
    tiles: Vec<(u32, Vec<u8>, usize)>,
}

impl Scene {
    fn open(seed: u64, change: impl Fn(&mut Config)) -> Scene {
        let folder = tempfile::tempdir().expect("a directory, nobody else's");
        let group = accountable();
        let servers = Servers::linked_with(config(vec![group.clone()]), |config| {
            config.parts_box = Some(BoxConfig { folder: folder.path().to_owned(), bytes_max: 1 << 30 });
            config.link.as_mut().expect("it is linked").peer_timeout_ms = NEVER_MS;
            change(config);
        });
        let mut signers = Signers::new(GROUP, 0, MEMBERS, 1, group.frame_bytes, seed);
        signers.servers = ServerSide::BOTH.map(|side| SigningKey::from_seed(&server_seed(side)));
        signers.users = (0..MEMBERS).map(user_key).collect();
        signers.dial_all(0);
        let users: Vec<UserId> = (0..MEMBERS).map(UserId).collect();
        let mut roster_hash = [0; 32];
        let clients = ServerSide::BOTH.map(|side| {
            let mut client = Client::connect(servers.get(side).address());
            let statement =
                |user: &UserId| statements::attach(&client.binding, GroupId(GROUP), Epoch(0), *user);
            let proofs: Vec<_> = users.iter().map(|user| user_key(user.0).sign(&statement(user))).collect();
            client.send(&Hello::frame_with(GroupId(GROUP), Epoch(0), side, false, &users, &proofs));
            let welcome = client.welcome();
            assert!(welcome.is_registered() && welcome.is_accountable());
            assert_eq!(welcome.header_rounds.get(), HEADER_ROUNDS);
            roster_hash = welcome.roster_hash;
            client
        });
        let given = [HashMap::new(), HashMap::new()];
        let mut scene = Scene { clients, signers, roster_hash, given, _servers: servers, _folder: folder };
        scene.dial();
        scene
    }

    /// Everybody dials at both, confirms, and the epoch opens.
    fn dial(&mut self) {
        for (side, client) in self.clients.iter_mut().enumerate() {
            for sender in 0..MEMBERS {
                let id = self.signers.dialled(sender, 0).signed.dial_id;
                let mut frame = Vec::new();
                let tail = self.signers.dial_tail(side, sender, 0);
                Dial::new(id, Epoch(0), MemberIndex(sender), SlotIndex(0)).put(tail.len(), &mut frame);
                frame.extend(tail);
                client.send(&frame);
            }
        }
        for (side, client) in self.clients.iter_mut().enumerate() {
            let mut dialled = 0;
            while dialled < MEMBERS {
                let frame = client.frame("DIALLED");
                match kind(&frame) {
                    Kind::Dialled => dialled += 1,
                    Kind::Grant => {}
                    _ => panic!("got {}", show(&frame)),
                }
            }
            for sender in 0..MEMBERS {
                let dialled = self.signers.dialled(sender, 0);
                let head = PartsHead::new(Epoch(0), MemberIndex(sender), SlotIndex(0), Purpose::Confirmation);
                if side == 0 {
                    client.send(&head.seed_frame(&dialled.seed));
                } else {
                    let mut frame = Vec::new();
                    head.put(dialled.parts[1].len(), &mut frame);
                    frame.extend(&dialled.parts[1]);
                    client.send(&frame);
                }
            }
        }
        for client in &mut self.clients {
            loop {
                let frame = client.frame("EPOCH_OPEN");
                match kind(&frame) {
                    Kind::EpochOpen => break,
                    Kind::Grant | Kind::Dialled | Kind::Deliver => {}
                    _ => panic!("got {}", show(&frame)),
                }
            }
        }
    }

    fn submit(&mut self, side: usize, round: u64, sender: u32, shares: &[u8]) {
        let mut frame = Vec::new();
        Submit::new(RoundNumber(round), MemberIndex(sender), false).put(shares.len(), &mut frame);
        frame.extend(shares);
        self.given[side].insert((round, sender), shares.to_vec());
        self.clients[side].send(&frame);
    }

    fn submit_but(&mut self, round: u64, but: &[u32]) {
        for sender in (0..MEMBERS).filter(|sender| !but.contains(sender)) {
            let uploads = self.signers.uploads(round, sender);
            (0..2).for_each(|side| self.submit(side, round, sender, &uploads[side]));
        }
    }

    /// What a round brings from one server, and how often each error.
    fn round(&mut self, side: usize, round: u64) -> (Ended, Vec<Code>) {
        let (mut tiles, mut codes) = (Vec::new(), Vec::new());
        loop {
            let frame = self.clients[side].frame("ROUND_END");
            match kind(&frame) {
                Kind::Deliver => {
                    let head = Deliver::parse(&frame[HEADER_BYTES..DELIVER_HEAD_BYTES]).expect("a head");
                    assert_eq!(head.round.get(), round);
                    let senders = head.senders.get() as usize;
                    tiles.push((head.first_sender.get(), frame[DELIVER_HEAD_BYTES..].to_vec(), senders));
                }
                Kind::Error => {
                    let code = u16::from_le_bytes([frame[HEADER_BYTES + 16], frame[HEADER_BYTES + 17]]);
                    assert_eq!(code, Code::SignatureWrong as u16, "got {}", show(&frame));
                    codes.push(Code::SignatureWrong);
                }
                Kind::RoundEnd => {
                    let end = SignedRoundEnd::read(&frame[HEADER_BYTES..], MEMBERS).expect("a ROUND_END");
                    assert_eq!(end.end.round.get(), round);
                    return (Ended { end, tiles }, codes);
                }
                _ => panic!("got {}", show(&frame)),
            }
        }
    }

    fn headers(&mut self, side: usize, round: u64, user: u32, tile: u32) -> Headers {
        let fetch = FetchHeaders::new(RoundNumber(round), Epoch(0), MemberIndex(user), SlotIndex(0), tile);
        self.clients[side].send(&fetch.frame());
        let frame = self.clients[side].frame("HEADERS");
        assert_eq!(kind(&frame), Kind::Headers, "got {}", show(&frame));
        Headers::read(&frame[HEADER_BYTES..]).expect("HEADERS")
    }

    /// Receipt and roots, by hand.
    fn check_end(&self, side: usize, round: u64, ended: &Ended) {
        let (end, server) = (&ended.end, self.signers.servers[side].verifying_key());
        let (group, epoch, of) = (self.signers.group, self.signers.epoch, ServerSide::BOTH[side]);
        let statement =
            statements::receipt(group, epoch, RoundNumber(round), of, &self.roster_hash, &end.present);
        assert!(server.verify(&statement, &end.receipt));
        assert_eq!(end.roots.len(), MEMBERS as usize);
        for (user, root) in (0..).zip(&end.roots) {
            let statement =
                statements::delivery(group, epoch, RoundNumber(round), of, UserId(user), &root.root);
            assert!(server.verify(&statement, &root.signature), "user {user}");
        }
    }

    /// Whose turn it is once this round has ended: the first such member, and those after it.
    fn in_turn(round: u64) -> impl Iterator<Item = u32> {
        let first =
            (0..).find(|member: &u32| (round + u64::from(*member)).is_multiple_of(HEADER_ROUNDS.into()));
        (first.expect("there is one")..MEMBERS).step_by(HEADER_ROUNDS as usize)
    }
}

impl Ended {
    fn cell(&self, sender: u32, user: u32) -> &[u8] {
        let (first, cells, senders) = self
            .tiles
            .iter()
            .find(|(first, _, senders)| (*first..first + *senders as u32).contains(&sender))
            .unwrap();
        let bytes = cells.len() / MEMBERS as usize / senders;
        &cells[(user as usize * senders + (sender - first) as usize) * bytes..][..bytes]
    }
}

#[test]
fn every_byte_of_headers_is_what_was_signed_and_delivered() {
    let mut scene = Scene::open(1, |_| {});
    let absent = 7;
    scene.submit_but(1, &[absent]);
    // It is absent, and nobody else is.
    for side in 0..2 {
        let mut upload = scene.signers.uploads(1, absent)[side].clone();
        *upload.last_mut().expect("bytes") ^= 1;
        scene.submit(side, 1, absent, &upload);
    }
    for side in 0..2 {
        let (ended, codes) = scene.round(side, 1);
        let codes = if codes.is_empty() {
            let frame = scene.clients[side].frame("ERROR");
            assert_eq!(kind(&frame), Kind::Error, "got {}", show(&frame));
            vec![Code::from_number(u16::from_le_bytes([frame[24], frame[25]])).expect("a code")]
        } else {
            codes
        };
        assert_eq!(codes, [Code::SignatureWrong]);
        assert_eq!(ended.end.present, [!(1 << absent), 0b11_1111]);
        scene.check_end(side, 1, &ended);
        for (user, tile) in Scene::in_turn(1).zip([0, 1]) {
            let headers = scene.headers(side, 1, user, tile);
            let key = scene.signers.servers[side].verifying_key();
            assert!(headers.verify(scene.signers.group, ServerSide::BOTH[side], UserId(user), &key));
            assert_eq!(headers.delivery_root(), Some(ended.end.roots[user as usize].root));
            for sender in 64 * tile..MEMBERS.min(64 * tile + 64) {
                let (front, opening) = headers.parts(sender % 64).expect("an entry");
                let cell = ended.cell(sender, user);
                let rows = scene.given[side].get(&(1, sender)).filter(|_| sender != absent);
                let rows = rows.map(Vec::as_slice);
                let mut expected = entry(&scene.signers, side, sender, 0, user, cell, rows, &front[8..24]);
                expected.resize(front.len() + opening.len(), 0);
                assert!([front, opening].concat() == expected, "side {side}, sender {sender}");
            }
        }
        // Out of turn, and a second time.
        let user = Scene::in_turn(1).next().expect("a member");
        let fetch = FetchHeaders::new(RoundNumber(1), Epoch(0), MemberIndex(user), SlotIndex(0), 0);
        scene.clients[side].send(&fetch.frame());
        scene.clients[side].expect_error(Code::HeadersRange, user, 0, 1);
    }
}

#[cfg(feature = "fault-swap-half")]
#[test]
fn a_server_that_cheats_is_blamed_by_what_it_sent_over_the_wire() {
    use twincast_server::config::{AccountableFault, AccountableFaultKind as Fault};
    let (round, sender) = (2, 65);
    let user = Scene::in_turn(round).next().expect("a member");
    for (seed, kind) in (10..).zip([Fault::Alter, Fault::Withhold, Fault::Swap, Fault::Replay]) {
        let guilty = ServerSide::BOTH[seed as usize % 2];
        let mut scene = Scene::open(seed, |config| {
            let fault = AccountableFault { round, sender, user, slot: 0, kind };
            config.fault.accountable = (config.server_side() == guilty).then_some(fault);
        });
        scene.submit_but(1, &[]);
        (0..2).for_each(|side| _ = scene.round(side, 1));
        scene.submit_but(2, &[]);
        let got = [0, 1].map(|side| {
            let (ended, _) = scene.round(side, 2);
            scene.check_end(side, 2, &ended);
            (ended, scene.headers(side, 2, user, 1))
        });
        let roster: Vec<UserId> = (0..MEMBERS).map(UserId).collect();
        for (sender, is_guilty) in [(sender, true), (64, false), (69, false)] {
            let given = got.each_ref().map(|(ended, headers)| GivenBy {
                receipt: Some((&ended.end.present[..], &ended.end.receipt)),
                root: Some(&ended.end.roots[user as usize]),
                headers: Some(headers),
                cell: Some(ended.cell(sender, user)),
            });
            let about = About {
                group: scene.signers.group,
                epoch: Epoch(0),
                round: RoundNumber(round),
                slot: SlotIndex(0),
                sender: UserId(sender),
                recipient: UserId(user),
            };
            let servers = scene.signers.servers.each_ref().map(SigningKey::verifying_key);
            let (_, verdict) = Evidence::share(about, &roster, servers, given).expect("evidence");
            match verdict {
                Verdict::Server(side, _) => assert!(is_guilty && side == guilty, "{kind:?}: {verdict}"),
                Verdict::Nobody(_) => assert!(!is_guilty, "{kind:?}: {verdict}"),
                Verdict::Sender(..) => panic!("{kind:?}: {verdict}"),
            }
        }
    }
}
