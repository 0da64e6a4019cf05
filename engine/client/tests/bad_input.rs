//! Servers that send what they must not: every error is named, nothing panics.

mod model;

use model::{EPOCH, GROUP, Player, SHARE_BYTES, Shape, World};
use proptest::prelude::*;
use std::time::Duration;
use twincast_client::{Client, ClientError, ClientSettings, Event};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::wire::{Body, Code, Dialled, EpochOpen, Grant, HEADER_BYTES, Hello, Kind, Welcome};

const SHAPE: Shape = Shape { members: 5, slots: 1, confirm_tile_senders: 2 };
const PLAIN: Shape = Shape { confirm_tile_senders: 0, ..SHAPE };
const S1: ServerSide = ServerSide::One;

/// What a fresh client says to S1's bytes.
fn first_words(bytes: &[u8]) -> Result<(), ClientError> {
    let mut player = Player::new(SHAPE, vec![0, 3]);
    player.coming[0] = bytes.to_vec();
    player.give(S1, usize::MAX, Duration::ZERO).map(drop)
}

fn welcome_with(change: impl Fn(&mut Welcome)) -> Vec<u8> {
    let mut welcome = SHAPE.welcome();
    change(&mut welcome);
    welcome.frame().to_vec()
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
    let settings = ClientSettings { group: GROUP, epoch: EPOCH, skew_bytes: 0 };
    for users in [vec![], vec![2, 1], vec![1, 1]] {
        let users = users.into_iter().map(MemberIndex).collect();
        assert_eq!(Client::new(settings, users).err(), Some(ClientError::Users));
    }
}

#[test]
fn a_wrong_welcome_is_named() {
    let field = |field, said, expected| {
        Err(ClientError::Field { server: S1, kind: Kind::Welcome, field, said, expected })
    };
    let group = |field, said| Err(ClientError::Group { server: S1, field, said });
    assert_eq!(first_words(&welcome_with(|_| ())), Ok(()));
    assert_eq!(first_words(&welcome_with(|w| w.group = 9.into())), field("group", 9, GROUP.0.into()));
    assert_eq!(first_words(&welcome_with(|w| w.epoch = 9.into())), field("epoch", 9, EPOCH.0.into()));
    assert_eq!(first_words(&welcome_with(|w| w.profile = 1)), field("profile", 1, 2));
    assert_eq!(first_words(&welcome_with(|w| w.share_bytes = 95.into())), field("share_bytes", 95, 96));
    assert_eq!(first_words(&welcome_with(|w| w.members = 3.into())), group("members", 3));
    assert_eq!(
        first_words(&welcome_with(|w| w.members = u32::MAX.into())),
        group("members", u32::MAX.into())
    );
    assert_eq!(first_words(&welcome_with(|w| w.slots = 0.into())), group("slots", 0));
    assert_eq!(first_words(&welcome_with(|w| w.slots = 5000.into())), group("slots", 5000));
    assert_eq!(first_words(&welcome_with(|w| w.frame_bytes = 17.into())), group("frame_bytes", 17));
    let odd = first_words(&welcome_with(|w| w.confirm_tile_senders = 3.into()));
    assert_eq!(odd, group("confirm_tile_senders", 3));
    assert_eq!(first_words(&welcome_with(|w| w.open = 1)), Err(ClientError::AlreadyOpen { server: S1 }));
}

#[test]
fn servers_that_describe_different_groups_are_not_dialled() {
    let mut player = Player::new(SHAPE, vec![0, 3]);
    player.coming = [welcome_with(|_| ()), welcome_with(|w| w.slots = 2.into())];
    player.give(S1, usize::MAX, Duration::ZERO).unwrap();
    let differ = ClientError::ServersDiffer { field: "slots", said: [1, 2] };
    assert_eq!(player.give(ServerSide::Two, usize::MAX, Duration::ZERO), Err(differ.clone()));
    assert_eq!(differ.to_string(), "S1 and S2 describe different groups: slots is 1 at S1 and 2 at S2");
    let out = player.client.outgoing(S1, &mut rand::rng(), &mut player.workload);
    assert_eq!(out.err(), Some(differ));
}

#[test]
fn frames_that_are_none_are_named() {
    let form = |code| Err(ClientError::Form { server: S1, code });
    assert_eq!(first_words(&[2, 0x81, 0, 0, 48, 0, 0, 0]), form(Code::VersionUnknown));
    assert_eq!(first_words(&[1, 0x80, 0, 0, 48, 0, 0, 0]), form(Code::KindUnknown));
    assert_eq!(first_words(&[1, 0x81, 0, 9, 48, 0, 0, 0]), form(Code::KindUnknown));
    assert_eq!(first_words(&[1, 0x85, 0, 0, 0, 0, 0, 0x41]), form(Code::FrameTooLarge));
    for (kind, body_bytes) in
        [(Kind::Welcome, 47), (Kind::Welcome, 49), (Kind::Error, 23), (Kind::Error, 281)]
    {
        let header = [1, kind as u8, 0, 0, body_bytes as u8, (body_bytes >> 8) as u8, 0, 0];
        let length = ClientError::Length { server: S1, kind, body_bytes };
        assert_eq!(first_words(&header), Err(length));
    }
    let hello = Hello::frame(GROUP, EPOCH, S1, &[MemberIndex(0)]);
    assert!(matches!(first_words(&hello), Err(ClientError::Unexpected { kind: Kind::Hello, .. })));
}

#[test]
fn frames_out_of_place_are_named() {
    let dialled = Dialled::new(1, EPOCH, MemberIndex(0), SlotIndex(0)).frame();
    let before = ClientError::Unexpected { server: S1, kind: Kind::Dialled, when: "before WELCOME" };
    assert_eq!(first_words(&dialled), Err(before));
    let twice = [welcome_with(|_| ()), welcome_with(|_| ())].concat();
    let again = ClientError::Unexpected { server: S1, kind: Kind::Welcome, when: "a second time" };
    assert_eq!(first_words(&twice), Err(again));

    let unexpected = |error: ClientError| match error {
        ClientError::Unexpected { server: S1, when, .. } => when,
        error => panic!("{error}"),
    };
    assert_eq!(unexpected(later(SHAPE, |server, _| server.open(1))), "a second time");
    assert_eq!(unexpected(later(SHAPE, |server, _| server.grants())), "after EPOCH_OPEN");
    assert_eq!(
        unexpected(later(PLAIN, |server, _| {
            Grant::new(EPOCH, SlotIndex(0), MemberIndex(0), server.shape.members).frame().to_vec()
        })),
        "in a group without confirmation"
    );
    let confirmations = later(SHAPE, |server, users| server.confirmations(0, 0, users));
    assert_eq!(unexpected(confirmations), "of confirmations after EPOCH_OPEN");
    let repeated = later(SHAPE, |_, _| Dialled::new(1, EPOCH, MemberIndex(0), SlotIndex(0)).frame().to_vec());
    assert_eq!(unexpected(repeated), "twice for one dial");
    let unknown = later(SHAPE, |_, _| Dialled::new(0, EPOCH, MemberIndex(0), SlotIndex(0)).frame().to_vec());
    assert_eq!(unexpected(unknown), "for a dial that was not sent");
}

#[test]
fn tiles_and_grants_out_of_order_are_named() {
    let mut world = World::opened(Shape { members: 70, slots: 2, confirm_tile_senders: 0 }, 1);
    world.submit(1);
    world.put_both(|server, users| [server.tile(1, 0, 1, users), server.tile(1, 0, 0, users)].concat());
    let player = &mut world.players[0];
    let end = player.give_all(&mut world.rng, world.now).expect_err("tiles descend");
    assert!(matches!(end, ClientError::OutOfOrder { kind: Kind::Deliver, .. }), "{end}");

    let mut world = World::dialled(SHAPE, 1);
    world.put(S1, |server, _| server.grants());
    let end = world.players[0].give(S1, usize::MAX, world.now).expect_err("granted again");
    assert!(matches!(end, ClientError::OutOfOrder { kind: Kind::Grant, .. }), "{end}");
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
    assert_eq!(named(0, 2), "round");
    assert_eq!(named(8, 0xff), "length"); // a sender beyond the last is present
    assert_eq!(named(16, 9), "epoch");
    assert_eq!(named(20, 1), "slot");
    assert_eq!(named(24, 1), "tile");
    assert_eq!(named(28, 1), "first_sender");
    assert_eq!(named(32, 4), "length");
    assert_eq!(named(40, 1), "length");
    assert_eq!(named(44, 2), "purpose");
    let fewer = later(SHAPE, |server, users| server.tile(1, 0, 0, &users[1..]));
    assert!(matches!(fewer, ClientError::Field { field: "users", .. }), "{fewer}");
}

#[test]
fn ends_of_rounds_are_checked() {
    let end = later(SHAPE, |server, _| server.end(2, 0));
    let round = ClientError::Field { server: S1, kind: Kind::RoundEnd, field: "round", said: 2, expected: 1 };
    assert_eq!(end, round);
    let end = later(SHAPE, |server, _| server.end(1, 1));
    let tiles = ClientError::Field { server: S1, kind: Kind::RoundEnd, field: "tiles", said: 1, expected: 0 };
    assert_eq!(end, tiles);
}

#[test]
fn servers_that_open_with_different_rounds_are_refused() {
    let mut world = World::dialled(PLAIN, 1);
    world.put(S1, |server, _| server.open(1));
    world.put(ServerSide::Two, |server, _| server.open(2));
    let player = &mut world.players[0];
    player.give(S1, usize::MAX, world.now).unwrap();
    let differ = ClientError::ServersDiffer { field: "first_round", said: [1, 2] };
    assert_eq!(player.give(ServerSide::Two, usize::MAX, world.now), Err(differ));

    let mut world = World::dialled(PLAIN, 1);
    for (open, wrong) in [(0, "first_round"), (u64::MAX, "first_round")] {
        let mut player = world.players.remove(0);
        player.coming[0] = EpochOpen::new(EPOCH, 5, RoundNumber(open)).frame().to_vec();
        let error = player.give(S1, usize::MAX, world.now).expect_err("no such round");
        assert!(matches!(error, ClientError::Group { field, .. } if field == wrong), "{error}");
    }
    let mut player = Player::new(PLAIN, vec![1]);
    player.coming[0] =
        [welcome_with(|_| ()), EpochOpen::new(Epoch(9), 5, RoundNumber(1)).frame().to_vec()].concat();
    player.coming[1] = welcome_with(|_| ());
    player.give(S1, usize::MAX, world.now).unwrap();
    let error = player.give(ServerSide::Two, usize::MAX, world.now).expect_err("another epoch");
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
        server: ServerSide::Two,
        code: 43,
        sentence: "that round is sealed".to_owned(),
        sender: Some(MemberIndex(3)),
        slot: None,
        round: RoundNumber(7),
        closes: false,
    };
    assert_eq!(*event, refused);
    assert_eq!(first_words(&Code::GroupUnknown.frame(u32::MAX, u32::MAX, 0)), Ok(()));
}

#[test]
fn the_callers_own_mistakes_are_named() {
    struct Caller(Vec<u8>, Vec<MemberIndex>);
    impl twincast_client::Outbox for Caller {
        fn recipients(&mut self, _: twincast_client::User, _: SlotIndex) -> &[MemberIndex] {
            &self.1
        }
        fn message(&mut self, _: RoundNumber, _: twincast_client::User, _: SlotIndex) -> &[u8] {
            &self.0
        }
    }
    let mut world = World::opened(PLAIN, 1);
    let client = &mut world.players[0].client;
    client.submit().expect("round 1");
    let mut caller = Caller(vec![0; SHARE_BYTES], vec![]);
    let error = client.outgoing(S1, &mut world.rng, &mut caller).expect_err("too long a message");
    assert_eq!(
        error.to_string(),
        "member 0 cannot send in slot 0 of round 1: a message of 96 bytes does not fit: this group's frame holds 45"
    );

    let mut player = Player::new(PLAIN, vec![1]);
    player.coming = [PLAIN.welcome().frame().to_vec(), PLAIN.welcome().frame().to_vec()];
    player.give_all(&mut world.rng, world.now).unwrap();
    let mut caller = Caller(vec![], vec![MemberIndex(5)]);
    let error = player.client.outgoing(S1, &mut world.rng, &mut caller).expect_err("no such member");
    assert!(matches!(error, ClientError::Recipients { sender: MemberIndex(1), .. }), "{error}");
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
        player.client.closed(ServerSide::Two);
        let _ = player.client.advance(now + Duration::from_secs(60), &mut player.record);
    }

    /// Bytes without any sense, from the first one on.
    #[test]
    fn noise_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        welcome_first in any::<bool>(),
        kind in 0x80u8..0x8a,
        body in 0u8..80,
    ) {
        let mut player = Player::new(SHAPE, vec![0, 3]);
        let welcome = SHAPE.welcome().frame().to_vec();
        let start = if welcome_first { welcome.clone() } else { vec![] };
        player.coming[0] = [&start[..], &[1, kind, 0, 0, body, 0, 0, 0], &noise[..]].concat();
        player.coming[1] = welcome;
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
