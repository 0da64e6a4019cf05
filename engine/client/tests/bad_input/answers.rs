//! Groups whose delivery is `answer`: what their servers must not say.

use super::{PLAIN, S1, S2, greeting, later};
use crate::model::{ANSWERED, EPOCH, Player, Server, World, id};
use std::time::Duration;
use twincast_client::ClientError;
use twincast_protocol::ids::{MemberIndex, UserId};
use twincast_protocol::wire::{Answers, Body, Deliver, Kind, Welcome};

type Change = fn(&mut Answers, &mut Vec<u8>);

/// Puts a list of absent senders before the answers, and changes nothing else.
fn list(head: &mut Answers, answers: &mut Vec<u8>, tiles: &[(u32, u64)]) {
    head.absent_tiles = (tiles.len() as u32).into();
    let entry = |(tile, absent): &(u32, u64)| [&tile.to_le_bytes()[..], &absent.to_le_bytes()].concat();
    answers.splice(..0, tiles.iter().flat_map(entry));
}

/// What a client says to ANSWERS that are not as they should be.
fn changed(change: Change) -> ClientError {
    later(ANSWERED, |server, users| server.answers_from(1, users, &server.table(1), change))
}

#[test]
fn every_field_of_answers_is_checked() {
    let fields: [(&str, Change); 9] = [
        ("round", |head, _| head.round = 0.into()),
        ("epoch", |head, _| head.epoch = (EPOCH.0 + 1).into()),
        ("users", |head, answers| {
            head.users = (head.users.get() - 1).into();
            answers.truncate(answers.len() - 2 * 352);
        }),
        ("users", |head, answers| {
            head.users = (head.users.get() + 1).into();
            answers.extend([0; 2 * 352]);
        }),
        ("queries", |head, answers| {
            head.queries = 1.into();
            answers.truncate(answers.len() / 2);
        }),
        ("queries", |head, answers| {
            head.queries = 3.into();
            answers.resize(answers.len() / 2 * 3, 0);
        }),
        ("senders_present", |head, _| head.senders_present = 4.into()),
        ("senders_present", |head, answers| list(head, answers, &[(0, 0b10)])),
        ("absent_tiles", |head, answers| list(head, answers, &[(0, 1), (1, 1)])),
    ];
    for (name, change) in fields {
        match changed(change) {
            ClientError::Field { server: S1, kind: Kind::Answers, field, .. } => assert_eq!(field, name),
            error => panic!("{name}: {error}"),
        }
    }
    let lengths: [Change; 4] = [
        |_, answers| answers.push(0),
        |_, answers| answers.truncate(answers.len() - 1),
        |head, _| head.record_bytes = 351.into(),
        |head, answers| {
            head.record_bytes = 353.into();
            answers.resize(answers.len() / 352 * 353, 0);
        },
    ];
    for change in lengths {
        let error = changed(change);
        assert!(matches!(error, ClientError::Length { server: S1, kind: Kind::Answers, .. }), "{error}");
    }
    let lists: [Change; 3] = [
        |head, answers| list(head, answers, &[(0, 0)]),
        |head, answers| list(head, answers, &[(1, 1)]),
        |head, answers| list(head, answers, &[(0, 1 << 5)]),
    ];
    for change in lists {
        let error = changed(change);
        assert_eq!(error, ClientError::AbsentList { server: S1 });
        assert!(
            error.to_string().starts_with("S1 sent an Answers frame with a list of absent senders"),
            "{error}"
        );
    }
}

#[test]
fn rounds_come_once_and_in_order() {
    let twice = later(ANSWERED, |server, users| {
        // The first is passed over for want of S2's, the second is none that there can be.
        [server.skip(1), server.answers(1, users)].concat()
    });
    assert!(matches!(twice, ClientError::Field { field: "round", said: 1, expected: 2, .. }), "{twice}");
    let skipped = later(ANSWERED, |server, _| [server.skip(1), server.skip(1)].concat());
    assert!(matches!(skipped, ClientError::Field { field: "round", said: 1, .. }), "{skipped}");

    let mut player = Player::new(ANSWERED, vec![0, 3]);
    let world = World::attached(ANSWERED, 1);
    let users = [MemberIndex(0), MemberIndex(3)];
    let early = world.servers[0].answers(1, &users);
    player.coming = [[greeting(ANSWERED, S1), early].concat(), greeting(ANSWERED, S2)];
    let end = [S2, S1, S1].map(|side| player.give(side, usize::MAX, Duration::ZERO));
    let error = end.into_iter().find_map(Result::err).expect("an error");
    assert!(matches!(error, ClientError::Unexpected { when: "before EPOCH_OPEN", .. }), "{error}");
}

#[test]
fn frames_of_the_other_delivery_end_the_client() {
    let when = |error| match error {
        ClientError::Unexpected { server: S1, when, .. } => when,
        error => panic!("{error}"),
    };
    let answered = "in a group whose delivery is `answer`";
    let tile = |_: &Server, users: &[MemberIndex]| {
        let head = Deliver {
            round: 1.into(),
            present: 0x1f.into(),
            epoch: EPOCH.0.into(),
            slot: 0.into(),
            tile: 0.into(),
            first_sender: 0.into(),
            senders: 5.into(),
            cell_bytes: 320.into(),
            users: (users.len() as u32).into(),
            purpose: 0.into(),
            lost: 0.into(),
        };
        let mut out = Vec::new();
        head.put(users.len() * 5 * 320, &mut out);
        out
    };
    assert_eq!(when(later(ANSWERED, tile)), answered);
    assert_eq!(when(later(ANSWERED, |server, _| server.end(1, 1))), answered);
    let broadcast = "in a group whose delivery is `broadcast`";
    let answers = |server: &Server, users: &[MemberIndex]| {
        let table = [[0; 352]; 5];
        server.answers_from(1, users, &table, |_, _| ())
    };
    assert_eq!(when(later(PLAIN, answers)), broadcast);
}

#[test]
fn a_wrong_welcome_is_named() {
    type Change = fn(&mut Welcome);
    let says = |change: Change| {
        let mut welcome = ANSWERED.welcome(S1);
        change(&mut welcome);
        let mut player = Player::new(ANSWERED, vec![0]);
        player.coming[0] = welcome.frame().to_vec();
        player.give(S1, usize::MAX, Duration::ZERO).map(drop)
    };
    assert_eq!(says(|_| ()), Ok(()));
    let fields: [(&str, Change); 9] = [
        ("profile", |w| w.profile = 0),
        ("scheme", |w| w.scheme = 1),
        ("frame_bytes", |w| w.frame_bytes = 288.into()),
        ("frame_bytes", |w| w.frame_bytes = 256.into()),
        ("share_bytes", |w| w.share_bytes = 320.into()),
        ("confirm_tile_senders", |w| w.confirm_tile_senders = 64.into()),
        ("key_tile_senders", |w| w.key_tile_senders = 64.into()),
        ("linked", |w| w.linked = 0),
        ("group", |w| w.group = 1.into()),
    ];
    for (name, change) in fields {
        match says(change) {
            Err(ClientError::Field { server: S1, kind: Kind::Welcome, field, .. }) => assert_eq!(field, name),
            end => panic!("{name}: {end:?}"),
        }
    }
    let flags = says(|w| w.flags = 4);
    assert_eq!(flags, Err(ClientError::Group { server: S1, field: "flags", said: 4 }));
    // One that has both servers' word on different deliveries.
    let mut player = Player::new(ANSWERED, vec![0]);
    player.coming = [ANSWERED.welcome(S1).frame().to_vec(), PLAIN.welcome(S2).frame().to_vec()];
    player.give(S1, usize::MAX, Duration::ZERO).expect("one word is fine");
    let end = player.give(S2, usize::MAX, Duration::ZERO).expect_err("two are not");
    assert!(matches!(end, ClientError::ServersDiffer { .. }), "{end}");
}

#[test]
fn a_query_for_two_members_is_the_callers_mistake() {
    let mut world = World::new(ANSWERED, 1);
    let besides: UserId = id(4);
    world.players[0].workload.besides = vec![besides];
    world.players[0].coming = [S1, S2].map(|side| greeting(ANSWERED, side));
    world.players[0].give_all(&mut world.rng, world.now).expect("well formed");
    let player = &mut world.players[0];
    // HELLO goes with the first dials.
    let end = player.client.outgoing(S1, &mut world.rng, &mut player.workload).expect_err("two at once");
    let ClientError::Query { sender, slot, asked: 2 } = end else { panic!("{end}") };
    assert_eq!((sender, slot.0), (id(0), 0));
    assert!(end.to_string().starts_with("user 5 cannot dial slot 0"), "{end}");
}
