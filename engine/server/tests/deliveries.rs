//! Every byte that leaves a server is the one that the naive model says, for whatever members a connection plays, in
//! whatever pieces the bytes come in.

mod common;

use common::model::CONFIRMATION;
use common::{Party, TestServer, config, group};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_protocol::compact::{SplitBuffers, split};
use twincast_protocol::confirm::{confirmation_parts, open_confirmations};
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::receive::{Expectation, TileCells, Verdict, open};
use twincast_protocol::session_key::dial;
use twincast_protocol::wire::DELIVER_HEAD_BYTES;
use twincast_server::config::{GroupConfig, ZeroCopy};

/// A round in which the submissions of each connection come in random order and random pieces, one connection's
/// between the others'.
fn play_in_pieces(party: &mut Party, round: u64, rng: &mut Xoshiro256PlusPlus) {
    let mut streams: Vec<Vec<u8>> = Vec::new();
    for seat in 0..party.seats.len() {
        let mut users = party.seats[seat].users.clone();
        users.shuffle(rng);
        streams.push(users.iter().flat_map(|&user| party.model.submit(round, user)).collect());
    }
    let mut at = vec![0; streams.len()];
    while let Some(first) = (0..streams.len()).find(|&seat| at[seat] < streams[seat].len()) {
        let any = rng.random_range(0..streams.len());
        let seat = if at[any] < streams[any].len() { any } else { first };
        let bytes = rng.random_range(1..=3_000.min(streams[seat].len() - at[seat]));
        party.seats[seat].client.send(&streams[seat][at[seat]..at[seat] + bytes]);
        at[seat] += bytes;
    }
    party.expect(round);
}

#[test]
fn every_byte_that_leaves_is_the_models() {
    for seed in 0..6 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let group = GroupConfig {
            slots: [2, 1, 3][seed as usize % 3],
            frame_bytes: [16, 288, 160][seed as usize % 3],
            ..group(3, 130)
        };
        let mut config = config(vec![group.clone()]);
        config.front.executors = 1 + seed as usize % 2;
        config.fan_out.threads = 1 + seed as usize / 2 % 2;
        config.fan_out.slab_bytes = [4 << 10, 64 << 10][seed as usize / 3];
        let server = TestServer::start(config);
        let sets = common::party::interleaved(130, rng.random_range(2..6), &mut rng);
        let mut party = Party::attach(server.address(), &group, sets, seed);
        party.dial();
        party.expect_open();
        play_in_pieces(&mut party, 1, &mut rng);
        play_in_pieces(&mut party, 2, &mut rng);
        // Some members go, for a round, and come back in other company.
        let users = party.seats[0].users.clone();
        drop(party.take(0));
        server.wait_for_connections(party.seats.len() as u64);
        if !party.seats.is_empty() {
            play_in_pieces(&mut party, 3, &mut rng);
        }
        let (some, others): (Vec<u32>, Vec<u32>) = users.iter().partition(|_| rng.random());
        let before = party.seats.len();
        for users in [some, others] {
            if !users.is_empty() {
                party.join(users);
            }
        }
        let newcomers = party.seats.len() - before;
        let open = party.welcome.expect("somebody joined").round.get();
        assert!((3..5).contains(&open), "seed {seed}");
        // Whoever comes is waited for once it has submitted.
        party.submit_with_newcomers(open, newcomers);
        party.expect(open);
        assert_eq!(party.model.senders(open), 130, "seed {seed}");
        play_in_pieces(&mut party, open + 1, &mut rng);
        assert_eq!(party.model.senders(open + 1), 130, "seed {seed}");
    }
}

/// Over loopback the kernel copies after all, and says so.
#[test]
fn zero_copy_sends_carry_the_same_bytes() {
    let group = GroupConfig { frame_bytes: 288, ..group(1, 130) };
    let mut config = config(vec![group.clone()]);
    config.fan_out.zero_copy = ZeroCopy::On;
    config.fan_out.zero_copy_bytes_min = 4_096;
    let server = TestServer::start(config);
    let sets = [(0..100).collect(), (100..130).collect()];
    let mut party = Party::open(server.address(), &group, sets, 1);
    for round in 1..6 {
        party.play(round);
    }
    let counters = server.counters();
    assert!(counters.zero_copy_sends > 0 && counters.zero_copy_copied > 0, "{counters:?}");
}

#[test]
fn no_send_is_without_a_copy_where_that_is_off() {
    let group = GroupConfig { frame_bytes: 288, ..group(1, 130) };
    let mut config = config(vec![group.clone()]);
    config.fan_out.zero_copy = ZeroCopy::Off;
    config.fan_out.zero_copy_bytes_min = 1;
    let server = TestServer::start(config);
    let mut party = Party::open(server.address(), &group, [(0..130).collect()], 1);
    party.play(1);
    assert_eq!(server.counters().zero_copy_sends, 0);
}

#[test]
fn tiles_ascend_by_tile_then_slot_and_the_round_end_counts_them() {
    let group = GroupConfig { slots: 3, ..group(1, 130) };
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [(0..130).collect()], 1);
    party.submit(1);
    let client = &mut party.seats[0].client;
    let word = |frame: &[u8], at: usize| u32::from_le_bytes(*frame[8 + at..].first_chunk().unwrap());
    for tile in 0..3 {
        for slot in 0..3 {
            let frame = client.frame("a delivery");
            assert_eq!((frame[1], word(&frame, 20), word(&frame, 24)), (0x85, slot, tile));
        }
    }
    let end = client.frame("the round's end");
    assert_eq!((end[1], word(&end, 0), word(&end, 8), word(&end, 12)), (0x86, 1, 9, 130));
}

/// A delivery's size never tells who was there.
#[test]
fn deliveries_have_the_same_sizes_whoever_is_present() {
    let group = GroupConfig { slots: 2, round_timeout_ms: 600, ..group(1, 70) };
    let server = TestServer::start(config(vec![group.clone()]));
    let sets = [(0..60).collect(), vec![60], (61..70).collect()];
    let mut party = Party::open(server.address(), &group, sets, 1);
    let mut sizes: Vec<Vec<Vec<usize>>> = Vec::new();
    for (round, present) in (1..).zip([&[0, 1, 2][..], &[1], &[0, 2]]) {
        for &seat in present {
            party.submit_seat(round, seat);
        }
        let frames = party.seats.iter_mut().map(|seat| {
            let frames = party.model.round(round, &seat.users);
            frames
                .iter()
                .map(|expected| {
                    seat.client.expect(expected, "a round");
                    expected.len()
                })
                .collect()
        });
        sizes.push(frames.collect());
    }
    assert!(sizes.iter().all(|round| *round == sizes[0]), "{sizes:?}");
    assert_eq!(sizes[0][1][0], DELIVER_HEAD_BYTES + 64 * 64);
}

/// A server that cheats: one member gets the other half of one sender's shares, in one round, and nobody else sees any
/// difference.
#[cfg(feature = "fault-swap-half")]
#[test]
fn a_server_of_a_test_build_gives_the_wrong_half() {
    use twincast_server::config::{FaultConfig, SwapHalf};
    let group = group(1, 70);
    let mut config = config(vec![group.clone()]);
    config.fault =
        FaultConfig { swap_half: Some(SwapHalf { round: 2, sender: 66, user: 5 }), ..FaultConfig::default() };
    let server = TestServer::start(config);
    let mut party = Party::open(server.address(), &group, [(0..5).collect(), vec![5], (6..70).collect()], 1);
    party.play(1);
    party.submit(2);
    party.expect_seat(2, 0);
    party.expect_seat(2, 2);
    let client = &mut party.seats[1].client;
    client.expect(&party.model.deliver(2, 0, 0, &[5]), "the first tile");
    let (got, honest) = (client.frame("the second tile"), party.model.deliver(2, 1, 0, &[5]));
    let cell = DELIVER_HEAD_BYTES + 2 * 64;
    assert_eq!((&got[..cell], &got[cell + 64..]), (&honest[..cell], &honest[cell + 64..]));
    assert_ne!(got[cell..cell + 64], honest[cell..cell + 64]);
    client.expect(&party.model.round_end(2), "the round's end");
    party.play(3);
}

/// Both servers, real keys, real codewords: what arrives is for whom it was meant, and a dummy for everybody else.
#[test]
fn a_message_crosses_both_servers_and_reaches_its_recipients_alone() {
    const MEMBERS: u32 = 10;
    const SLOTS: u32 = 2;
    let seed = 5;
    let mut rng = StdRng::seed_from_u64(seed);
    let frame = FrameBytes::DEFAULT;
    let group = GroupConfig { frame_bytes: 288, slots: SLOTS, confirm: true, ..group(9, MEMBERS) };
    let servers = ServerSide::BOTH.map(|side| {
        let mut config = config(vec![group.clone()]);
        config.side = side.index() as u8 + 1;
        TestServer::start(config)
    });
    let mut parties = ServerSide::BOTH.map(|side| {
        let mut party = Party::new(servers[side.index()].address(), &group, side, seed);
        party.join(vec![0, 2, 3, 9]);
        party.join(vec![1, 4, 5, 6, 7, 8]);
        party
    });
    let everybody = || (0..MEMBERS).flat_map(|sender| (0..SLOTS).map(move |slot| (sender, slot)));
    let recipients: Vec<Vec<MemberIndex>> = everybody()
        .map(|_| (0..MEMBERS).filter(|_| rng.random_range(0..4) == 0).map(MemberIndex).collect())
        .collect();
    let place = |sender: u32, slot: u32| (sender * SLOTS + slot) as usize;
    let keys: Vec<_> = recipients
        .iter()
        .map(|recipients| dial(MEMBERS, recipients, &mut rng).expect("they are members"))
        .collect();
    let seat_of = |party: &Party, user: u32| usize::from(!party.seats[0].users.contains(&user));

    for (sender, slot) in everybody() {
        let (p1, p2) = &keys[place(sender, slot)];
        for (party, key) in parties.iter_mut().zip([p1, p2]) {
            let bytes = party.model.dial_with(sender, slot, key.as_bytes().to_vec());
            let seat = seat_of(party, sender);
            party.seats[seat].client.send(&bytes);
            let dialled = party.model.dialled(sender, slot);
            party.seats[seat].expect(&dialled, "a dial's answer");
        }
    }

    // By slot and side, each user's cells of confirmations.
    for (sender, slot) in everybody() {
        let (p1, p2) = &keys[place(sender, slot)];
        let (mut confirm_seed, mut parts) = ([0; 32], vec![0; 64 * MEMBERS as usize]);
        rng.fill_bytes(&mut confirm_seed);
        confirmation_parts(
            GroupId(9),
            Epoch(0),
            MemberIndex(sender),
            SlotIndex(slot),
            p1,
            p2,
            &confirm_seed,
            &mut rng,
            &mut parts,
        );
        let [one, two] = &mut parties;
        let frames = [
            one.model.seed_with(CONFIRMATION, sender, slot, &confirm_seed),
            two.model.parts_with(CONFIRMATION, sender, slot, parts),
        ];
        for (party, frame) in parties.iter_mut().zip(frames) {
            let seat = seat_of(party, sender);
            party.seats[seat].client.send(&frame);
        }
    }
    for slot in 0..SLOTS {
        let cells = parties
            .each_mut()
            .map(|party| deliveries(party, |model, users| model.confirmations(64, 0, slot as usize, users)));
        for user in 0..MEMBERS {
            let cells = cells.each_ref().map(|cells| &cells[user as usize][..]);
            let tile = TileCells { count: MEMBERS as usize, cells, present: [0x3ff; 2] };
            let said = open_confirmations(GroupId(9), Epoch(0), MemberIndex(0), SlotIndex(slot), &tile);
            assert_eq!(said.failed, 0, "seed {seed}, slot {slot}, user {user}");
            for sender in 0..MEMBERS {
                let meant = recipients[place(sender, slot)].contains(&MemberIndex(user));
                assert_eq!(said.real >> sender & 1 == 1, meant, "seed {seed}, {sender} to {user}");
            }
        }
    }
    for party in &mut parties {
        party.expect_open();
    }

    for round in 1..4 {
        let text = |sender: u32, slot: u32| format!("round {round}: {sender} says this in slot {slot}");
        let context = |sender, slot| Context {
            group: GroupId(9),
            epoch: Epoch(0),
            round: RoundNumber(round),
            sender: MemberIndex(sender),
            slot: SlotIndex(slot),
            purpose: Purpose::Message,
        };
        for sender in 0..MEMBERS {
            let mut shares = [Vec::new(), Vec::new()];
            for slot in 0..SLOTS {
                let mut halves = [[0; 336]; 4];
                let [a, b, c, d] = halves.each_mut();
                let out = SplitBuffers { s1: [a, b], s2: [c, d] };
                split(frame, &context(sender, slot), text(sender, slot).as_bytes(), &mut rng, out)
                    .expect("it fits");
                for (half, bytes) in halves.iter().enumerate() {
                    shares[half / 2].extend(bytes);
                }
            }
            for (party, shares) in parties.iter_mut().zip(shares) {
                let frame = party.model.submit_with(round, sender, shares);
                let seat = seat_of(party, sender);
                party.seats[seat].client.send(&frame);
            }
        }
        for slot in 0..SLOTS {
            let cells = parties
                .each_mut()
                .map(|party| deliveries(party, |model, users| model.deliver(round, 0, slot as usize, users)));
            for (user, sender) in (0..MEMBERS).flat_map(|user| (0..MEMBERS).map(move |s| (user, s))) {
                let meant = recipients[place(sender, slot)].contains(&MemberIndex(user));
                let expectation = if meant { Expectation::Real } else { Expectation::Dummy };
                let [one, two] =
                    cells.each_ref().map(|cells| &cells[user as usize][sender as usize * 336..][..336]);
                let mut scratch = [0; 336];
                let verdict =
                    open(frame, &context(sender, slot), Some(one), Some(two), expectation, &mut scratch);
                let text = text(sender, slot);
                let right = if meant { Verdict::Accept(text.as_bytes()) } else { Verdict::Ignore };
                assert!(verdict == right, "seed {seed}, {sender} to {user} in {round}: {verdict:?}");
            }
        }
        for party in &mut parties {
            let end = party.model.round_end(round);
            party.expect_all(&end, "the round's end");
        }
    }
}

/// The next frame of every connection, which has to be the model's; by user, its cells.
fn deliveries(party: &mut Party, frame: impl Fn(&common::Model, &[u32]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut cells = vec![Vec::new(); party.model.members];
    for seat in &mut party.seats {
        let expected = frame(&party.model, &seat.users);
        seat.expect(&expected, "a delivery");
        let got = &expected[DELIVER_HEAD_BYTES..];
        for (user, got) in seat.users.iter().zip(got.chunks(got.len() / seat.users.len())) {
            cells[*user as usize] = got.to_vec();
        }
    }
    cells
}
