//! Until the epoch is open: WELCOME, the members, EPOCH_OPEN, and where the servers differ in them.

use super::{PLAIN, S1, S2, SHAPE, first_words, greeting, roster, welcome_with};
use crate::model::{self, EPOCH, GROUP, Player, World, settings};
use std::time::Duration;
use twincast_client::{Client, ClientError, ClientSettings};
use twincast_protocol::ids::{Epoch, RoundNumber, UserId};
use twincast_protocol::wire::{Body, EpochOpen, HEADER_BYTES, Kind, Roster, Welcome};

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
    assert_eq!(says(|w| w.delivery = 2), group("delivery", 2));
    assert_eq!(says(|w| w.flags = 4), group("flags", 4));
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
