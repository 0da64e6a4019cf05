//! Servers that send what they must not: every error is named, nothing panics.

mod model;

use model::{EPOCH, GROUP, Player, SHARE_BYTES, SMALL, Shape, World, id, settings};
use proptest::prelude::*;
use std::time::Duration;
use twincast_client::{Client, ClientError, ClientSettings, Event, Outbox, User};
use twincast_protocol::context::Purpose;
use twincast_protocol::format::{Profile, Scheme};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::wire::{
    Announce, Body, Code, Dialled, EpochOpen, Grant, HEADER_BYTES, Hello, Kind, Roster, Welcome, roster_hash,
};

const SHAPE: Shape = Shape { confirm_tile_senders: 2, ..SMALL };
const PLAIN: Shape = Shape { confirm_tile_senders: 0, ..SHAPE };
const S1: ServerSide = ServerSide::One;
const S2: ServerSide = ServerSide::Two;

/// What a fresh client says to S1's bytes.
fn first_words(bytes: &[u8]) -> Result<(), ClientError> {
    let mut player = Player::new(SHAPE, vec![0, 3]);
    player.coming[0] = bytes.to_vec();
    player.give(S1, usize::MAX, Duration::ZERO).map(drop)
}

fn welcome_with(change: impl Fn(&mut Welcome)) -> Vec<u8> {
    let mut welcome = SHAPE.welcome(S1);
    change(&mut welcome);
    welcome.frame().to_vec()
}

fn roster() -> Vec<UserId> {
    (0..SHAPE.members).map(id).collect()
}

/// WELCOME and the members, as they should be.
fn greeting(shape: Shape, side: ServerSide) -> Vec<u8> {
    let roster: Vec<UserId> = (0..shape.members).map(id).collect();
    let mut bytes = shape.welcome(side).frame().to_vec();
    bytes.extend_from_slice(&Roster::frames(EPOCH, &roster));
    bytes
}

/// What a client says to S1's bytes once the epoch is open.
fn later(shape: Shape, make: impl Fn(&model::Server, &[MemberIndex]) -> Vec<u8>) -> ClientError {
    let mut world = World::opened(shape, 1);
    world.submit(1);
    world.put(S1, make);
    let player = &mut world.players[0];
    let mut end = Ok(());
    while !player.coming[0].is_empty() && end.is_ok() {
        end = player.give(S1, usize::MAX, Duration::from_secs(2)).map(drop);
    }
    let error = end.expect_err("an error");
    let again = player.client.advance(Duration::from_secs(3), &mut player.record);
    assert_eq!(again, Err(error.clone()), "it stays an error");
    error
}

#[test]
fn users_must_ascend() {
    for users in [vec![], vec![2, 1], vec![1, 1]] {
        let users = users.into_iter().map(UserId).collect();
        assert_eq!(Client::new(settings(), users).err(), Some(ClientError::Users));
    }
}

#[test]
fn a_wrong_welcome_is_named() {
    let field = |field, said, expected| {
        Err(ClientError::Field { server: S1, kind: Kind::Welcome, field, said, expected })
    };
    let group = |field, said| Err(ClientError::Group { server: S1, field, said });
    let says = |change: fn(&mut Welcome)| first_words(&welcome_with(change));
    assert_eq!(says(|_| ()), Ok(()));
    assert_eq!(says(|w| w.group = 9.into()), field("group", 9, GROUP.0.into()));
    assert_eq!(says(|w| w.delivery = 1), field("delivery", 1, 0));
    assert_eq!(says(|w| w.reserved = 1), field("reserved", 1, 0));
    assert_eq!(says(|w| w.share_bytes = 95.into()), field("share_bytes", 95, 96));
    assert_eq!(says(|w| w.members = 0.into()), group("members", 0));
    assert_eq!(says(|w| w.members = u32::MAX.into()), group("members", u32::MAX.into()));
    assert_eq!(says(|w| w.slots = 0.into()), group("slots", 0));
    assert_eq!(says(|w| w.slots = 5000.into()), group("slots", 5000));
    assert_eq!(says(|w| w.frame_bytes = 17.into()), group("frame_bytes", 17));
    assert_eq!(says(|w| w.frame_bytes = (1 << 17).into()), group("frame_bytes", 1 << 17));
    assert_eq!(says(|w| w.confirm_tile_senders = 3.into()), group("confirm_tile_senders", 3));
    assert_eq!(says(|w| w.key_tile_senders = 128.into()), group("key_tile_senders", 128));
    assert_eq!(says(|w| w.profile = 3), group("profile", 3));
    assert_eq!(says(|w| w.scheme = 3), group("scheme", 3));
    assert_eq!(says(|w| w.subgroups_max = 1.into()), group("subgroups_max", 1));
    assert_eq!(says(|w| w.open = 2), group("open", 2));
    assert_eq!(says(|w| w.linked = 2), group("linked", 2));
    let paper = |w: &mut Welcome| (w.profile, w.frame_bytes) = (0, 255.into());
    assert_eq!(says(paper), group("frame_bytes", 255));
    let no_subgroups = |w: &mut Welcome| w.scheme = 2;
    assert_eq!(says(no_subgroups), group("subgroups_max", 0));
    let too_many = |w: &mut Welcome| (w.scheme, w.subgroups_max) = (2, u16::MAX.into());
    assert_eq!(says(too_many), group("subgroups_max", u16::MAX.into()));
    let confirmed = |w: &mut Welcome| (w.scheme, w.subgroups_max) = (2, 3.into());
    assert_eq!(says(confirmed), group("confirm_tile_senders", 2));
    let no_round = |w: &mut Welcome| (w.open, w.round) = (1, 0.into());
    assert_eq!(says(no_round), group("round", 0));
    let pinned = ClientSettings { epoch: Some(Epoch(9)), ..settings() };
    let mut player = Player::with(SHAPE, pinned, roster(), &model::Server::new(S1, SHAPE));
    player.coming[0] = welcome_with(|_| ());
    let end = player.give(S1, usize::MAX, Duration::ZERO).map(drop);
    assert_eq!(end, field("epoch", EPOCH.0.into(), 9));
}

#[test]
fn every_setting_that_differs_is_named_and_nothing_is_dialled() {
    type Change = fn(&mut Welcome);
    let changes: [(&str, Change); 12] = [
        ("slots", |w| w.slots = 2.into()),
        ("frame_bytes", |w| (w.frame_bytes, w.share_bytes) = (64.into(), 112.into())),
        ("confirm_tile_senders", |w| w.confirm_tile_senders = 4.into()),
        ("key_tile_senders", |w| w.key_tile_senders = 4.into()),
        ("round_timeout_ms", |w| w.round_timeout_ms = 4.into()),
        ("interval_ms", |w| w.interval_ms = 4.into()),
        ("epoch_rounds", |w| w.epoch_rounds = 4.into()),
        ("announce_rounds", |w| w.announce_rounds = 4.into()),
        ("scheme", |w| w.scheme = 1),
        ("linked", |w| w.linked = 0),
        ("members", |w| w.members = 6.into()),
        ("roster_hash", |w| w.roster_hash[9] ^= 1),
    ];
    for (name, change) in changes {
        let mut player = Player::new(SHAPE, vec![0, 3]);
        player.coming = [welcome_with(|_| ()), welcome_with(change)];
        player.give(S1, usize::MAX, Duration::ZERO).unwrap();
        let end = player.give(S2, usize::MAX, Duration::ZERO).map(drop);
        let error = end.expect_err("they differ");
        assert!(
            matches!(error, ClientError::ServersDiffer { field, .. } if field == name),
            "{name}: {error}"
        );
        let out = player.client.outgoing(S1, &mut rand::rng(), &mut player.workload);
        assert_eq!(out.err(), Some(error));
    }
    let differ = ClientError::ServersDiffer { field: "slots", said: [1, 2] };
    assert_eq!(differ.to_string(), "S1 and S2 describe different groups: slots is 1 at S1 and 2 at S2");
}

#[test]
fn members_that_are_not_those_announced_are_named() {
    let after = |roster: &[u8]| first_words(&[welcome_with(|_| ()), roster.to_vec()].concat());
    let right = Roster::frames(EPOCH, &roster());
    assert_eq!(after(&right), Ok(()));
    let mut other = right.to_vec();
    other[HEADER_BYTES + 16 + 4 * 3] += 1;
    assert_eq!(after(&other), Err(ClientError::RosterHash { server: S1, epoch: EPOCH }));
    let mut hole = right.to_vec();
    hole[HEADER_BYTES + 8] = 1;
    hole[HEADER_BYTES + 4] = 6;
    let end = after(&hole).expect_err("a hole");
    assert!(matches!(end, ClientError::Field { kind: Kind::Roster, field: "members", .. }), "{end}");
    let head = |first: u32, count: u32| Roster {
        epoch: EPOCH.0.into(),
        members: 5.into(),
        first: first.into(),
        count: count.into(),
    };
    let piece = |first: u32, users: &[u32]| {
        let mut out = Vec::new();
        head(first, users.len() as u32).put(4 * users.len(), &mut out);
        users.iter().for_each(|user| out.extend_from_slice(&user.to_le_bytes()));
        out
    };
    let end = after(&[piece(0, &[5, 15]), piece(3, &[35, 45])].concat()).expect_err("a hole");
    assert!(matches!(end, ClientError::Field { field: "first", said: 3, expected: 2, .. }), "{end}");
    let end = after(&[piece(0, &[5, 15]), piece(2, &[15, 35, 45])].concat()).expect_err("disorder");
    assert!(matches!(end, ClientError::OutOfOrder { kind: Kind::Roster, .. }), "{end}");
    let end = after(&piece(0, &[15, 5])).expect_err("disorder in a frame");
    assert!(matches!(end, ClientError::OutOfOrder { kind: Kind::Roster, .. }), "{end}");
    let end = after(&[&right[..], &right[..]].concat()).expect_err("a second list");
    assert!(matches!(end, ClientError::Unexpected { when: "that nothing announced", .. }), "{end}");
    let end = after(&Roster::frames(Epoch(9), &roster())).expect_err("another epoch");
    assert!(matches!(end, ClientError::Field { kind: Kind::Roster, field: "epoch", .. }), "{end}");
}

#[test]
fn frames_that_are_none_are_named() {
    let form = |code| Err(ClientError::Form { server: S1, code });
    assert_eq!(first_words(&[1, 0x81, 0, 0, 48, 0, 0, 0]), form(Code::VersionUnknown));
    assert_eq!(first_words(&[2, 0x80, 0, 0, 48, 0, 0, 0]), form(Code::KindUnknown));
    assert_eq!(first_words(&[2, 0x81, 0, 9, 48, 0, 0, 0]), form(Code::KindUnknown));
    assert_eq!(first_words(&[2, 0x85, 0, 0, 0, 0, 0, 0x41]), form(Code::FrameTooLarge));
    for (kind, body_bytes) in [
        (Kind::Welcome, 95),
        (Kind::Welcome, 97),
        (Kind::Error, 23),
        (Kind::Error, 281),
        (Kind::Announce, 49),
        (Kind::Roster, 15),
        (Kind::Roster, 16 + 4 * 4096 + 4),
    ] {
        let header = [2, kind as u8, 0, 0, body_bytes as u8, (body_bytes >> 8) as u8, 0, 0];
        let length = ClientError::Length { server: S1, kind, body_bytes };
        assert_eq!(first_words(&header), Err(length));
    }
    let hello = Hello::frame(GROUP, EPOCH, S1, false, &[UserId(0)]);
    assert!(matches!(first_words(&hello), Err(ClientError::Unexpected { kind: Kind::Hello, .. })));
}

#[test]
fn frames_out_of_place_are_named() {
    let dialled = |number, member| Dialled::new(number, EPOCH, MemberIndex(member), SlotIndex(0)).frame();
    let before = ClientError::Unexpected { server: S1, kind: Kind::Dialled, when: "before WELCOME" };
    assert_eq!(first_words(&dialled(1, 0)), Err(before));
    let twice = [welcome_with(|_| ()), welcome_with(|_| ())].concat();
    let again = ClientError::Unexpected { server: S1, kind: Kind::Welcome, when: "a second time" };
    assert_eq!(first_words(&twice), Err(again));

    let unexpected = |error: ClientError| match error {
        ClientError::Unexpected { server: S1, when, .. } => when,
        error => panic!("{error}"),
    };
    assert_eq!(unexpected(later(SHAPE, |server, _| server.open(1))), "a second time");
    let confirmations = later(SHAPE, |server, users| server.confirmations(0, 0, users));
    assert_eq!(unexpected(confirmations), "of parts after EPOCH_OPEN");
    let other = later(SHAPE, |_, _| dialled(1, 0).to_vec());
    assert_eq!(unexpected(other), "for another dial than before");
    let strange = later(SHAPE, |_, _| dialled(1, 1).to_vec());
    assert_eq!(unexpected(strange), "for a member that this client does not play");
    let field = |error: ClientError| match error {
        ClientError::Field { server: S1, field, .. } => field,
        error => panic!("{error}"),
    };
    let slot = Dialled::new(1, EPOCH, MemberIndex(0), SlotIndex(1)).frame();
    assert_eq!(field(later(SHAPE, |_, _| slot.to_vec())), "slot");
    let epoch = Dialled::new(1, Epoch(9), MemberIndex(0), SlotIndex(0)).frame();
    assert_eq!(field(later(SHAPE, |_, _| epoch.to_vec())), "epoch");
    let early = first_words(&[greeting(SHAPE, S1), announce(&roster(), 4)].concat());
    assert_eq!(unexpected(early.expect_err("nothing runs")), "before EPOCH_OPEN");
}

/// ANNOUNCE and ROSTER of the next epoch.
fn announce(roster: &[UserId], first_round: u64) -> Vec<u8> {
    announce_of(Epoch(EPOCH.0 + 1), roster, first_round)
}

fn announce_of(epoch: Epoch, roster: &[UserId], first_round: u64) -> Vec<u8> {
    let announce = Announce {
        epoch: epoch.0.into(),
        members: (roster.len() as u32).into(),
        first_round: first_round.into(),
        roster_hash: roster_hash(GROUP, epoch, roster),
    };
    [&announce.frame()[..], &Roster::frames(epoch, roster)].concat()
}

#[test]
fn an_announcement_that_differs_between_the_servers_is_named() {
    let more = [roster(), vec![UserId(999)]].concat();
    let other = [&roster()[..4], &[UserId(999)]].concat();
    for (name, second) in [
        ("members", announce(&more, 4)),
        ("roster_hash", announce(&other, 4)),
        ("first_round", announce(&roster(), 5)),
    ] {
        let mut world = World::opened(SHAPE, 1);
        world.put(S1, |_, _| announce(&roster(), 4));
        world.put(S2, |_, _| second.clone());
        let player = &mut world.players[0];
        let error = player.give_all(&mut world.rng, world.now).expect_err("they differ");
        assert!(
            matches!(error, ClientError::ServersDiffer { field, .. } if field == name),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_wrong_announcement_is_named() {
    let field = |error: ClientError| match error {
        ClientError::Field { server: S1, field, .. } | ClientError::Group { server: S1, field, .. } => field,
        error => panic!("{error}"),
    };
    let far = later(SHAPE, |_, _| announce_of(Epoch(EPOCH.0 + 2), &roster(), 4));
    assert_eq!(field(far), "epoch");
    let same = later(SHAPE, |_, _| announce_of(EPOCH, &roster(), 4));
    assert_eq!(field(same), "epoch");
    assert_eq!(field(later(SHAPE, |_, _| announce(&roster(), 0))), "first_round");
    let unlisted = later(SHAPE, |_, _| {
        let whole = announce(&roster(), 4);
        [&whole[..HEADER_BYTES + 48], &whole[..]].concat()
    });
    assert!(matches!(unlisted, ClientError::Unexpected { kind: Kind::Announce, .. }), "{unlisted}");
    // An epoch that opens without having been announced, or in the middle of a round, or with another round.
    let unknown = later(SHAPE, |server, _| {
        EpochOpen::new(Epoch(EPOCH.0 + 1), server.shape.members, RoundNumber(2)).frame().to_vec()
    });
    assert_eq!(field(unknown), "epoch");
    let opens = |first_round, begun: bool| {
        let mut world = World::opened(SHAPE, 1);
        let epoch = world.announce(&roster(), 2);
        world.submit(1);
        world.put_both(|server, users| match begun {
            true => server.tile(1, 0, 0, users),
            false => server.round(1, users),
        });
        world.put_both(|server, _| {
            EpochOpen::new(epoch, server.shape.members, RoundNumber(first_round)).frame().to_vec()
        });
        let player = &mut world.players[0];
        player.give_all(&mut world.rng, world.now)
    };
    assert_eq!(opens(2, false), Ok(()));
    assert!(matches!(opens(3, false), Err(ClientError::Field { field: "first_round", .. })));
    assert!(matches!(opens(2, true), Err(ClientError::OutOfOrder { kind: Kind::EpochOpen, .. })));
}

#[test]
fn a_new_epoch_after_everything_is_given_up_must_be_a_later_one() {
    let mismatch = Code::EpochMismatch.frame(u32::MAX, u32::MAX, 0);
    let back = later(SHAPE, |_, _| [&mismatch[..], &announce_of(EPOCH, &roster(), 4)].concat());
    assert!(matches!(back, ClientError::Field { kind: Kind::Announce, field: "epoch", .. }), "{back}");
    let end = later(SHAPE, |_, _| [&mismatch[..], &announce_of(Epoch(u32::MAX), &roster(), 4)].concat());
    assert!(matches!(end, ClientError::Field { kind: Kind::Announce, field: "epoch", .. }), "{end}");
}

#[test]
fn a_group_that_outgrows_its_scheme_is_named() {
    let shape = Shape { members: 6, scheme: Scheme::Algorithm4, profile: Profile::Compact, ..PLAIN };
    let mut world = World::opened(shape, 1);
    let odd: Vec<UserId> = (0..7).map(id).collect();
    world.put_both(|_, _| announce(&odd, 4));
    let player = &mut world.players[0];
    let error = player.give_all(&mut world.rng, world.now).expect_err("an odd group");
    assert!(matches!(error, ClientError::Group { field: "members", said: 7, .. }), "{error}");
}

#[test]
fn grants_are_checked() {
    let granted = |change: fn(&mut Grant), shape: Shape| {
        let mut world = World::attached(shape, 1);
        let mut grant = Grant::new(Purpose::Confirmation, EPOCH, SlotIndex(0), MemberIndex(0), 2);
        change(&mut grant);
        world.players[0].coming[0] = grant.frame().to_vec();
        let player = &mut world.players[0];
        match player.give_all(&mut world.rng, world.now) {
            Ok(()) => "fine",
            Err(ClientError::Field { field, .. }) => field,
            Err(ClientError::Unexpected { when, .. }) => when,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(granted(|_| (), SHAPE), "fine");
    assert_eq!(granted(|grant| grant.senders = 5.into(), SHAPE), "fine");
    assert_eq!(granted(|grant| grant.senders = 6.into(), SHAPE), "senders");
    assert_eq!(granted(|grant| grant.senders = 0.into(), SHAPE), "senders");
    assert_eq!(granted(|grant| grant.first_sender = 5.into(), SHAPE), "first_sender");
    assert_eq!(granted(|grant| grant.slot = 1.into(), SHAPE), "slot");
    assert_eq!(granted(|grant| grant.epoch = 9.into(), SHAPE), "epoch");
    assert_eq!(granted(|grant| grant.reserved = 9.into(), SHAPE), "reserved");
    let none = "for parts that the group does not have";
    assert_eq!(granted(|_| (), PLAIN), none);
    for purpose in [0, 2, 3, 4, 257, u32::MAX] {
        let mut world = World::attached(SHAPE, 1);
        let mut grant = Grant::new(Purpose::Confirmation, EPOCH, SlotIndex(0), MemberIndex(0), 2);
        grant.purpose = purpose.into();
        world.players[0].coming[0] = grant.frame().to_vec();
        let end = world.players[0].give(S1, usize::MAX, world.now);
        assert!(matches!(end, Err(ClientError::Unexpected { when, .. }) if when == none), "{purpose}");
    }
}

#[test]
fn what_is_wanted_again_is_given_once() {
    let mut world = World::dialled(SHAPE, 1);
    // The model's servers refuse parts that are given twice.
    world.put_both(|server, _| server.grants());
    world.settle();
    world.put_both(|server, users| server.all_confirmations(users));
    world.open(1);
    world.put_both(|server, _| server.grants());
    world.settle();
    world.play(1);
}

#[test]
fn tiles_out_of_order_are_named() {
    let mut world = World::opened(Shape { members: 70, slots: 2, ..PLAIN }, 1);
    world.submit(1);
    world.put_both(|server, users| [server.tile(1, 0, 1, users), server.tile(1, 0, 0, users)].concat());
    let player = &mut world.players[0];
    let end = player.give_all(&mut world.rng, world.now).expect_err("tiles descend");
    assert!(matches!(end, ClientError::OutOfOrder { kind: Kind::Deliver, .. }), "{end}");
}

#[test]
fn fields_of_a_delivery_are_checked() {
    let named = |at: usize, value: u8| {
        let error = later(SHAPE, |server, users| {
            let mut bytes = server.tile(1, 0, 0, users);
            bytes[HEADER_BYTES + at] = value;
            bytes
        });
        match error {
            ClientError::Field { server: S1, kind: Kind::Deliver, field, .. } => field,
            ClientError::Length { server: S1, kind: Kind::Deliver, .. } => "length",
            error => panic!("{error}"),
        }
    };
    assert_eq!(named(0, 0), "round");
    assert_eq!(named(7, 0x80), "round");
    assert_eq!(named(8, 0xff), "length"); // a sender beyond the last is present
    assert_eq!(named(16, 9), "epoch");
    assert_eq!(named(20, 1), "slot");
    assert_eq!(named(24, 1), "tile");
    assert_eq!(named(28, 1), "first_sender");
    assert_eq!(named(32, 4), "length");
    assert_eq!(named(40, 1), "length");
    assert_eq!(named(44, 2), "purpose");
    assert_eq!(named(45, 1), "purpose");
    assert_eq!(named(48, 1), "lost");
    assert_eq!(named(55, 1), "length"); // a sender beyond the last is lost
    let fewer = later(SHAPE, |server, users| server.tile(1, 0, 0, &users[1..]));
    assert!(matches!(fewer, ClientError::Field { field: "users", .. }), "{fewer}");
}

#[test]
fn ends_of_rounds_are_checked() {
    for wrong in [0, u64::MAX] {
        let end = later(SHAPE, |server, _| server.end(wrong, 0));
        let (kind, field) = (Kind::RoundEnd, "round");
        assert_eq!(end, ClientError::Field { server: S1, kind, field, said: wrong, expected: 1 });
    }
    let mut world = World::opened(SHAPE, 1);
    world.put_both(|server, users| [server.tile(1, 0, 0, users), server.end(2, 0)].concat());
    let begun = world.players[0].give_all(&mut world.rng, world.now).expect_err("round 1 has begun");
    assert!(matches!(begun, ClientError::Field { field: "round", said: 2, expected: 1, .. }), "{begun}");
    let end = later(SHAPE, |server, _| server.end(1, 1));
    let tiles = ClientError::Field { server: S1, kind: Kind::RoundEnd, field: "tiles", said: 1, expected: 0 };
    assert_eq!(end, tiles);
}

#[test]
fn servers_that_open_with_different_rounds_are_refused() {
    let mut world = World::dialled(PLAIN, 1);
    world.put(S1, |server, _| server.open(1));
    world.put(S2, |server, _| server.open(2));
    let player = &mut world.players[0];
    player.give(S1, usize::MAX, world.now).unwrap();
    let differ = ClientError::ServersDiffer { field: "first_round", said: [1, 2] };
    assert_eq!(player.give(S2, usize::MAX, world.now), Err(differ));

    let mut world = World::dialled(PLAIN, 1);
    for (open, wrong) in [(0, "first_round"), (u64::MAX, "first_round")] {
        let mut player = world.players.remove(0);
        player.coming[0] = EpochOpen::new(EPOCH, 5, RoundNumber(open)).frame().to_vec();
        let error = player.give(S1, usize::MAX, world.now).expect_err("no such round");
        assert!(matches!(error, ClientError::Group { field, .. } if field == wrong), "{error}");
    }
    let mut player = Player::new(PLAIN, vec![1]);
    let open = EpochOpen::new(Epoch(9), 5, RoundNumber(1)).frame();
    player.coming = [[&greeting(PLAIN, S1)[..], &open].concat(), greeting(PLAIN, S2)];
    let end = player.give(S1, usize::MAX, world.now);
    let end = end.and_then(|_| player.give(S2, usize::MAX, world.now));
    let error = end.expect_err("another epoch");
    assert!(matches!(error, ClientError::Field { field: "epoch", .. }), "{error}");
}

#[test]
fn refusals_come_out_with_code_and_sentence() {
    let mut world = World::opened(PLAIN, 1);
    let frame = Code::RoundSealed.frame(3, u32::MAX, 7);
    world.players[0].coming[1] = frame.to_vec();
    world.give_all();
    let event = world.players[0].record.events.last().expect("an event");
    assert_eq!(event.code(), Some(Code::RoundSealed));
    let refused = Event::Refused {
        server: S2,
        code: 43,
        sentence: "that round is sealed".to_owned(),
        sender: Some(MemberIndex(3)),
        slot: None,
        round: RoundNumber(7),
        closes: false,
    };
    assert_eq!(*event, refused);
    for code in Code::ALL {
        assert_eq!(first_words(&code.frame(u32::MAX, u32::MAX, 0)), Ok(()));
    }
}

#[test]
fn a_message_that_is_too_long_is_named() {
    struct Caller;
    impl Outbox for Caller {
        fn recipients(&mut self, _: Epoch, _: User, _: SlotIndex) -> &[UserId] {
            &[]
        }
        fn message(&mut self, _: RoundNumber, _: User, _: SlotIndex) -> &[u8] {
            &[0; SHARE_BYTES]
        }
    }
    let mut world = World::opened(PLAIN, 1);
    let client = &mut world.players[0].client;
    client.submit().expect("round 1");
    let error = client.outgoing(S1, &mut world.rng, &mut Caller).expect_err("too long a message");
    assert_eq!(
        error.to_string(),
        "user 5 cannot send in slot 0 of round 1: a message of 96 bytes does not fit: this group's frame holds 45"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever one server sends: an error with a name, or verdicts; never a panic, and each verdict once.
    #[test]
    fn damage_anywhere_never_panics(
        seed in any::<u64>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        confirms in any::<bool>(),
    ) {
        let shape = if confirms { SHAPE } else { PLAIN };
        let mut world = World::opened(shape, seed);
        world.submit(1);
        world.submit(2);
        for round in 1..=2 {
            world.put_both(|server, users| server.round(round, users));
        }
        let mut now = world.now;
        let player = &mut world.players[0];
        for (at, byte) in &damage {
            let at = at.index(player.coming[0].len());
            player.coming[0][at] ^= *byte;
        }
        if let Some(cut) = cut {
            let cut = cut.index(player.coming[0].len());
            player.coming[0].truncate(cut);
        }
        for _ in 0..200 {
            for side in ServerSide::BOTH {
                if player.give(side, 700, now).is_err() {
                    return Ok(());
                }
            }
            now += Duration::from_millis(200);
        }
        player.client.closed(S1);
        player.client.closed(S2);
        let _ = player.client.advance(now + Duration::from_secs(60), &mut player.record);
    }

    /// A life of several epochs, in which what one server sends is damaged here and there.
    #[test]
    fn damage_at_any_time_of_a_life_never_panics(seed in any::<u64>(), one_in in 1u32..12) {
        let shape = Shape {
            members: 7,
            confirm_tile_senders: [0, 2, 4][seed as usize % 3],
            key_tile_senders: [0, 4][seed as usize / 3 % 2],
            frame_bytes: 64,
            ..SMALL
        };
        let roster: Vec<UserId> = (0..shape.members).map(id).collect();
        let mut world = World::new(shape, seed);
        world.damage = Some(one_in);
        world.settle();
        world.exchange_parts(EPOCH);
        world.open(1);
        let mut round = 1;
        for _ in 0..2 {
            for _ in 0..2 {
                world.submit_all();
                world.put_both(|server, users| server.round(round, users));
                world.servers.iter_mut().for_each(|server| server.round = round + 1);
                world.give_all();
                round += 1;
                if seed % 5 == round % 5 {
                    world.reconnect(0);
                }
                world.settle();
            }
            let epoch = Epoch(world.epoch().0 + 1);
            if seed % 7 == 0 {
                world.put_both(|_, _| Code::EpochMismatch.frame(u32::MAX, u32::MAX, 0).to_vec());
            }
            world.announce(&roster, round);
            world.switch(epoch, round);
            world.settle();
        }
        let player = &mut world.players[0];
        player.client.closed(S1);
        player.client.closed(S2);
        let _ = player.client.advance(world.now + Duration::from_secs(60), &mut player.record);
    }

    /// Bytes without any sense, from the first one on.
    #[test]
    fn noise_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        greeted in any::<bool>(),
        kind in 0x80u8..0x8c,
        body in 0u8..80,
    ) {
        let mut player = Player::new(SHAPE, vec![0, 3]);
        let start = if greeted { greeting(SHAPE, S1) } else { vec![] };
        player.coming[0] = [&start[..], &[2, kind, 0, 0, body, 0, 0, 0], &noise[..]].concat();
        player.coming[1] = greeting(SHAPE, S2);
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
        for _ in 0..1000 {
            for side in ServerSide::BOTH {
                if player.give(side, 100, Duration::ZERO).is_err() {
                    return Ok(());
                }
            }
        }
        let _ = player.client.outgoing(S1, &mut rng, &mut player.workload);
    }
}
