//! Frames that are none, come out of place, or say what cannot be.

use super::{PLAIN, S1, S2, SHAPE, announce, first_words, greeting, later, roster, welcome_with};
use crate::model::{EPOCH, GROUP, SHARE_BYTES, Shape, World};
use twincast_client::{ClientError, Event, Outbox, User};
use twincast_protocol::context::Purpose;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, SlotIndex, UserId};
use twincast_protocol::wire::{Body, Code, Dialled, Grant, HEADER_BYTES, Hello, Kind};

#[test]
fn frames_that_are_none_are_named() {
    let form = |code| Err(ClientError::Form { server: S1, code });
    assert_eq!(first_words(&[2, 0x81, 0, 0, 48, 0, 0, 0]), form(Code::VersionUnknown));
    assert_eq!(first_words(&[3, 0x80, 0, 0, 48, 0, 0, 0]), form(Code::KindUnknown));
    assert_eq!(first_words(&[3, 0x81, 0, 9, 48, 0, 0, 0]), form(Code::KindUnknown));
    assert_eq!(first_words(&[3, 0x85, 0, 0, 0, 0, 0, 0x41]), form(Code::FrameTooLarge));
    for (kind, body_bytes) in [
        (Kind::Welcome, 99),
        (Kind::Welcome, 101),
        (Kind::Error, 23),
        (Kind::Error, 281),
        (Kind::Announce, 49),
        (Kind::Roster, 15),
        (Kind::Roster, 16 + 4 * 4096 + 4),
    ] {
        let header = [3, kind as u8, 0, 0, body_bytes as u8, (body_bytes >> 8) as u8, 0, 0];
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
