//! Two linked servers and the wire between them.

use super::*;
use std::collections::VecDeque;
use twincast_protocol::wire::link::LinkFrame;

pub(super) const PEER_TIMEOUT: Duration = Duration::from_millis(300);

/// S1 and S2. Frames go over at once when they are pumped.
pub(super) struct Pair {
    pub(super) sides: [Bench; 2],
    pub(super) up: bool,
    /// Frames on their way to each side.
    pub(super) queues: [VecDeque<LinkFrame>; 2],
    /// Why the link was closed by a server.
    pub(super) closed: Vec<Code>,
    pub(super) now: Duration,
}

impl Pair {
    pub(super) fn new(config: &GroupConfig) -> Pair {
        let sides = ServerSide::BOTH.map(|side| {
            let parts_box = MemoryBox::of(1 << 30);
            Bench::of(Shape::new(config, side).with_link(PEER_TIMEOUT), parts_box)
        });
        let queues = [VecDeque::new(), VecDeque::new()];
        Pair { sides, up: false, queues, closed: Vec::new(), now: Duration::ZERO }
    }

    /// Linked, all members attached by `A` and dialled.
    pub(super) fn running(config: &GroupConfig) -> Pair {
        let mut pair = Pair::new(config);
        pair.connect();
        pair.attach(A, users(0..config.members));
        pair.dial_all(0, 0..config.members);
        pair.tick(pair.now);
        assert!(pair.sides.iter().all(|side| side.group.open_round() == RoundNumber::FIRST), "open on both");
        pair.clear();
        pair
    }

    pub(super) fn clear(&mut self) {
        self.sides.iter_mut().for_each(|side| side.out.clear());
    }

    pub(super) fn connect(&mut self) {
        let [one, two] = &self.sides;
        let standings = [two.group.standing(), one.group.standing()];
        self.connect_with(standings.map(Some));
    }

    pub(super) fn connect_with(&mut self, standings: [Option<LinkGroup>; 2]) {
        self.up = true;
        for (side, theirs) in self.sides.iter_mut().zip(standings) {
            side.group.link_up(theirs.as_ref(), self.now, &mut side.out).unwrap();
        }
    }

    pub(super) fn cut(&mut self) {
        self.collect();
        self.up = false;
        self.queues.iter_mut().for_each(VecDeque::clear);
        for side in &mut self.sides {
            side.group.link_down(self.now, &mut side.out);
        }
        self.collect();
    }

    /// Frames that servers said go onto the wire, if there is one.
    pub(super) fn collect(&mut self) {
        for (index, side) in self.sides.iter_mut().enumerate() {
            for said in side.out.extract_if(.., |output| matches!(output, Output::Peer(_))) {
                if let Output::Peer(frame) = said
                    && self.up
                {
                    self.queues[1 - index].push_back(frame);
                }
            }
        }
    }

    /// One frame reaches a side. Whoever finds nonsense in it closes the link.
    pub(super) fn deliver(&mut self, side: usize) -> bool {
        let Some(frame) = self.queues[side].pop_front() else { return false };
        let bench = &mut self.sides[side];
        if let Err(code) = bench.group.peer(frame, self.now, &mut bench.out) {
            self.closed.push(code);
            self.cut();
        }
        self.collect();
        true
    }

    /// Until nothing is on the wire.
    pub(super) fn pump(&mut self) {
        self.collect();
        while self.deliver(0) || self.deliver(1) {}
    }

    pub(super) fn tick(&mut self, now: Duration) {
        self.now = now;
        self.sides.iter_mut().for_each(|side| side.tick(now));
        self.pump();
        // What came over may be due.
        self.sides.iter_mut().for_each(|side| side.tick(now));
        self.pump();
    }

    /// Time passes in the steps of a server's clock.
    pub(super) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.tick(until.min(self.now + millis(10)));
        }
    }

    pub(super) fn attach(&mut self, connection: ConnectionId, users: Vec<UserId>) {
        self.sides.iter_mut().for_each(|side| side.attach(connection, users.clone()).unwrap());
        self.pump();
    }

    /// The same dials to both.
    pub(super) fn dial_all(&mut self, epoch: u32, senders: std::ops::Range<u32>) {
        for side in &mut self.sides {
            side.dial_id = u64::from(epoch) << 32 | u64::from(senders.start) << 8;
            side.dial_all(A, epoch, senders.clone());
        }
        self.tick(self.now);
    }

    pub(super) fn submit(&mut self, side: usize, sender: u32, round: u64) {
        self.sides[side].submit(A, sender, round).unwrap();
    }

    /// All members submit to both.
    pub(super) fn play(&mut self, rounds: std::ops::RangeInclusive<u64>) {
        for round in rounds {
            self.sides.iter_mut().for_each(|side| side.play(round..=round));
            self.pump();
        }
    }

    pub(super) fn epochs(&self) -> [u32; 2] {
        self.sides.each_ref().map(|side| side.group.epoch().0)
    }

    pub(super) fn rounds(&self) -> [u64; 2] {
        self.sides.each_ref().map(|side| side.group.open_round().0)
    }
}
