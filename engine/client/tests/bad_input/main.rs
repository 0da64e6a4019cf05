//! Servers that send what they must not: every error is named, nothing panics.

mod answers;
mod damage;
mod epochs;
mod frames;
mod greeting;
#[path = "../model/mod.rs"]
mod model;

use model::{EPOCH, GROUP, Player, SMALL, Shape, World, id};
use std::time::Duration;
use twincast_client::ClientError;
use twincast_protocol::ids::{Epoch, MemberIndex, ServerSide, UserId};
use twincast_protocol::wire::{Announce, Body, Roster, Welcome, roster_hash};

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
