//! Errors of state: the one frame is refused with the documented error, the connection stays, what was taken before
//! stands, and the whole group plays on, to the last byte.

mod common;

use common::client::{error_frame, kind};
use common::model::{CONFIRMATION, confirm_frame, dial_frame};
use common::{Party, TestServer, config, count, group};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{Code, Kind};
use twincast_server::config::GroupConfig;

const NONE: u32 = u32::MAX;
/// Members of the group: a session key has four bits and four of padding.
const MEMBERS: u32 = 4;

/// Member 0 at place 0, who does what it should not; 1 and 2 together; 3.
fn attached(group: &GroupConfig, side: ServerSide) -> (TestServer, Party) {
    let mut config = config(vec![group.clone()]);
    config.side = side.index() as u8 + 1;
    let server = TestServer::start(config);
    let mut party = Party::new(server.address(), group, side, 1);
    for users in [vec![0], vec![1, 2], vec![3]] {
        party.join(users);
    }
    (server, party)
}

fn two_slots() -> GroupConfig {
    GroupConfig { slots: 2, ..group(1, MEMBERS) }
}

fn opened(group: &GroupConfig) -> (TestServer, Party) {
    let (server, mut party) = attached(group, ServerSide::One);
    party.dial();
    party.expect_open();
    (server, party)
}

/// The offender sends this and is told that.
fn refused(party: &mut Party, frame: &[u8], code: Code, sender: u32, slot: u32, round: u64) {
    assert!(!code.closes());
    let offender = &mut party.seats[0];
    offender.client.send(frame);
    offender.expect(&error_frame(code, sender, slot, round), code.label());
}

fn refusals(server: &TestServer, code: Code, times: u64) {
    assert_eq!(server.metrics().refusals(code), times, "{}", code.label());
    assert_eq!(count(&server.metrics().connections), 3);
}

#[test]
fn a_member_that_the_connection_did_not_attach_is_refused() {
    let (server, mut party) = attached(&two_slots(), ServerSide::One);
    for member in [1, MEMBERS, u32::MAX] {
        refused(&mut party, &dial_frame(1, 0, member, 0, &[3]), Code::NotAttached, member, 0, 0);
        let seed = confirm_frame(0x03, 0, member, 1, &[0; 32]);
        refused(&mut party, &seed, Code::NotAttached, member, 1, 0);
    }
    party.dial();
    party.expect_open();
    for member in [1, MEMBERS, u32::MAX] {
        let submit = party.model.submit_in_vain(1, member);
        refused(&mut party, &submit, Code::NotAttached, member, NONE, 1);
    }
    party.play(1);
    refusals(&server, Code::NotAttached, 9);
}

#[test]
fn a_slot_out_of_range_is_refused() {
    let (server, mut party) = attached(&two_slots(), ServerSide::One);
    for slot in [2, u32::MAX] {
        refused(&mut party, &dial_frame(1, 0, 0, slot, &[3]), Code::SlotOutOfRange, 0, slot, 0);
        let seed = confirm_frame(0x03, 0, 0, slot, &[0; 32]);
        refused(&mut party, &seed, Code::SlotOutOfRange, 0, slot, 0);
    }
    party.dial();
    party.expect_open();
    party.play(1);
    refusals(&server, Code::SlotOutOfRange, 4);
}

#[test]
fn a_session_key_for_another_epoch_is_refused() {
    let (server, mut party) = attached(&two_slots(), ServerSide::One);
    for epoch in [1, u32::MAX] {
        refused(&mut party, &dial_frame(1, epoch, 0, 1, &[3]), Code::EpochWrong, 0, 1, 0);
    }
    let seed = confirm_frame(0x03, 1, 0, 1, &[0; 32]);
    refused(&mut party, &seed, Code::EpochWrong, 0, 1, 0);
    party.dial();
    party.expect_open();
    party.play(1);
    refusals(&server, Code::EpochWrong, 3);
}

#[test]
fn a_session_key_with_padding_bits_set_is_refused() {
    let (server, mut party) = attached(&two_slots(), ServerSide::One);
    for bit in MEMBERS..8 {
        refused(&mut party, &dial_frame(1, 0, 0, 1, &[5 | 1 << bit]), Code::KeyPadding, 0, 1, 0);
    }
    party.dial();
    party.expect_open();
    party.play(1);
    refusals(&server, Code::KeyPadding, 4);
}

#[test]
fn a_slot_that_is_dialled_already_is_refused_and_the_first_key_stands() {
    let (server, mut party) = attached(&two_slots(), ServerSide::One);
    party.dial_seat(0);
    for key in [[0x00], [0x0f], [0x05]] {
        refused(&mut party, &dial_frame(9, 0, 0, 1, &key), Code::AlreadyDialled, 0, 1, 0);
    }
    party.dial_seat(1);
    party.dial_seat(2);
    party.expect_open();
    party.play(1);
    refusals(&server, Code::AlreadyDialled, 3);
}

#[test]
fn a_dial_after_dialling_is_over_is_refused() {
    let (server, mut party) = opened(&two_slots());
    refused(&mut party, &dial_frame(1, 0, 0, 1, &[3]), Code::DialClosed, 0, 1, 0);
    party.play(1);
    refused(&mut party, &dial_frame(1, 0, 0, 0, &[3]), Code::DialClosed, 0, 0, 0);
    party.play(2);
    refusals(&server, Code::DialClosed, 2);
}

#[test]
fn a_member_with_a_slot_that_was_not_dialled_is_refused_and_absent() {
    let group = GroupConfig { dial_timeout_ms: 1_500, ..two_slots() };
    let (server, mut party) = attached(&group, ServerSide::One);
    party.dial_seat(1);
    party.dial_seat(2);
    // One of its two slots.
    let dial = party.model.dial(0, 0);
    party.seats[0].client.send(&dial);
    let dialled = party.model.dialled(0, 0);
    party.seats[0].client.expect(&dialled, "a dial's answer");
    party.expect_open();
    assert_eq!(party.model.members_dialled(), 3);
    for round in 1..4 {
        let submit = party.model.submit_in_vain(round, 0);
        refused(&mut party, &submit, Code::NotDialled, 0, NONE, round);
        // The round waits for the others alone.
        party.submit_seat(round, 1);
        party.submit_seat(round, 2);
        party.expect(round);
    }
    refusals(&server, Code::NotDialled, 3);
}

#[test]
fn confirmations_that_are_not_granted_or_come_twice_are_refused() {
    for side in ServerSide::BOTH {
        let group = GroupConfig { confirm: true, ..two_slots() };
        let (server, mut party) = attached(&group, side);
        let (kind_number, bytes) = [(0x03, 32), (0x04, 64 * MEMBERS as usize)][side.index()];
        let in_vain = |slot| confirm_frame(kind_number, 0, 0, slot, &vec![7; bytes]);
        // Dialling.
        refused(&mut party, &in_vain(1), Code::NotGranted, 0, 1, 0);
        party.dial();
        // Confirming: both slots are granted, and the first tile waits for the others.
        party.confirm_seat(0, 0, 0..1, &[]);
        refused(&mut party, &in_vain(0), Code::NotGranted, 0, 0, 0);
        party.confirm_seat(0, 1, 0..1, &[]);
        refused(&mut party, &in_vain(1), Code::NotGranted, 0, 1, 0);
        party.give_all(CONFIRMATION, &[]);
        party.expect_parts(CONFIRMATION);
        party.expect_open();
        // Running.
        refused(&mut party, &in_vain(0), Code::NotGranted, 0, 0, 0);
        party.play(1);
        refusals(&server, Code::NotGranted, 4);
        assert_eq!(count(&server.metrics().parts), 8);
    }
}

#[test]
fn a_group_without_confirmations_grants_none() {
    let (server, mut party) = opened(&two_slots());
    let seed = confirm_frame(0x03, 0, 0, 0, &[7; 32]);
    refused(&mut party, &seed, Code::NotGranted, 0, 0, 0);
    party.play(1);
    refusals(&server, Code::NotGranted, 1);
}

#[test]
fn a_submission_before_the_epoch_is_open_is_refused() {
    let group = GroupConfig { confirm: true, ..two_slots() };
    let (server, mut party) = attached(&group, ServerSide::One);
    let submit = party.model.submit_in_vain(1, 0);
    refused(&mut party, &submit, Code::EpochNotOpen, 0, NONE, 1);
    party.dial();
    refused(&mut party, &submit, Code::EpochNotOpen, 0, NONE, 1);
    party.give_all(CONFIRMATION, &[]);
    party.expect_parts(CONFIRMATION);
    party.expect_open();
    party.play(1);
    refusals(&server, Code::EpochNotOpen, 2);
}

#[test]
fn a_second_submission_for_a_round_is_refused_and_the_first_stands() {
    let (server, mut party) = opened(&two_slots());
    for round in [1, 2] {
        // For the open round and for the next one.
        party.submit_seat(round, 0);
        let again = party.model.submit_in_vain(round, 0);
        refused(&mut party, &again, Code::DuplicateSubmission, 0, NONE, round);
    }
    for round in [1, 2] {
        party.submit_seat(round, 1);
        party.submit_seat(round, 2);
        party.expect(round);
    }
    party.play(3);
    refusals(&server, Code::DuplicateSubmission, 2);
}

#[test]
fn a_submission_for_a_sealed_round_is_refused() {
    let (server, mut party) = opened(&two_slots());
    let dial = party.model.submit_in_vain(0, 0);
    refused(&mut party, &dial, Code::RoundSealed, 0, NONE, 0);
    for round in 1..4 {
        party.play(round);
        let late = party.model.submit_in_vain(round, 0);
        refused(&mut party, &late, Code::RoundSealed, 0, NONE, round);
    }
    let late = party.model.submit_in_vain(1, 0);
    refused(&mut party, &late, Code::RoundSealed, 0, NONE, 1);
    party.play(4);
    refusals(&server, Code::RoundSealed, 5);
}

#[test]
fn a_submission_for_a_round_beyond_the_next_is_refused() {
    let (server, mut party) = opened(&two_slots());
    for (open, far) in [(1, 3), (2, 4), (3, u64::MAX)] {
        let early = party.model.submit_in_vain(far, 0);
        refused(&mut party, &early, Code::RoundTooFar, 0, NONE, far);
        party.play(open);
    }
    refusals(&server, Code::RoundTooFar, 3);
}

#[test]
fn many_errors_in_a_row_are_answered_one_by_one_in_order() {
    let (server, mut party) = opened(&two_slots());
    let mut frames = Vec::new();
    // Fewer submissions than end the connection as a flood.
    let in_vain = |number: u32| number % 40 == 39;
    for number in 0..2_000u32 {
        match in_vain(number) {
            false => frames.extend(confirm_frame(0x03, 0, 0, number, &[3; 32])),
            true => frames.extend(party.model.submit_in_vain(u64::from(number) + 2, 0)),
        }
    }
    party.seats[0].client.send(&frames);
    for number in 0..2_000u32 {
        let offender = &mut party.seats[0].client;
        match in_vain(number) {
            false => offender.expect_error(Code::NotGranted, 0, number, 0),
            true => offender.expect_error(Code::RoundTooFar, 0, NONE, u64::from(number) + 2),
        }
    }
    party.play(1);
    refusals(&server, Code::RoundTooFar, 50);
}

#[test]
fn errors_come_between_two_frames_and_never_inside_one() {
    // A delivery of several slabs is on its way while errors are asked for all the time.
    let group = GroupConfig { frame_bytes: 4_096, ..group(1, 200) };
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [(0..150).collect(), (150..200).collect()], 2);
    for round in 1..3 {
        party.submit(round);
        let frames: Vec<u8> = (0..300).flat_map(|_| confirm_frame(0x03, 0, 0, 0, &[0; 32])).collect();
        party.seats[0].client.send(&frames);
        let mut errors = 0;
        let mut rest = Vec::new();
        let expected = party.model.round(round, &party.seats[0].users);
        while rest.len() < expected.len() || errors < 300 {
            let frame = party.seats[0].client.frame("the round and 300 errors");
            match kind(&frame) {
                Kind::Error => errors += 1,
                _ => rest.push(frame),
            }
        }
        assert_eq!(errors, 300);
        for (got, expected) in rest.iter().zip(&expected) {
            common::client::same(got, expected, "the round");
        }
        party.expect_seat(round, 1);
    }
}
