//! A sender that signs what does not decode, or is not what it dialled.

use super::model::{SHARE_BYTES, Server, World, id};
use super::{EVERY, SHAPE, verdicts};
use twincast_protocol::accountable::blame::{Verdict, Why};
use twincast_protocol::ids::MemberIndex;

/// What S1 has of the sender in this round is spoilt, and signed by it.
fn spoil(seed: u64, round: u64, spoil: fn(&mut [u8])) -> World {
    let mut world = World::accountable(SHAPE, seed, &[], |_| ());
    world.servers[0].books.spoil = Some((SENDER, round, spoil));
    (1..=round + 2 * u64::from(EVERY)).for_each(|round| world.play_accountable(round));
    world
}

const SENDER: u32 = 3;

/// Every verdict is on the sender and says why; how many have one.
fn convicted(world: &World, expected: Why) -> usize {
    let verdicts = verdicts(world);
    for (user, sender, verdict) in &verdicts {
        assert_eq!((*sender, verdict), (id(SENDER), &Verdict::Sender(id(SENDER), expected)), "{user}");
    }
    verdicts.len()
}

#[test]
fn a_sender_whose_shares_do_not_decode_is_blamed_by_everybody() {
    let world = spoil(1, 2, |rows| {
        rows[5] ^= 1;
        rows[SHARE_BYTES + 5] ^= 1;
    });
    assert_eq!(convicted(&world, Why::DoesNotDecode), 5);
}

#[test]
fn a_sender_whose_halves_lie_the_wrong_way_round_is_blamed() {
    let world = spoil(2, 2, |rows| rows.rotate_left(SHARE_BYTES));
    assert_eq!(convicted(&world, Why::OtherKind), 5);
}

#[test]
fn a_sender_whose_halves_are_equal_is_blamed_by_those_whom_it_deceived() {
    let world = spoil(3, 2, |rows| rows.copy_within(..SHARE_BYTES, SHARE_BYTES));
    let deceived = convicted(&world, Why::EqualHalves);
    let half1 = |user: u32| world.servers[0].keys[&(3, SENDER, 0)].0.bit(MemberIndex(user));
    assert_eq!(deceived, (0..5).filter(|user| half1(*user)).count());
    assert!(deceived > 0, "the seed gives everybody half 0");
}

/// The dial is changed as its sender might have made it.
fn dial_otherwise(seed: u64, change: fn(&mut Vec<u8>, &mut Vec<u8>)) -> World {
    let mut world =
        World::accountable(SHAPE, seed, &[], |servers| Server::dial_otherwise(servers, SENDER, change));
    (1..=3 * u64::from(EVERY)).for_each(|round| world.play_accountable(round));
    world
}

#[test]
fn a_sender_whose_confirmation_lies_is_blamed() {
    for user in [0, 4] {
        let world = match user {
            0 => dial_otherwise(4, |bits, _| bits[0] ^= 1),
            _ => dial_otherwise(4, |bits, _| bits[0] ^= 1 << 4),
        };
        // Its cells are wrong in every round, and everybody asks at every turn.
        assert!(convicted(&world, Why::LyingConfirmation) >= 2);
        assert!(verdicts(&world).iter().all(|(own, ..)| *own == MemberIndex(user)));
    }
}

#[test]
fn a_sender_whose_confirmation_does_not_decode_is_blamed() {
    let world = dial_otherwise(5, |_, parts| parts[64 * 2 + 9] ^= 4);
    assert!(convicted(&world, Why::NoConfirmation) >= 2);
    assert!(verdicts(&world).iter().all(|(own, ..)| *own == MemberIndex(2)));
}
