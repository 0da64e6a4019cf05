//! Readers who take too little: they never hold up a round, are closed with a reason where they are few, and cost a
//! round where they are many. Nobody who reads is harmed, and nobody who reads slowly but steadily is closed.

mod common;

use common::client::{error_frame, hello_frame_for, kind};
use common::model::{confirm_frame, leave_frame, skipped_frame};
use common::{Client, End, NEVER_MS, Party, TestServer, config, count, group, wait_until};
use std::time::Duration;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{Code, EPOCH_ANY, Kind};
use twincast_server::config::GroupConfig;

/// 800 members: 600 on a connection that reads, and 200 with a connection each that stop reading. The rounds of the
/// 600 go on, to the last byte, while the 200 stall, while they are closed, and after.
#[test]
fn two_hundred_who_stop_reading_harm_nobody_and_are_closed() {
    let mut config = config(vec![group(1, 800)]);
    // Long enough for all to come and dial.
    config.limits.reader_timeout_ms = 1_000;
    let group = config.groups[0].clone();
    let server = TestServer::start(config);
    let mut party = Party::attach(server.address(), &group, [(0..600).collect()], 1);
    for member in 600..800 {
        party.join_over(Client::connect_narrow(server.address()), vec![member]);
    }
    party.dial();
    party.expect_open();
    // Two rounds of what a connection is sent fill its sockets. More than two and the 200 would lag, too.
    for round in 1..4 {
        for seat in 0..party.seats.len() {
            let users = party.seats[seat].users.clone();
            let frames: Vec<u8> = users.iter().flat_map(|&user| party.model.submit(round, user)).collect();
            // One that stalled may be closed before it submits: then it has not.
            let sent = party.seats[seat].client.send_if_open(&frames);
            assert!(sent || seat > 0);
        }
        expect_whoever_is_present(&mut party, round, 600);
    }
    wait_until("the close of all who stall", || server.counters().slow_readers_closed == 200);
    server.wait_for_connections(1);
    for round in 4..7 {
        party.submit_seat(round, 0);
        party.expect_seat(round, 0);
        assert_eq!(party.model.senders(round), 600);
    }
    assert_eq!(count(&server.metrics().rounds_skipped), 0);
    assert_eq!(count(&server.metrics().rounds_sealed), 6);
}

/// The first connection gets the round. Members from `optional` on may be missing, and then the model forgets them.
fn expect_whoever_is_present(party: &mut Party, round: u64, optional: u32) {
    let mut frames = Vec::new();
    loop {
        let frame = party.seats[0].client.frame("a round");
        if kind(&frame) == Kind::RoundEnd {
            break frames.push(frame);
        }
        let first = 64 * frames.len() as u32;
        let present = common::party::present(&frame);
        for member in (first..first + 64).filter(|&member| (optional..800).contains(&member)) {
            if present >> (member - first) & 1 == 0 {
                party.model.forget(round, member);
            }
        }
        frames.push(frame);
    }
    let expected = party.model.round(round, &party.seats[0].users);
    assert_eq!(frames.len(), expected.len());
    for (frame, expected) in frames.iter().zip(&expected) {
        common::client::same(frame, expected, "a round beside stalled readers");
    }
}

/// Rounds large enough that a narrow connection holds less than three of them: 10 members, 41 kB a user.
fn large() -> GroupConfig {
    GroupConfig { frame_bytes: 4_096, ..group(1, 10) }
}

/// One user of ten lags: it is closed and told why. The others get every round, and none is left out.
#[test]
fn a_few_who_lag_more_than_two_rounds_are_closed_and_told_so() {
    let server = TestServer::start(config(vec![large()]));
    let mut party = Party::attach(server.address(), &large(), [(0..5).collect(), (5..9).collect()], 1);
    party.join_over(Client::connect_narrow(server.address()), vec![9]);
    party.dial();
    party.expect_open();
    let mut round = 0;
    while server.counters().slow_readers_closed == 0 {
        round += 1;
        assert!(round < 30, "nobody was found to lag");
        party.submit(round);
        party.expect_seat(round, 0);
        party.expect_seat(round, 1);
    }
    assert!(round > 3, "closed in round {round}, when nobody can be more than two behind");
    // It is told, behind whole frames, although it goes on sending.
    let mut lagging = party.take(2);
    for slot in 0..40 {
        lagging.send_if_open(&confirm_frame(0x03, 0, 9, slot, &[0; 32]));
    }
    let (end, last) = lagging.drain();
    assert_eq!(end, End::Whole);
    let slow_reader = error_frame(Code::SlowReader, u32::MAX, u32::MAX, 0);
    common::client::same(&last.expect("a frame"), &slow_reader, "the last frame of one that lags");
    drop(lagging);
    server.wait_for_connections(2);
    for round in round + 1..round + 4 {
        party.play(round);
    }
    assert_eq!(count(&server.metrics().rounds_skipped), 0);
    assert_eq!(server.counters().slow_readers_closed, 1);
}

/// The same with one that reads all the time, but too slowly.
#[test]
fn one_that_trickles_is_closed_when_it_lags_and_not_before() {
    let mut config = config(vec![large()]);
    config.limits.reader_timeout_ms = 2_000;
    let server = TestServer::start(config);
    let mut party = Party::attach(server.address(), &large(), [(0..9).collect()], 1);
    party.join_over(Client::connect_narrow(server.address()), vec![9]);
    party.dial();
    party.expect_open();
    let mut round = 0;
    while server.counters().slow_readers_closed == 0 {
        round += 1;
        assert!(round < 100, "nobody was found to lag");
        party.submit(round);
        party.expect_seat(round, 0);
        let read = party.seats[1].client.trickle(4_096).expect("it is not reset");
        assert!(read > 0, "the stream ended in round {round}");
    }
    let (end, last) = party.take(1).drain();
    assert_eq!((end, kind(&last.expect("a frame"))), (End::Whole, Kind::Error));
    assert_eq!(count(&server.metrics().rounds_skipped), 0);
}

/// A user who only asks to become one of the members, with as many numbers as there is room for, and reads nothing: it
/// is closed, and costs the members no round.
#[test]
fn who_is_no_member_and_lags_is_closed_whatever_it_says() {
    let shape = GroupConfig { members_max: 40, ..group(1, 10) };
    let server = TestServer::start(config(vec![shape.clone()]));
    let mut party = Party::attach(server.address(), &shape, [(0..10).collect()], 1);
    party.dial();
    party.expect_open();
    let mut stranger = Client::connect_narrow(server.address());
    let many: Vec<u32> = (1_000..1_030).collect();
    stranger.send(&hello_frame_for(ServerSide::One, 1, EPOCH_ANY, true, &many));
    // More answers than its sockets hold: what belongs to a round waits behind them.
    let answers = 4_000;
    (0..answers).for_each(|_| stranger.send(&leave_frame(0)));
    wait_until("all answers", || server.metrics().refusals(Code::NotAttached) == answers);
    let mut round = 0;
    while server.counters().slow_readers_closed == 0 {
        round += 1;
        assert!(round < 30, "it was not found to lag");
        party.play(round);
    }
    assert!(round > 3, "closed in round {round}");
    server.wait_for_connections(1);
    (round + 1..round + 9).for_each(|round| party.play(round));
    assert_eq!(count(&server.metrics().rounds_skipped), 0);
}

/// More than a quarter lags: rounds are left out, nobody is closed, and it goes on as soon as they read again.
#[test]
fn where_many_lag_rounds_are_left_out_and_nobody_is_closed() {
    let server = TestServer::start(config(vec![large()]));
    let mut party = Party::attach(server.address(), &large(), [(0..6).collect()], 1);
    for member in 6..10 {
        party.join_over(Client::connect_narrow(server.address()), vec![member]);
    }
    party.dial();
    party.expect_open();
    let mut played: Vec<bool> = Vec::new();
    // Far more rounds than there are buffers for.
    while played.len() < 40 {
        let round = played.len() as u64 + 1;
        party.submit(round);
        played.push(party.expect_or_skipped(round, 0));
        if played.iter().filter(|&&played| !played).count() == 1 {
            // At once, as soon as it is known that many lag, and not only when there is no room any more.
            assert_eq!(server.metrics().refusals(Code::RoundSkipped), 0, "{played:?}");
        }
    }
    let skipped = played.iter().filter(|&&played| !played).count() as u64;
    assert!(skipped > 1, "{played:?}");
    // The next one may be left out already.
    let counted = count(&server.metrics().rounds_skipped);
    assert!((skipped..=skipped + 1).contains(&counted), "{counted} counted: {played:?}");
    assert_eq!(server.counters().slow_readers_closed, 0);
    // Those who lag read on: they get the same rounds, whole, and the same gaps.
    for seat in 1..party.seats.len() {
        for (round, &played) in (1..).zip(&played) {
            assert_eq!(party.expect_or_skipped(round, seat), played, "round {round} at {seat}");
        }
    }
    // Nobody lags any more, which the server sees when a round ends. A further one may be left out until then.
    let mut round = played.len() as u64;
    let mut whole = 0;
    while whole < 3 {
        round += 1;
        assert!(round < 50, "rounds are left out although nobody lags");
        party.submit(round);
        let all: Vec<bool> =
            (0..party.seats.len()).map(|seat| party.expect_or_skipped(round, seat)).collect();
        assert!(all.iter().all(|&got| got == all[0]), "round {round}: {all:?}");
        whole = if all[0] { whole + 1 } else { 0 };
    }
    assert_eq!(count(&server.metrics().connections), 5);
    assert_eq!(server.counters().slow_readers_closed, 0);
}

/// A submission for a round that has no room is refused by name, and the round is left out.
#[test]
fn a_submission_for_a_round_that_is_left_out_is_refused() {
    let server = TestServer::start(config(vec![large()]));
    let mut party = Party::attach(server.address(), &large(), [(0..6).collect()], 1);
    for member in 6..10 {
        party.join_over(Client::connect_narrow(server.address()), vec![member]);
    }
    party.dial();
    party.expect_open();
    let mut refused: Vec<(u32, u64)> = Vec::new();
    let mut skipped: Vec<u64> = Vec::new();
    for round in 1..40 {
        party.submit(round);
        loop {
            let frame = party.seats[0].client.frame("a round");
            match kind(&frame) {
                Kind::Error => {
                    let concerned = u64::from_le_bytes(*frame[8..].first_chunk().unwrap());
                    let sender = u32::from_le_bytes(*frame[16..].first_chunk().unwrap());
                    assert!(sender < 6);
                    // The one where the round is left out at once, the other where it has no room.
                    let sealed = error_frame(Code::RoundSealed, sender, u32::MAX, concerned);
                    if frame != sealed {
                        let expected = error_frame(Code::RoundSkipped, sender, u32::MAX, concerned);
                        common::client::same(&frame, &expected, "a submission without room");
                        refused.push((sender, concerned));
                    }
                }
                Kind::RoundEnd => break,
                Kind::RoundSkipped => {
                    assert_eq!(frame, skipped_frame(round));
                    skipped.push(round);
                    break;
                }
                _ => {}
            }
        }
    }
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|(_, round)| skipped.contains(round)), "{refused:?} {skipped:?}");
    assert!(server.metrics().refusals(Code::RoundSkipped) >= refused.len() as u64);
}

/// One that takes no byte for the time limit is closed, also where it is behind by less than a round.
#[test]
fn one_that_acknowledges_nothing_is_closed_at_the_time_limit() {
    let group = GroupConfig { frame_bytes: 65_536, ..group(1, 10) };
    let mut config = config(vec![group.clone()]);
    config.limits.reader_timeout_ms = 300;
    let server = TestServer::start(config);
    let mut party = Party::attach(server.address(), &group, [(0..9).collect()], 1);
    party.join_over(Client::connect_narrow(server.address()), vec![9]);
    party.dial();
    party.expect_open();
    party.submit(1);
    party.expect_seat(1, 0);
    wait_until("the close", || server.counters().slow_readers_closed == 1);
    server.wait_for_connections(1);
    drop(party.take(1));
    for round in 2..4 {
        party.play(round);
    }
}

/// It takes a little all the time, for several time limits, and so little that the server's socket never has room
/// for more: that it acknowledges bytes is all that speaks for it.
#[test]
fn one_that_reads_slowly_but_steadily_is_not_closed() {
    let group = GroupConfig { frame_bytes: 65_536, ..group(1, 10) };
    let mut config = config(vec![group.clone()]);
    config.limits.reader_timeout_ms = 700;
    let server = TestServer::start(config);
    let mut party = Party::attach(server.address(), &group, [(0..2).collect()], 1);
    party.join_over(Client::connect_with_small_window(server.address()), (2..10).collect());
    party.dial();
    party.expect_open();
    party.submit(1);
    party.expect_seat(1, 0);
    // 5.2 MB, of which the sockets hold about 3; there is room for more when a third of that is gone.
    for _ in 0..100 {
        assert!(party.seats[1].client.trickle(4_096).expect("it is not reset") > 0);
        std::thread::sleep(Duration::from_millis(20));
    }
    party.expect_seat(1, 1);
    assert_eq!(server.counters().slow_readers_closed, 0);
    party.play(2);
}

/// Answers pile up for one that asks and does not read: it is closed, and the others play on.
#[test]
fn one_that_does_not_read_the_answers_to_what_it_sends_is_closed() {
    let server = TestServer::start(config(vec![group(1, 4)]));
    let mut party = Party::attach(server.address(), &group(1, 4), [vec![0, 1], vec![2]], 1);
    party.join_over(Client::connect_narrow(server.address()), vec![3]);
    party.dial();
    party.expect_open();
    party.play(1);
    let mut asking = party.take(2);
    let frames: Vec<u8> = (0..1_000).flat_map(|_| confirm_frame(0x03, 0, 3, 0, &[1; 32])).collect();
    for _ in 0..100 {
        if server.counters().slow_readers_closed > 0 || !asking.send_if_open(&frames) {
            break;
        }
    }
    wait_until("the close", || server.counters().slow_readers_closed == 1);
    let (end, last) = asking.drain();
    assert_eq!(end, End::Whole);
    let slow_reader = error_frame(Code::SlowReader, u32::MAX, u32::MAX, 0);
    common::client::same(&last.expect("a frame"), &slow_reader, "the last frame");
    server.wait_for_connections(2);
    party.play(2);
}

/// A stalled reader holds confirmations up until it is closed, and not longer.
#[test]
fn one_that_stops_reading_its_confirmations_is_closed_and_the_epoch_opens() {
    // Each user gets 8 kB of parts for each of 32 slots: more than a connection holds that nobody reads.
    let group = GroupConfig { confirm: true, slots: 32, round_timeout_ms: NEVER_MS, ..group(1, 130) };
    let mut config = config(vec![group.clone()]);
    config.limits.reader_timeout_ms = 500;
    let server = TestServer::start(config);
    let mut party = Party::attach(server.address(), &group, [(0..129).collect()], 1);
    party.join_over(Client::connect_narrow(server.address()), vec![129]);
    party.dial();
    for slot in 0..32 {
        for seat in 0..2 {
            party.confirm_seat(seat, slot, 0..130, &[]);
        }
    }
    loop {
        if kind(&party.seats[0].client.frame("the epoch's opening")) == Kind::EpochOpen {
            break;
        }
    }
    wait_until("the close", || server.counters().slow_readers_closed == 1);
    drop(party.take(1));
    server.wait_for_connections(1);
    party.play(1);
}
