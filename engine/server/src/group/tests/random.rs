//! Frames of all kinds in any order: nothing panics, and rounds go on.

use super::pair::PEER_TIMEOUT;
use super::*;
use proptest::prelude::*;
use twincast_protocol::wire::link::{HeldDial, LinkFrame, Present};

fn some_config(rng: &mut Xoshiro256PlusPlus) -> GroupConfig {
    let scheme = [SchemeName::Plain, SchemeName::Algorithm4, SchemeName::OneToMany][rng.random_range(0..3)];
    let timed = rng.random_bool(0.2);
    GroupConfig {
        scheme,
        subgroups_max: if scheme == SchemeName::OneToMany { 2 } else { 0 },
        members: 70,
        members_max: 74,
        keys: rng.random_bool(0.3),
        epoch_rounds: rng.random_range(0..2) * 5,
        announce_rounds: 3,
        round_mode: if timed { RoundMode::Timed } else { RoundMode::Lockstep },
        interval_ms: if timed { 100 } else { 0 },
        ..config(rng.random_bool(0.5), rng.random_range(1..3))
    }
}

/// One frame of a client, most of the time one that makes sense.
fn client_step(bench: &mut Bench, rng: &mut Xoshiro256PlusPlus) {
    let connection = ConnectionId(rng.random_range(1..4));
    let n = 72;
    let sender = rng.random_range(0..n);
    let epoch = bench.group.epoch().0 + rng.random_range(0..3);
    let epoch = epoch.saturating_sub(rng.random_range(0..2));
    let members = bench.group.members_of(Epoch(epoch)).unwrap_or(70);
    let slot = rng.random_range(0..3);
    match rng.random_range(0..16) {
        0 => {
            let from = rng.random_range(0..n);
            let users = users(from..rng.random_range(from + 1..=n + 6));
            let join = rng.random();
            let now = bench.now;
            let _ = bench.group.attach(connection, EPOCH_ANY, join, &users, now, &mut bench.out);
        }
        1 if rng.random_bool(0.1) => bench.group.detach(connection, bench.now, &mut bench.out),
        2 => drop(bench.leave(connection, sender)),
        3..7 => {
            // Both servers of a pair are told the same dials.
            bench.dial_id = u64::from(rng.random_range(0..2_u32));
            let _ = bench.dial(connection, epoch, sender, slot, &vec![0; members.div_ceil(8)]);
        }
        7 | 8 => {
            let purpose = [Purpose::Message, Purpose::Confirmation, Purpose::Key, Purpose::KeyReply];
            let purpose = purpose[rng.random_range(0..4)];
            let head = PartsHead::new(Epoch(epoch), MemberIndex(sender), SlotIndex(slot), purpose);
            let now = bench.now;
            let begun = bench.group.parts_begin(connection, &head).ok();
            let older = bench.upload;
            bench.upload = begun.or(older);
            if let Some(upload) = if rng.random_bool(0.1) { older } else { begun } {
                bench.group.parts_bytes(&upload, 0, &[1; 64]);
                bench.group.parts_bytes(&upload, rng.random_range(0..9000), &[1; 64]);
                bench.group.parts_end(&upload, now, &mut bench.out).unwrap();
            }
            let _ = bench.group.parts_seed(connection, &head, &[1; 32], now, &mut bench.out);
        }
        9 => {
            let fetch = Fetch {
                epoch: epoch.into(),
                purpose: rng.random_range(0..5).into(),
                slot: slot.into(),
                first_tile: rng.random_range(0..3).into(),
                tiles: rng.random_range(0..3).into(),
                reserved: 0.into(),
            };
            let _ = bench.group.fetch(connection, &fetch, &mut bench.out);
            bench.group.answer_fetches(rng.random_range(0..1 << 14), &mut bench.out);
        }
        10 => {
            let most = if rng.random_bool(0.1) { n } else { 1 };
            bench.lagging = rng.random_range(0..most);
            bench.tick(bench.now + millis(rng.random_range(0..200)));
        }
        _ => {
            let body = bench.group.shape.submit_body_bytes(bench.group.members());
            bench.shares = vec![0; body - size_of::<Submit>()];
            let round = bench.group.open_round().0 + rng.random_range(0..3);
            let _ = bench.submit(connection, sender, round.saturating_sub(1));
        }
    }
}

#[test]
fn random_frames_of_clients_never_panic_and_rounds_go_on() {
    let mut sealed = 0;
    let mut opened = 0;
    for seed in 0..40 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        println!("seed {seed}");
        let side = ServerSide::BOTH[rng.random_range(0..2)];
        let parts_box = MemoryBox::of(rng.random_range(0..1 << 20));
        let mut bench = Bench::of(Shape::new(&some_config(&mut rng), side), parts_box);
        for _ in 0..4000 {
            client_step(&mut bench, &mut rng);
            for output in bench.out.drain(..) {
                sealed += u32::from(matches!(output, Output::Sealed(_)));
                opened += u32::from(matches!(output, Output::Count(Counted::EpochsOpened, _)));
            }
        }
    }
    assert!(sealed > 100, "{sealed} rounds were sealed");
    assert!(opened > 60, "{opened} epochs were opened");
}

fn number(rng: &mut Xoshiro256PlusPlus, about: u64) -> u64 {
    match rng.random_range(0..10) {
        0 => rng.random(),
        1 => u64::MAX - rng.random_range(0..3),
        2 => rng.random_range(0..3),
        _ => (about + rng.random_range(0..4)).saturating_sub(rng.random_range(0..2)),
    }
}

fn some_users(rng: &mut Xoshiro256PlusPlus) -> Vec<UserId> {
    (0..rng.random_range(0..4)).map(|at| UserId(at * 40 + rng.random_range(0..40))).collect()
}

fn link_frame(group: &Group, rng: &mut Xoshiro256PlusPlus) -> LinkFrame {
    let epoch = Epoch(number(rng, group.epoch().0.into()) as u32);
    let round = number(rng, group.open_round().0);
    let id = if rng.random_bool(0.02) { GroupId(1) } else { group.shape.group };
    let change = Change {
        group: id,
        epoch,
        first_round: RoundNumber(round),
        joins: some_users(rng),
        leaves: some_users(rng),
    };
    match rng.random_range(0..12) {
        0 => LinkFrame::Hello(1, Vec::new()),
        1 | 2 => LinkFrame::Propose(change),
        3 | 4 => LinkFrame::Agree(change),
        5 | 6 => {
            let held = |_| {
                let (sender, slot) = (number(rng, 60) as u32, number(rng, 0) as u32);
                HeldDial::new(rng.random_range(0..2), MemberIndex(sender), SlotIndex(slot))
            };
            LinkFrame::Held(id, epoch, (0..20).map(held).collect())
        }
        7 => LinkFrame::Close(id, epoch),
        _ => LinkFrame::Present(Present {
            group: id.0.into(),
            epoch: epoch.0.into(),
            round: round.into(),
            present: rng.random::<u64>().into(),
            tile: (number(rng, 0) as u32).into(),
            skipped: u32::from(rng.random_bool(0.1)).into(),
        }),
    }
}

/// A server whose peer says anything, and whose clients do most things right.
fn against_anything(seed: u64) -> (u32, u32) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let side = ServerSide::BOTH[rng.random_range(0..2)];
    let shape = Shape::new(&some_config(&mut rng), side).with_link(PEER_TIMEOUT);
    let mut bench = Bench::of(shape, MemoryBox::of(1 << 20));
    let (mut sealed, mut taken) = (0, 0);
    let mut up = false;
    for _ in 0..1500 {
        if !up || rng.random_bool(0.01) {
            let mut theirs = bench.group.standing();
            if rng.random_bool(0.3) {
                theirs.epoch = (number(&mut rng, theirs.epoch.get().into()) as u32).into();
                theirs.round = number(&mut rng, theirs.round.get()).into();
                theirs.open = rng.random_range(0..2);
            }
            let now = bench.now;
            if rng.random_bool(0.5) {
                bench.group.link_down(now, &mut bench.out);
            }
            up |= bench.group.link_up(Some(&theirs), now, &mut bench.out).is_ok();
        }
        for _ in 0..4 {
            client_step(&mut bench, &mut rng);
        }
        let frame = link_frame(&bench.group, &mut rng);
        match bench.group.peer(frame, bench.now, &mut bench.out) {
            Ok(()) => taken += 1,
            Err(_) => up = rng.random_bool(0.8),
        }
        sealed += bench.out.drain(..).filter(|output| matches!(output, Output::Sealed(_))).count() as u32;
    }
    (sealed, taken)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn nothing_that_the_other_server_says_panics(seed in any::<u64>()) {
        against_anything(seed);
    }
}

#[test]
fn a_server_whose_peer_talks_nonsense_still_seals_rounds() {
    let (mut sealed, mut taken) = (0, 0);
    for seed in 0..30 {
        println!("seed {seed}");
        let (rounds, frames) = against_anything(seed);
        sealed += rounds;
        taken += frames;
    }
    assert!(sealed > 20, "{sealed} rounds were sealed");
    assert!(taken > 1000, "{taken} frames were taken");
}
