//! Epochs whose numbers are kept on a disk before they begin, and a disk that fails.

use super::linked::linked;
use super::pair::{PEER_TIMEOUT, Pair};
use super::*;
use std::cell::Cell;
use std::rc::Rc;

/// What a disk keeps, and how far it can.
#[derive(Clone, Debug)]
struct Disk {
    kept: Rc<Cell<u32>>,
    up_to: Rc<Cell<u32>>,
}

impl EpochKeeper for Disk {
    fn keep(&mut self, epoch: Epoch) -> bool {
        let good = epoch.0 <= self.up_to.get();
        if good {
            self.kept.set(self.kept.get().max(epoch.0));
        }
        good
    }
}

/// Epochs of six rounds at two servers that keep them, everybody in the first one.
fn running() -> (Pair, [Disk; 2]) {
    let config = GroupConfig { epoch_rounds: 6, announce_rounds: 3, ..linked() };
    let mut pair = Pair::running(&config);
    let disks = pair.sides.each_mut().map(|side| {
        let disk = Disk { kept: Rc::default(), up_to: Rc::new(Cell::new(u32::MAX)) };
        side.group.epoch_keeper = Some(Box::new(disk.clone()));
        disk
    });
    (pair, disks)
}

/// All members submit to both, and read what comes of it.
fn play(pair: &mut Pair, rounds: std::ops::RangeInclusive<u64>) {
    for round in rounds {
        pair.play(round..=round);
        pair.sides.iter_mut().for_each(Bench::read_all);
    }
}

#[test]
fn an_epoch_is_kept_before_anybody_is_told_of_it() {
    let (mut pair, disks) = running();
    for epoch in 1..=2 {
        let first = u64::from(epoch - 1) * 6 + 1;
        play(&mut pair, first..=first + 1);
        assert!(disks.iter().all(|disk| disk.kept.get() == epoch - 1), "epoch {epoch} is not announced yet");
        play(&mut pair, first + 2..=first + 2);
        for (side, disk) in pair.sides.iter().zip(&disks) {
            assert_eq!(side.group.coming.as_ref().map(|coming| coming.epoch().0), Some(epoch));
            assert_eq!(disk.kept.get(), epoch);
        }
        pair.dial_all(epoch, 0..N);
        play(&mut pair, first + 3..=first + 5);
        assert_eq!(pair.epochs(), [epoch; 2]);
    }
}

#[test]
fn the_epoch_that_runs_goes_on_where_the_next_one_cannot_be_kept() {
    for failing in 0..2 {
        let (mut pair, disks) = running();
        disks[failing].up_to.set(0);
        for round in 1..=20 {
            play(&mut pair, round..=round);
            // S1 may wait for an answer to its proposal.
            pair.wait(PEER_TIMEOUT + millis(10));
        }
        assert_eq!((pair.epochs(), pair.rounds()), ([0, 0], [21, 21]), "S{}", failing + 1);
        assert!(pair.closed.is_empty());
        let closed = |side: &Bench| side.out.iter().any(|output| matches!(output, Output::Close(..)));
        assert!(!pair.sides.iter().any(closed));
        // The disk is mended: epochs go on.
        disks[failing].up_to.set(u32::MAX);
        pair.clear();
        let mut round = 21;
        while pair.sides.iter().any(|side| side.group.coming.is_none()) {
            play(&mut pair, round..=round);
            pair.wait(PEER_TIMEOUT + millis(10));
            round += 1;
            assert!(round < 40, "S{}", failing + 1);
        }
    }
}

/// The other server is in an epoch far ahead, and no number beyond it can be kept: what was begun under a number that a
/// later start may have again must not be.
#[test]
fn a_group_that_can_keep_no_epoch_after_a_break_serves_nobody_and_harms_nobody() {
    let (mut pair, disks) = running();
    disks[0].up_to.set(50);
    play(&mut pair, 1..=2);
    pair.cut();
    pair.clear();
    let [one, two] = &pair.sides;
    let mut theirs = two.group.standing();
    theirs.epoch = 60.into();
    let standings = [Some(theirs), Some(one.group.standing())];
    pair.connect_with(standings);
    let one = &mut pair.sides[0];
    assert!(one.out.iter().any(|output| matches!(output, Output::Close(A, Code::ShuttingDown))));
    assert_eq!(one.attach(A, users(0..N)), Err(Refusal::of_form(Code::ShuttingDown)));
    assert_eq!(disks[0].kept.get(), 0);
    // Whatever the other server says of it, the link stays for other groups, over this connection and a later one.
    pair.wait(seconds(20));
    assert!(pair.closed.is_empty(), "{:?}", pair.closed);
    pair.cut();
    pair.connect();
    pair.wait(seconds(20));
    assert!(pair.closed.is_empty(), "{:?}", pair.closed);
    let one = &mut pair.sides[0];
    assert_eq!(one.attach(A, users(0..N)), Err(Refusal::of_form(Code::ShuttingDown)));
    assert!(one.group.is_drained());
}
