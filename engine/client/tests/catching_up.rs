//! Clients that come while rounds are open, or come back.

mod model;

use model::{EPOCH, Player, SMALL, Shape, World, id, settings};
use rand::RngExt;
use twincast_client::{ClientError, Event};
use twincast_protocol::format::Profile;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::Code;

const SHAPE: Shape = Shape { members: 70, slots: 2, confirm_tile_senders: 2, ..SMALL };

/// A new client for the users of the first one: what the old client had is gone.
fn replace(world: &mut World) {
    world.reconnect(0);
    let ids = world.players[0].ids.clone();
    world.players[0] = Player::with(world.shape, settings(), ids, &world.servers[0]);
}

fn opens(player: &Player) -> Vec<(RoundNumber, u64, u64)> {
    let open = |event: &Event| match event {
        Event::EpochOpen { first_round, confirmed, failed, .. } => Some((*first_round, *confirmed, *failed)),
        _ => None,
    };
    player.record.events.iter().filter_map(open).collect()
}

fn users(shape: Shape) -> Vec<UserId> {
    (0..shape.members).map(id).collect()
}

#[test]
fn a_new_client_fetches_what_it_missed_and_takes_part() {
    let mut world = World::opened(SHAPE, 1);
    world.play(1);
    replace(&mut world);
    world.settle();
    // Windows of 16 tiles: 35 tiles of two slots are three windows each, from both servers.
    let windows =
        [(1, 0, 0, 16), (1, 0, 16, 16), (1, 0, 32, 3), (1, 1, 0, 16), (1, 1, 16, 16), (1, 1, 32, 3)];
    for _ in 0..3 {
        world.settle();
    }
    assert!(world.servers.iter().all(|server| server.fetched == windows));
    let player = &world.players[0];
    let cells = player.ids.len() as u64 * 140;
    assert_eq!(opens(player), [(RoundNumber(2), cells, 0)]);
    assert!(player.record.events.contains(&Event::Dialled { epoch: EPOCH }), "the servers said so");
    (2..=3).for_each(|round| world.play(round));
    let numbers = world.servers[0].keys.len();
    assert_eq!(numbers, 140, "it dialled nothing anew");
}

#[test]
fn what_goes_by_meanwhile_is_dropped_and_rounds_begin_at_a_boundary() {
    for seed in 0..6 {
        let mut world = World::opened(SHAPE, seed);
        world.play(1);
        world.submit(2);
        let ids = world.players[0].ids.clone();
        replace(&mut world);
        // It comes in the middle of round 2 at S1, and at the start of it at S2.
        let members = world.servers[0].members_of(EPOCH, &ids);
        let tail: Vec<u8> = [(0, 1), (1, 0), (1, 1)]
            .into_iter()
            .flat_map(|(tile, slot)| world.servers[0].tile(2, tile, slot, &members))
            .chain(world.servers[0].end(2, 4))
            .collect();
        world.servers.iter_mut().for_each(|server| server.round = 2);
        world.carry_one(0, ServerSide::One);
        world.carry_one(0, ServerSide::Two);
        let whole = world.servers[1].round(2, &members);
        world.players[0].coming[0].extend(tail);
        world.players[0].coming[1].extend(whole);
        for side in ServerSide::BOTH {
            let rest = world.servers[side.index()].round(2, &world.players[1].users);
            world.players[1].coming[side.index()].extend(rest);
        }
        if world.rng.random() {
            world.give_all();
        }
        (0..8).for_each(|_| world.settle());
        world.servers.iter_mut().for_each(|server| server.round = 3);
        let player = &world.players[0];
        assert_eq!(opens(player).len(), 1, "seed {seed}");
        assert!(
            player.record.verdicts.is_empty(),
            "no verdict on a round that it saw a part of, seed {seed}"
        );
        assert_eq!(player.client.round(), Some(RoundNumber(3)), "seed {seed}");
        world.play(3);
    }
}

#[test]
fn a_round_that_turns_out_to_be_begun_is_left_out() {
    let shape = Shape { confirm_tile_senders: 0, ..SHAPE };
    let mut world = World::opened(shape, 3);
    world.submit(1);
    replace(&mut world);
    world.settle();
    assert_eq!(opens(&world.players[0]), [(RoundNumber(1), 0, 0)]);
    world.put(ServerSide::One, |server, users| {
        let tiles = [(0, 1), (1, 0), (1, 1)];
        let tail = tiles.into_iter().flat_map(|(tile, slot)| server.tile(1, tile, slot, users));
        tail.chain(server.end(1, 4)).collect()
    });
    let other = world.servers[0].tile(1, 0, 0, &world.players[1].users);
    world.players[1].coming[0].splice(0..0, other);
    world.put(ServerSide::Two, |server, users| server.round(1, users));
    world.give_all();
    let closed =
        Event::RoundClosed { round: RoundNumber(1), skipped: [true; 2], timed_out: false, unagreed: [0; 2] };
    assert_eq!(world.players[0].record.events.last(), Some(&closed));
    assert!(world.players[0].record.verdicts.is_empty());
    world.servers.iter_mut().for_each(|server| server.round = 2);
    world.play(2);
}

#[test]
fn lost_confirmations_are_told_and_their_slots_tampered() {
    let mut world = World::opened(SHAPE, 4);
    world.play(1);
    world.servers[1].lost.insert((EPOCH.0, 1, 9, 1));
    replace(&mut world);
    (0..8).for_each(|_| world.settle());
    let player = &world.players[0];
    for user in &player.ids {
        let lost = Event::Lost { epoch: EPOCH, user: *user, sender: MemberIndex(9), slot: SlotIndex(1) };
        assert_eq!(player.record.events.iter().filter(|event| **event == lost).count(), 1);
    }
    let users = player.ids.len() as u64;
    assert_eq!(opens(player)[0].2, users, "they have failed");
    world.submit(2);
    world.put_both(|server, users| server.round(2, users));
    world.give_all();
    let player = &world.players[0];
    for user in &player.users {
        assert_eq!(player.record.verdicts[&(2, 0, 1, user.0)].tampered, 1 << 9);
        assert_eq!(player.record.verdicts[&(2, 0, 0, user.0)].tampered, 0);
    }
}

#[test]
fn an_epoch_that_opens_meanwhile_is_caught_up_with_instead() {
    for seed in 0..6 {
        let mut world = World::opened(SHAPE, seed);
        world.play(1);
        replace(&mut world);
        let trips = world.rng.random_range(1..4);
        (0..trips).for_each(|_| {
            world.carry();
            world.give_all();
        });
        world.players[1].client.submit().expect("round 2");
        world.carry();
        let epoch = Epoch(EPOCH.0 + 1);
        world.announce_only(epoch, &users(SHAPE), 3);
        world.put_both(|server, users| server.round(2, users));
        let pause = world.rng.random_range(0..3);
        (0..pause).for_each(|_| {
            world.carry();
            world.give_all();
        });
        // Everybody else's parts go out to a client that is still busy with the old epoch's.
        for _ in 0..4 {
            world.carry_one(1, ServerSide::One);
            world.carry_one(1, ServerSide::Two);
            world.players[1].give_all(&mut world.rng, world.now).unwrap();
        }
        world.put_both(|server, _| server.grants_of(epoch, PartKind::Confirmation));
        world.give_all();
        world.settle();
        world.switch(epoch, 3);
        (0..10).for_each(|_| world.settle());
        let player = &world.players[0];
        let last = *opens(player).last().expect("it opened");
        assert_eq!((last.0, last.2), (RoundNumber(3), 0), "seed {seed}");
        assert_eq!(player.client.epoch(), Some(epoch));
        assert_eq!(player.record.sum(|verdicts| verdicts.tampered), 0, "seed {seed}");
        (3..=4).for_each(|round| world.play(round));
    }
}

#[test]
fn a_client_that_comes_back_keeps_what_it_has() {
    let shape = Shape { slots: 1, key_tile_senders: 16, frame_bytes: 64, ..SHAPE };
    let mut world = World::opened(shape, 5);
    world.play(1);
    world.reconnect(0);
    (0..8).for_each(|_| world.settle());
    assert!(world.servers.iter().all(|server| server.fetched.is_empty()), "it has everything");
    (2..=3).for_each(|round| world.play(round));
    let user = world.players[0].users[0];
    let next = id((user.0 + 1) % 70);
    assert!(world.players[0].client.pair_key(0, next).is_some());
}

#[test]
fn a_client_that_comes_back_in_the_middle_of_the_parts_fetches_the_rest() {
    for seed in 0..4 {
        let shape =
            Shape { slots: 1, key_tile_senders: 16, confirm_tile_senders: 8, frame_bytes: 64, ..SHAPE };
        let mut world = World::attached(shape, seed);
        world.put_both(|server, _| server.grants());
        world.settle();
        world
            .put_both(|server, users| (0..3).flat_map(|tile| server.confirmations(0, tile, users)).collect());
        world.give_all();
        // One client goes; the other gets what it is sent.
        world.reconnect(0);
        world.settle();
        let kinds = [PartKind::Confirmation, PartKind::Key, PartKind::KeyReply];
        let player_users = world.players.iter().map(|player| player.users.clone()).collect::<Vec<_>>();
        let first = [world.rng.random_range(4..8), 3];
        for kind in kinds {
            world.put_both(|server, _| server.grants_of(EPOCH, kind));
            world.settle();
            for side in ServerSide::BOTH {
                for (player, users) in player_users.iter().enumerate() {
                    let server = &world.servers[side.index()];
                    let bytes = match kind {
                        PartKind::Confirmation => {
                            (first[player]..9).flat_map(|tile| server.confirmations(0, tile, users)).collect()
                        }
                        _ => server.all_parts(EPOCH, kind, users),
                    };
                    world.players[player].coming[side.index()].extend(bytes);
                }
            }
            world.give_all();
        }
        world.open(1);
        (0..4).for_each(|_| world.settle());
        let wanted = [(1, 0, 3, first[0] - 3)];
        assert!(world.servers.iter().all(|server| server.fetched == wanted), "seed {seed}");
        let cells = world.players[0].ids.len() as u64 * 70;
        assert_eq!(opens(&world.players[0]), [(RoundNumber(1), cells, 0)], "seed {seed}");
        (1..=2).for_each(|round| world.play(round));
    }
}

#[test]
fn who_lost_the_side_of_a_paper_dial_is_silent_until_the_next_epoch() {
    let shape = Shape { profile: Profile::PaperXor, frame_bytes: 256, members: 6, ..SMALL };
    let mut world = World::opened(shape, 6);
    world.play(1);
    replace(&mut world);
    (0..3).for_each(|_| world.settle());
    world.submit(2);
    assert!(
        world.players[0].workload.submitted.is_empty(),
        "it does not know which side its recipient is on"
    );
    assert!(!world.players[1].workload.submitted.is_empty());
    world.put_both(|server, users| server.round(2, users));
    world.give_all();
    world.servers.iter_mut().for_each(|server| server.round = 3);
    let epoch = world.announce(&users(shape), 3);
    world.switch(epoch, 3);
    world.play(3);
}

#[test]
fn a_fetch_that_is_refused_leaves_its_confirmations_failed() {
    let mut world = World::opened(SHAPE, 7);
    world.play(1);
    replace(&mut world);
    world.carry();
    world.give_all();
    // S2 refuses the first window, of which S1 delivers everything.
    world.carry_one(0, ServerSide::One);
    let bytes = world.players[0].outgoing(ServerSide::Two, &mut world.rng);
    assert_eq!(bytes.len(), 32, "one FETCH");
    world.players[0].coming[1].extend(&Code::FetchRange.frame(u32::MAX, u32::MAX, 0));
    world.give_all();
    (0..8).for_each(|_| world.settle());
    let player = &world.players[0];
    let failed = player.ids.len() as u64 * 16 * 2;
    assert_eq!(opens(player), [(RoundNumber(2), player.ids.len() as u64 * 140 - failed, failed)]);
}

#[test]
fn what_is_not_fetched_or_out_of_order_is_named() {
    let fetching = |seed| {
        let mut world = World::opened(SHAPE, seed);
        world.play(1);
        replace(&mut world);
        world.carry();
        world.give_all();
        // The request is out; what comes is the test's.
        for side in ServerSide::BOTH {
            world.players[0].outgoing(side, &mut world.rng);
        }
        world
    };
    let tile = |world: &World, slot, tile, change: &dyn Fn(&mut Vec<u8>)| {
        let users = &world.players[0].users;
        let mut bytes = world.servers[0].parts_tile(EPOCH, PartKind::Confirmation, slot, tile, users, true);
        change(&mut bytes);
        bytes
    };
    let end = |world: &mut World, bytes: Vec<u8>| {
        world.players[0].coming[0].extend(bytes);
        world.players[0].give_all(&mut world.rng, world.now).expect_err("what must not be sent")
    };
    let mut world = fetching(1);
    let bytes = tile(&world, 0, 1, &|_| ());
    let error = end(&mut world, bytes);
    assert!(
        matches!(error, ClientError::OutOfOrder { what: "tiles come as they are fetched", .. }),
        "{error}"
    );

    let mut world = fetching(2);
    let bytes = tile(&world, 0, 0, &|bytes| bytes[8 + 48] = 1);
    let error = end(&mut world, bytes);
    assert!(matches!(error, ClientError::Field { field: "lost", said: 1, expected: 0, .. }), "{error}");

    let mut world = World::opened(SHAPE, 3);
    let bytes = tile(&world, 0, 0, &|_| ());
    let error = end(&mut world, bytes);
    assert!(matches!(error, ClientError::Unexpected { when: "of parts after EPOCH_OPEN", .. }), "{error}");
}

#[test]
fn servers_met_on_both_sides_of_a_boundary_are_no_contradiction() {
    for seed in 0..4 {
        let mut world = World::opened(SHAPE, seed);
        world.play(1);
        let epoch = world.announce(&users(SHAPE), 2);
        world.exchange_parts(epoch);
        // S2 has opened the next epoch, S1 not yet.
        world.servers[1].epoch = epoch;
        world.servers[1].round = 2;
        replace(&mut world);
        world.players[0].workload.rosters.insert(epoch.0, users(SHAPE));
        world.settle();
        let before = world.servers[0].announce(epoch, 2);
        world.players[0].coming[0].extend(before);
        world.give_all();
        world.servers[0].epoch = epoch;
        world.servers[0].round = 2;
        let opens_now = world.servers[0].open(2);
        world.players[0].coming[0].extend(&opens_now);
        for server in &world.servers {
            world.players[1].coming[server.side.index()].extend(server.open(2));
        }
        world.players.iter_mut().for_each(|player| player.workload.epoch = epoch);
        world.give_all();
        (0..8).for_each(|_| world.settle());
        assert_eq!(opens(&world.players[0]).len(), 1, "seed {seed}");
        // S1 does not report the dials of who was there when the epoch opened: it is only what is heard.
        world.players[1].client.submit().expect("round 2");
        world.carry();
        world.put_both(|server, users| server.round(2, users));
        world.give_all();
        assert_eq!(world.players[0].record.closed(), [2], "seed {seed}");
        assert_eq!(world.players[0].record.sum(|verdicts| verdicts.tampered), 0, "seed {seed}");
    }
}

/// A large group, whose members are listed in two frames, and of which one client plays two users; nobody else is there.
fn two_of_many() -> World {
    let shape = Shape { members: 5000, slots: 1, confirm_tile_senders: 64, ..SHAPE };
    let mut world = World::new(shape, 9);
    world.players = vec![Player::new(shape, vec![0, 1])];
    world.settle();
    world
}

#[test]
fn parts_that_were_on_their_way_are_not_made_again() {
    let mut world = two_of_many();
    world.put_both(|server, _| server.grants());
    world.give_all();
    // S2 gets the beginning of the first user's confirmations, and then the connection breaks.
    let player = &mut world.players[0];
    let begun = player.client.outgoing(ServerSide::Two, &mut world.rng, &mut player.workload).unwrap().len();
    assert!((8 + 16 + 64..320_000).contains(&begun), "{begun} bytes");
    world.reconnect(0);
    world.settle();
    world.put_both(|server, _| server.grants());
    world.settle();
    let given = |server: &model::Server| {
        let mut senders: Vec<u32> = server.parts.keys().map(|key| key.2).collect();
        senders.sort_unstable();
        senders
    };
    // Two sets under one seed would show S2 the sum of their codewords.
    assert_eq!(given(&world.servers[0]), [0, 1]);
    assert_eq!(given(&world.servers[1]), [1]);
}

#[test]
fn a_frame_that_was_begun_is_completed_when_its_epoch_is_given_up() {
    let mut world = two_of_many();
    world.put_both(|server, _| server.grants());
    world.give_all();
    let player = &mut world.players[0];
    let begun =
        player.client.outgoing(ServerSide::Two, &mut world.rng, &mut player.workload).unwrap().to_vec();
    player.client.sent(ServerSide::Two, begun.len());
    let _ = world.servers[1].take(0, &begun);
    world.put_both(|_, _| Code::EpochMismatch.frame(u32::MAX, u32::MAX, 0).to_vec());
    let epoch = Epoch(EPOCH.0 + 2);
    world.announce_only(epoch, &users(world.shape), 5);
    world.give_all();
    world.settle();
    let of = |epoch: u32| world.servers[1].parts.keys().filter(|key| key.0 == epoch).count();
    assert_eq!((of(EPOCH.0), of(epoch.0)), (1, 0), "the frame has its length");
    let dialled = |server: &model::Server| server.keys.keys().filter(|key| key.0 == epoch.0).count();
    assert_eq!(world.servers.each_ref().map(dialled), [2, 2]);
}

#[test]
fn a_server_met_before_it_gives_up_and_one_met_after_are_no_contradiction() {
    let mut world = World::opened(SHAPE, 8);
    let epoch = Epoch(EPOCH.0 + 2);
    for server in &mut world.servers {
        server.rosters.insert(epoch.0, users(SHAPE));
    }
    replace(&mut world);
    world.players[0].workload.rosters.insert(epoch.0, users(SHAPE));
    // S1 still has the old epoch, S2 is dialling the new one.
    world.carry_one(0, ServerSide::One);
    (world.servers[1].epoch, world.servers[1].open) = (epoch, false);
    world.carry_one(0, ServerSide::Two);
    let gives_up = Code::EpochMismatch.frame(u32::MAX, u32::MAX, 0);
    let announces = world.servers[0].announce(epoch, 7);
    world.players[0].coming[0].extend([&gives_up[..], &announces].concat());
    world.give_all();
    world.carry();
    world.give_all();
    assert_eq!(world.players[0].client.epoch(), Some(epoch));
    assert!(world.players[0].record.events.contains(&Event::Dialled { epoch }));
}

#[test]
fn a_dial_that_the_servers_number_differently_is_not_used() {
    let shape = Shape { confirm_tile_senders: 0, ..SHAPE };
    let mut world = World::opened(shape, 10);
    world.play(1);
    let silent = world.players[0].users[1];
    world.servers[1].keys.get_mut(&(EPOCH.0, silent.0, 1)).expect("dialled").1 ^= 1;
    replace(&mut world);
    world.settle();
    world.submit(2);
    let submitted: Vec<MemberIndex> =
        world.players[0].workload.submitted.iter().map(|(_, user)| *user).collect();
    let others: Vec<MemberIndex> =
        world.players[0].users.iter().copied().filter(|user| *user != silent).collect();
    assert_eq!(submitted, others);
}

#[test]
fn a_server_met_before_it_opens_and_one_met_after_are_no_contradiction() {
    let mut world = World::attached(SHAPE, 11);
    world.exchange_parts(EPOCH);
    // S1 is in round 1 when the new client comes, S2 opens after that.
    world.servers[0].open = true;
    replace(&mut world);
    world.carry_one(0, ServerSide::One);
    world.carry_one(0, ServerSide::Two);
    let users = world.players[0].users.clone();
    let first = world.servers[0].tile(1, 0, 0, &users);
    world.players[0].coming[0].extend(first);
    world.give_all();
    world.servers[1].open = true;
    let opens_now = world.servers[1].open(1);
    world.players[0].coming[1].extend(opens_now);
    world.give_all();
    (0..8).for_each(|_| world.settle());
    let [one, two] = &world.servers;
    let rest = [(0, 1), (1, 0), (1, 1)].into_iter().flat_map(|(tile, slot)| one.tile(1, tile, slot, &users));
    world.players[0].coming[0].extend(rest.chain(one.end(1, 4)));
    world.players[0].coming[1].extend(two.round(1, &users));
    world.give_all();
    let player = &world.players[0];
    assert_eq!(opens(player), [(RoundNumber(2), player.ids.len() as u64 * 140, 0)]);
    assert!(player.record.verdicts.is_empty(), "a part of round 1 had gone by");
}

#[test]
fn parts_that_go_out_while_the_old_epochs_are_fetched_are_fetched_too() {
    let mut world = World::opened(SHAPE, 12);
    world.play(1);
    replace(&mut world);
    world.carry();
    world.give_all();
    // The request for the old epoch's parts gets there after that epoch is over.
    let requests = ServerSide::BOTH.map(|side| world.players[0].outgoing(side, &mut world.rng));
    assert_eq!(requests.each_ref().map(Vec::len), [32, 32], "one FETCH");
    world.players[1].client.submit().expect("round 2");
    let epoch = Epoch(EPOCH.0 + 1);
    world.announce_only(epoch, &users(SHAPE), 3);
    world.put_both(|server, users| server.round(2, users));
    world.give_all();
    world.carry();
    world.give_all();
    world.switch(epoch, 3);
    for side in ServerSide::BOTH {
        let answers = world.servers[side.index()].take(0, &requests[side.index()]);
        world.players[0].coming[side.index()].extend(answers);
    }
    world.give_all();
    (0..10).for_each(|_| world.settle());
    let player = &world.players[0];
    assert_eq!(opens(player), [(RoundNumber(3), player.ids.len() as u64 * 140, 0)]);
    (3..=4).for_each(|round| world.play(round));
}
