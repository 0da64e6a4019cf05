//! What has not the form that it must have ends the client.

use super::SHAPE;
use super::model::{GROUP, Server, World, server_key};
use twincast_client::ClientError;
use twincast_protocol::accountable::headers::headers_frame;
use twincast_protocol::ids::{MemberIndex, ServerSide, SlotIndex};
use twincast_protocol::wire::{FetchHeaders, HEADER_BYTES, HeadersHead, Kind, SignedRoundEnd};

/// Gives the first client a round whose last frame, ROUND_END, is changed at S1.
fn end_of_round(change: impl Fn(&mut SignedRoundEnd)) -> Result<(), ClientError> {
    let mut world = World::accountable(SHAPE, 1, &[], |_| ());
    world.submit(1);
    let changed = |server: &Server, users: &[MemberIndex]| {
        let mut bytes = server.round(1, users);
        let end_bytes = HEADER_BYTES + SignedRoundEnd::body_bytes(5, users.len());
        let start = bytes.len() - end_bytes;
        let mut end = SignedRoundEnd::read(&bytes[start + HEADER_BYTES..], 5).unwrap();
        change(&mut end);
        bytes.truncate(start);
        bytes.extend(end.frame());
        bytes
    };
    world.put(ServerSide::One, changed);
    world.put(ServerSide::Two, |server, users| server.round(1, users));
    let now = world.now;
    world.players[0].give_all(&mut world.rng, now)
}

#[test]
fn round_ends_that_are_not_of_this_connection_or_contradict_the_round_end_the_client() {
    assert_eq!(end_of_round(|_| ()), Ok(()));
    let users = end_of_round(|end| end.roots.truncate(1));
    assert!(matches!(users, Err(ClientError::Field { field: "users", .. })), "{users:?}");
    let present = end_of_round(|end| end.present[0] ^= 0b100);
    assert!(matches!(present, Err(ClientError::Field { field: "present", .. })), "{present:?}");
    for change in [(|end| end.present[0] |= 1 << 5) as fn(&mut SignedRoundEnd), |end| end.present.push(0)] {
        let length = end_of_round(change);
        assert!(matches!(length, Err(ClientError::Length { kind: Kind::RoundEnd, .. })), "{length:?}");
    }
}

/// What becomes of headers that nobody asked for, in a group that has rounds behind it.
fn unasked(change: impl Fn(&mut Vec<u8>)) -> Result<(), ClientError> {
    let mut world = World::accountable(SHAPE, 2, &[], |_| ());
    world.play_accountable(1);
    let user = world.players[0].users[0];
    let fetch =
        FetchHeaders::new(twincast_protocol::ids::RoundNumber(1), world.epoch(), user, SlotIndex(0), 0);
    let head = HeadersHead::new(&fetch, 5, 1, 0);
    let entry = |member: u32| twincast_protocol::accountable::headers::Entry {
        user: world.roster()[member as usize],
        position: member,
        blind: [0; 16],
        share_hash: [0; 32],
        signed: None,
    };
    let entries: Vec<_> = (0..5).map(entry).collect();
    let key = server_key(ServerSide::One);
    let mut frame = headers_frame(GROUP, ServerSide::One, world.roster()[0], &head, &[], &entries, &key);
    change(&mut frame);
    world.players[0].coming[0].extend(frame);
    let now = world.now;
    world.players[0].give_all(&mut world.rng, now)
}

#[test]
fn headers_that_nobody_asked_for_or_that_have_a_wrong_length_end_the_client() {
    let unexpected = unasked(|_| ());
    assert!(matches!(unexpected, Err(ClientError::Unexpected { kind: Kind::Headers, .. })), "{unexpected:?}");
    let shorter = unasked(|frame| {
        frame.pop();
        let body_bytes = (frame.len() - HEADER_BYTES) as u32;
        frame[4..8].copy_from_slice(&body_bytes.to_le_bytes());
    });
    assert!(matches!(shorter, Err(ClientError::Length { kind: Kind::Headers, .. })), "{shorter:?}");
    let members = unasked(|frame| frame[HEADER_BYTES + 52] = 6);
    assert!(members.is_err(), "{members:?}");
    let longest = unasked(|frame| frame[4..8].copy_from_slice(&(1_u32 << 24).to_le_bytes()));
    assert!(matches!(longest, Err(ClientError::Length { kind: Kind::Headers, .. })), "{longest:?}");
}
