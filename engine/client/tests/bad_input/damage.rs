//! Damage and noise, drawn by chance: an error with a name or verdicts, never a panic.

use super::{PLAIN, S1, S2, SHAPE, greeting};
use crate::model::{ANSWERED, EPOCH, Player, SMALL, Shape, World, id};
use proptest::prelude::*;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, ServerSide, UserId};
use twincast_protocol::wire::Code;

fn damaged_life(seed: u64, one_in: u32) {
    let shape = Shape {
        members: 7,
        confirm_tile_senders: [0, 2, 4][seed as usize % 3],
        key_tile_senders: [0, 4][seed as usize / 3 % 2],
        frame_bytes: 64,
        ..SMALL
    };
    let shape = if seed % 4 == 3 { Shape { members: 7, ..ANSWERED } } else { shape };
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
        if seed.is_multiple_of(7) {
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

/// One server once named a round far ahead: the rounds before it are not gone through one by one when it starts over.
#[test]
fn a_round_far_ahead_that_one_server_named_is_not_counted_up_to() {
    damaged_life(15_055_015_806_480_599_922, 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever one server sends: an error with a name, or verdicts; never a panic, and each verdict once.
    #[test]
    fn damage_anywhere_never_panics(
        seed in any::<u64>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        shape in prop::sample::select(vec![SHAPE, PLAIN, ANSWERED]),
    ) {
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
        damaged_life(seed, one_in);
    }

    /// Bytes without any sense, from the first one on.
    #[test]
    fn noise_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        greeted in any::<bool>(),
        shape in prop::sample::select(vec![SHAPE, ANSWERED]),
        kind in 0x80u8..0x8e,
        body in 0u8..80,
    ) {
        let mut player = Player::new(shape, vec![0, 3]);
        let start = if greeted { greeting(shape, S1) } else { vec![] };
        player.coming[0] = [&start[..], &[3, kind, 0, 0, body, 0, 0, 0], &noise[..]].concat();
        player.coming[1] = greeting(shape, S2);
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
