//! Epochs and members that change, on a server that runs alone.

use super::*;
use twincast_protocol::wire::EpochOpen;

fn changing() -> GroupConfig {
    GroupConfig { members_max: N + 2, epoch_rounds: 6, announce_rounds: 3, ..config(false, 1) }
}

fn announced(bench: &Bench) -> Vec<Announce> {
    let frames = bench.for_all().filter(|frame| kind(frame) == Kind::Announce);
    frames.map(|frame| Announce::parse(&frame[HEADER_BYTES..]).unwrap()).collect()
}

fn opened(bench: &Bench) -> Vec<(u32, u64)> {
    let frames = bench.for_all().filter(|frame| kind(frame) == Kind::EpochOpen);
    let opens = frames.map(|frame| EpochOpen::parse(&frame[HEADER_BYTES..]).unwrap());
    opens.map(|open| (open.epoch.get(), open.first_round.get())).collect()
}

#[test]
fn an_epoch_is_announced_ahead_dialled_meanwhile_and_opened_after_the_last_round() {
    let mut bench = Bench::running_as(&changing());
    bench.play(1..=2);
    assert!(announced(&bench).is_empty());
    bench.play(3..=3);
    let [announce] = announced(&bench)[..] else { panic!("announced three rounds before") };
    assert_eq!((announce.epoch.get(), announce.first_round.get(), announce.members.get()), (1, 7, N));
    assert_eq!(bench.kinds_for_all()[2..], [Kind::RoundEnd, Kind::Announce, Kind::Roster]);
    bench.dial_all(A, 1, 0..N);
    bench.play(4..=5);
    assert_eq!(bench.submit(A, 0, 7), Err(Code::EpochNotOpen), "that is the next epoch's");
    assert!(opened(&bench).is_empty());
    bench.play(6..=6);
    assert_eq!(opened(&bench), [(1, 7)]);
    assert_eq!(bench.group.epoch(), Epoch(1));
    bench.play(7..=7);
    let epochs: Vec<u32> = bench.tiles().map(|tile| tile.head().epoch.0).collect();
    assert_eq!(epochs[15..], [0, 0, 0, 1, 1, 1]);
    assert!(bench.tiles().all(|tile| tile.roster().epoch() == tile.head().epoch));
}

#[test]
fn old_keys_are_refused_by_name() {
    let mut bench = Bench::running_as(&changing());
    bench.play(1..=3);
    bench.dial_all(A, 1, 0..N);
    bench.play(4..=6);
    assert_eq!(bench.group.epoch(), Epoch(1));
    assert_eq!(bench.dial(A, 0, 3, 0, &[0; 17]), Err(Code::EpochWrong), "an old epoch");
    assert_eq!(bench.dial(A, 2, 3, 0, &[0; 17]), Err(Code::EpochWrong), "not announced");
    assert_eq!(bench.dial(A, 1, 3, 0, &[0; 17]), Err(Code::DialClosed));
    let seed = PartsHead::new(Epoch(0), MemberIndex(0), SlotIndex(0), Purpose::Confirmation);
    assert_eq!(bench.seed(&seed, &[0; 32]), Err(Code::EpochWrong));
}

#[test]
fn who_has_not_dialled_holds_the_next_epoch_up_until_the_time_limit_and_sends_nothing_in_it() {
    let mut bench = Bench::running_as(&changing());
    bench.play(1..=3);
    bench.dial_all(A, 1, 0..N - 1);
    bench.play(4..=6);
    bench.tick(bench.now + millis(4990));
    assert!(opened(&bench).is_empty());
    assert_eq!(bench.submit(A, 0, 7), Err(Code::EpochNotOpen));
    bench.tick(bench.now + millis(10));
    assert_eq!(opened(&bench), [(1, 7)]);
    assert_eq!(bench.submit(A, N - 1, 7), Err(Code::NotDialled));
}

#[test]
fn members_join_and_leave_at_the_next_announcement() {
    let mut bench = Bench::running_as(&changing());
    bench.join(B, [500, 1000].map(UserId).to_vec()).unwrap();
    assert_eq!(bench.kinds_to(B), [Kind::Welcome, Kind::Roster]);
    bench.leave(A, 3).unwrap();
    assert_eq!(bench.leave(B, 4), Err(Code::NotAttached));
    assert_eq!(bench.submit(B, 0, 1), Err(Code::NotAttached), "a candidate is no member");
    bench.play(1..=3);
    let [announce] = announced(&bench)[..] else { panic!("announced") };
    assert_eq!(announce.members.get(), N + 1);
    assert_eq!((bench.counted(Counted::Joined), bench.counted(Counted::Left)), (2, 1));
    let coming = bench.group.coming.as_ref().unwrap().roster.clone();
    assert_eq!(announce.roster_hash, *coming.hash());
    assert_eq!(coming.index_of(UserId(3)), None);
    assert_eq!(coming.index_of(UserId(4)), Some(MemberIndex(3)), "indices move up");
    assert_eq!(coming.index_of(UserId(1000)), Some(MemberIndex(N)));

    // Too late for this announcement: they wait for the one after it.
    bench.leave(A, 5).unwrap();
    bench.dial_all(A, 1, 0..N - 1);
    bench.dial_all(B, 1, N - 1..N + 1);
    bench.play(4..=6);
    assert_eq!(opened(&bench), [(1, 7)]);
    bench.read_all();
    bench.shares = vec![7; bench.group.shape.submit_body_bytes(N as usize + 1) - 16];
    assert_eq!(bench.submit(A, N - 1, 7), Err(Code::NotAttached), "that index is another's now");
    bench.submit(B, N - 1, 7).unwrap();
    bench.tick(bench.now + seconds(1));
    for round in 8..=9 {
        bench.submit(B, N, round).unwrap();
        bench.tick(bench.now + seconds(1));
        bench.read_all();
    }
    let second = announced(&bench)[1];
    assert_eq!((second.epoch.get(), second.first_round.get(), second.members.get()), (2, 13, N));
}

#[test]
fn there_is_no_room_beyond_the_limit_and_wishes_go_with_their_connection() {
    let mut bench = Bench::running_as(&changing());
    bench.join(B, [500, 501, 502].map(UserId).to_vec()).unwrap();
    assert_eq!(bench.codes_to(B), [Code::GroupFull]);
    assert_eq!(bench.group.seats.joins.len(), 2);
    bench.group.detach(B, bench.now, &mut bench.out);
    assert!(bench.group.seats.joins.is_empty());
    let stranger = bench.attach(B, users(600..601)).unwrap_err();
    assert_eq!((stranger.code, stranger.sender), (Code::UserUnknown, 600));
}

#[test]
fn who_attaches_while_two_epochs_are_known_hears_of_both() {
    let mut bench = Bench::running_as(&changing());
    bench.play(1..=3);
    bench.dial_all(A, 1, 7..8);
    bench.attach(B, users(7..8)).unwrap();
    let told = bench.kinds_to(B);
    assert_eq!(
        told,
        [Kind::Welcome, Kind::Roster, Kind::Announce, Kind::Roster, Kind::Dialled, Kind::Dialled]
    );
    let wrong = bench.group.attach(A, Epoch(1), false, &users(0..1), bench.now, &mut bench.out);
    assert_eq!(wrong.unwrap_err().code, Code::HelloEpochWrong, "it does not run yet");
}

#[test]
fn a_dial_flood_is_refused_and_counts_anew_for_each_epoch() {
    let mut bench = Bench::running_as(&changing());
    let flood = |bench: &mut Bench, epoch| {
        (0..5 * N)
            .map(|_| bench.dial(A, epoch, 0, 9, &[]))
            .position(|dialled| dialled == Err(Code::DialFlood))
    };
    // One dial of each member was for the running epoch.
    assert_eq!(flood(&mut bench, 0), Some(3 * N as usize));
    bench.play(1..=3);
    assert_eq!(flood(&mut bench, 1), Some(MEMBER_DIALS_PER_SLOT_MAX as usize), "all of one member");
    bench.attach(B, users(0..2)).unwrap();
    assert_eq!(bench.dial(B, 1, 0, 0, &[0; 17]), Err(Code::DialFlood), "over another connection");
    assert_eq!(bench.dial(B, 1, 1, 0, &[0; 17]), Ok(()));
    for connection in 10..100 {
        bench.attach(ConnectionId(connection), users(2..3)).unwrap();
        let dialled = bench.dial(ConnectionId(connection), 1, 2, 9, &[]);
        let flood = connection >= 10 + MEMBER_DIALS_PER_SLOT_MAX;
        assert_eq!(dialled, Err(if flood { Code::DialFlood } else { Code::SlotOutOfRange }));
    }
}

#[test]
fn users_without_a_place_get_no_seat_and_one_answer() {
    let mut bench = Bench::running_as(&changing());
    let many = bench.join(B, users(0..N + 3)).unwrap_err();
    assert_eq!(many.code, Code::UsersTooMany, "more than any epoch has");
    bench.join(B, users(500..500 + N)).unwrap();
    assert_eq!(bench.codes_to(B), [Code::GroupFull], "once");
    assert_eq!(bench.group.attached(), N as usize + 2);
    assert_eq!(bench.group.seats.joins.len(), 2);
    bench.out.clear();
    for connection in 10..20 {
        bench.join(ConnectionId(connection), users(1000..1100)).unwrap();
        let Some(Output::Close(ConnectionId(closed), Code::GroupFull)) = bench.out.pop() else {
            panic!("it is closed")
        };
        assert_eq!((closed, bench.out.len()), (connection, 0));
    }
    assert_eq!(bench.group.attached(), N as usize + 2);
    // Who waits already keeps its place over a new connection.
    bench.join(ConnectionId(20), users(501..502)).unwrap();
    assert_eq!(bench.kinds_to(ConnectionId(20)), [Kind::Welcome, Kind::Roster]);
    assert!(bench.group.seats.joins.contains(&UserId(501)));
}

#[test]
fn the_time_to_dial_counts_from_the_announcement() {
    let mut bench = Bench::running_as(&changing());
    bench.play(1..=3);
    bench.dial_all(A, 1, 0..N - 1);
    bench.tick(millis(3000));
    bench.play(4..=6);
    bench.tick(millis(4990));
    assert!(opened(&bench).is_empty());
    bench.tick(millis(5000));
    assert_eq!(opened(&bench), [(1, 7)], "two seconds after the last round");
    bench.read_all();
    for round in 7..=9 {
        (0..N - 1).for_each(|sender| bench.submit(A, sender, round).unwrap());
        bench.read_all();
    }
    bench.dial_all(A, 2, 0..N - 1);
    bench.tick(seconds(20));
    for round in 10..=12 {
        assert_eq!(opened(&bench).len(), 1, "not before the old epoch ends");
        (0..N - 1).for_each(|sender| bench.submit(A, sender, round).unwrap());
        bench.read_all();
    }
    assert_eq!(opened(&bench).len(), 2);
}

#[test]
fn an_epoch_that_nobody_dials_is_given_up_by_name() {
    let mut bench = Bench::running_as(&changing());
    bench.play(1..=6);
    bench.out.clear();
    bench.tick(seconds(5));
    let told: Vec<Code> = bench.for_all().filter_map(|frame| code(frame)).collect();
    assert_eq!(told, [Code::EpochGivenUp]);
    bench.play(7..=8);
    assert_eq!(bench.group.epoch(), Epoch(0));
}

#[test]
fn a_late_member_is_waited_for_once_it_has_submitted() {
    let mut bench = Bench::running_as(&changing());
    bench.attach(B, users(0..1)).unwrap();
    bench.attach(A, users(1..N)).unwrap();
    // Everybody came after the epoch opened.
    bench.submit(B, 0, 1).unwrap();
    assert_eq!(bench.group.open_round(), RoundNumber(2), "nobody else is waited for");
    bench.submit(A, 1, 2).unwrap();
    assert_eq!(bench.group.open_round(), RoundNumber(2), "now member 0 is");
    bench.submit(B, 0, 2).unwrap();
    assert_eq!(bench.group.open_round(), RoundNumber(3));
}

#[test]
fn timed_rounds_are_sealed_at_multiples_of_the_interval() {
    let timed = GroupConfig { round_mode: RoundMode::Timed, interval_ms: 100, ..config(false, 1) };
    let shape = Shape::new(&timed, ServerSide::One).with_unix_at_zero(millis(1_030));
    let mut bench = Bench::of(shape, None);
    bench.attach(A, users(0..N)).unwrap();
    bench.dial_all(A, 0, 0..N);
    bench.play(1..=1);
    assert!(bench.deliveries().is_empty(), "not before the clock says so, though all are in");
    // Zero here is 1,030 ms there; the first seal leaves at least half an interval.
    bench.tick(millis(69));
    assert!(bench.deliveries().is_empty());
    bench.tick(millis(70));
    assert_eq!(bench.deliveries().len(), 3);
    bench.tick(millis(169));
    assert_eq!(bench.group.open_round(), RoundNumber(2));
    bench.tick(millis(170));
    assert_eq!(bench.group.open_round(), RoundNumber(3), "also when nobody submitted");
    assert_eq!(bench.deliveries()[3..], [(2, 0, 0, 0), (2, 1, 0, 0), (2, 2, 0, 0)]);
    bench.play(3..=3);
    bench.tick(millis(345));
    assert_eq!(bench.group.open_round(), RoundNumber(4), "late, and still once");
    bench.tick(millis(370));
    assert_eq!(bench.group.open_round(), RoundNumber(5), "back on the clock");
}

#[test]
fn one_to_many_is_not_dialled_and_goes_by_choice_words() {
    let chosen = GroupConfig {
        scheme: SchemeName::OneToMany,
        subgroups_max: 3,
        members: 5,
        epoch_rounds: 6,
        ..config(true, 2)
    };
    let mut bench = Bench::of(Shape::new(&chosen, ServerSide::One), None);
    bench.attach(A, users(0..4)).unwrap();
    assert!(bench.kinds_for_all().is_empty(), "one is missing");
    bench.attach(B, users(4..5)).unwrap();
    assert_eq!(bench.kinds_for_all(), [Kind::EpochOpen], "who attaches counts as dialled");
    assert_eq!(bench.dial(A, 0, 0, 0, &[0]), Err(Code::DialClosed));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut sent = Vec::new();
    for sender in 0..5_u32 {
        let words: Vec<u16> = (0..5).map(|_| rng.random_range(0..6)).collect();
        let mut shares: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut halves = vec![0; 2 * 6 * 64];
        rng.fill_bytes(&mut halves);
        shares.extend_from_slice(&halves);
        bench.shares = shares;
        let connection = if sender == 4 { B } else { A };
        if sender == 0 {
            bench.shares[2] = 6;
            assert_eq!(bench.submit(A, 0, 1), Err(Code::ChoiceOutOfRange));
            bench.shares[2] = words[1] as u8;
            bench.shares.pop();
            assert_eq!(bench.submit(A, 0, 1), Err(Code::LengthWrong));
            bench.shares.push(halves[halves.len() - 1]);
        }
        bench.submit(connection, sender, 1).unwrap();
        sent.push((words, halves));
    }
    let tiles: Vec<_> = bench.tiles().cloned().collect();
    assert_eq!(tiles.len(), 2);
    for (slot, tile) in tiles.iter().enumerate() {
        for user in 0..5 {
            let mut cells = vec![0; tile.user_bytes()];
            tile.gather(MemberIndex(user), 0, &mut cells);
            for (cell, (words, halves)) in cells.chunks(64).zip(&sent) {
                let half = usize::from(words[user as usize]);
                assert_eq!(cell, &halves[(slot * 6 + half) * 64..][..64]);
            }
        }
    }
}

#[test]
fn memory_is_what_the_sizes_say() {
    let of = |config: GroupConfig, side| Shape::new(&config, side);
    let shape = |members| of(GroupConfig { members, ..config(true, 1) }, ServerSide::Two);
    let senders = |members| shape(members).part_tile_senders(PartKind::Confirmation, members as usize);
    assert_eq!([10_000, 1_000, 65_536, MEMBERS_MIN].map(senders), [16, 64, 4, 64]);
    let keys = |epochs: u64| (epochs + 1) * 640 * 10 * 8;
    let dials = |epochs: u64| epochs * 640 * 2 * 16;
    let tiles = 7 * 10 * 128 * 64;
    let fetched = |bytes: u64| 2 * 640 * (16 << 10) + 640 * bytes;
    let parts = |bytes: u64| 6 * 64 * 640 * bytes + fetched(bytes);
    assert_eq!(shape(640).memory_bytes(), keys(1) + dials(1) + tiles + parts(64));
    let changing = GroupConfig { members: 640, epoch_rounds: 9, keys: true, ..config(true, 1) };
    let seeds = 2 * 640 * 3 * 32;
    assert_eq!(of(changing.clone(), ServerSide::Two).memory_bytes(), keys(2) + dials(2) + tiles + parts(96));
    let one = of(changing.clone(), ServerSide::One).memory_bytes();
    assert_eq!(one, keys(2) + dials(2) + tiles + parts(96) + seeds);
    let grows = GroupConfig { members: 2, members_max: 640, ..changing };
    assert_eq!(of(grows, ServerSide::One).memory_bytes(), one, "as many members as there may be");
    let chosen = GroupConfig { scheme: SchemeName::OneToMany, subgroups_max: 2, ..config(false, 1) };
    let chosen = of(GroupConfig { members: 640, ..chosen }, ServerSide::One).memory_bytes();
    assert_eq!(chosen, dials(1) + 7 * 10 * (64 * 4 * 64 + 640 * 64 * 2));
}
