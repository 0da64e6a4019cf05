//! Announcements of the next epoch.

use super::{PLAIN, S1, S2, SHAPE, announce, announce_of, later, roster};
use crate::model::{EPOCH, Shape, World, id};
use twincast_client::ClientError;
use twincast_protocol::format::{Profile, Scheme};
use twincast_protocol::ids::{Epoch, RoundNumber, UserId};
use twincast_protocol::wire::{Body, Code, EpochOpen, HEADER_BYTES, Kind};

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
