//! Two servers and a group's members at both.

use super::{Party, Permit, TestServer, config};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use twincast_protocol::ids::ServerSide;
use twincast_server::config::{Config, GroupConfig, LinkConfig};

/// How long a server waits for the other one's word, in tests that let it: short.
pub(crate) const PEER_TIMEOUT_MS: u64 = 300;

/// Two servers that are linked, or not.
pub(crate) struct Servers {
    /// S1 and S2. One that was stopped is none.
    pub(crate) both: [Option<TestServer>; 2],
    _permit: Permit,
}

impl Servers {
    /// Linked, with the same configuration but for what the sides need.
    pub(crate) fn linked(groups: Vec<GroupConfig>) -> Servers {
        Servers::linked_with(config(groups), |_| {})
    }

    /// The same, from `base`; `change` comes last.
    pub(crate) fn linked_with(base: Config, change: impl Fn(&mut Config)) -> Servers {
        let servers = Servers::start(base, change);
        for server in servers.both.iter().flatten() {
            super::wait_until("the link", || super::count(&server.metrics().link_up) == 1);
        }
        servers
    }

    /// Linked soon, or not at all.
    pub(crate) fn start(base: Config, change: impl Fn(&mut Config)) -> Servers {
        let permit = Permit::wait_for(2);
        let mut two = Config { side: 2, link: Some(s2_end()), ..base.clone() };
        change(&mut two);
        let two = TestServer::start_permitted(two);
        let address = two.link_address().expect("S2 listens");
        let mut one = Config { side: 1, link: Some(s1_end(address)), ..base };
        change(&mut one);
        let one = TestServer::start_permitted(one);
        Servers { both: [Some(one), Some(two)], _permit: permit }
    }

    pub(crate) fn get(&self, side: ServerSide) -> &TestServer {
        self.both[side.index()].as_ref().expect("it runs")
    }

    /// The same counter of both.
    pub(crate) fn counts(
        &self,
        counter: impl Fn(&twincast_server::metrics::Metrics) -> &std::sync::atomic::AtomicU64,
    ) -> [u64; 2] {
        ServerSide::BOTH.map(|side| counter(self.get(side).metrics()).load(Relaxed))
    }

    /// A party at each server, with these connections.
    pub(crate) fn parties(&self, group: &GroupConfig, sets: &[Vec<u32>], seed: u64) -> Pair {
        let parties = ServerSide::BOTH.map(|side| {
            let mut party = Party::new(self.get(side).address(), group, side, seed + side.index() as u64);
            for users in sets {
                party.join(users.clone());
            }
            party
        });
        Pair(parties)
    }
}

/// Where S2 listens.
pub(crate) fn s2_end() -> LinkConfig {
    let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let peer = listen.map(|address| address.ip());
    LinkConfig {
        listen,
        peer,
        connect: None,
        peer_verifying_key: None,
        peer_channel_key: None,
        peer_timeout_ms: PEER_TIMEOUT_MS,
    }
}

/// Where S1 connects.
pub(crate) fn s1_end(address: SocketAddr) -> LinkConfig {
    LinkConfig { listen: None, peer: None, connect: Some(address), ..s2_end() }
}

/// The members at S1 and at S2.
pub(crate) struct Pair(pub(crate) [Party; 2]);

impl Pair {
    pub(crate) fn each(&mut self, mut action: impl FnMut(&mut Party)) {
        for party in &mut self.0 {
            action(party);
        }
    }

    /// Every member dials every slot at both servers, and both say that it is effective.
    pub(crate) fn dial(&mut self) {
        for seat in 0..self.0[0].seats.len() {
            self.dial_seat(seat);
        }
    }

    /// The members of one pair of connections do.
    pub(crate) fn dial_seat(&mut self, seat: usize) {
        self.each(|party| party.send_dials(seat));
        self.each(|party| party.expect_dialled_sometime(seat));
    }

    /// All dial, and the epoch opens. The group has no parts.
    pub(crate) fn open(&mut self) {
        self.dial();
        self.each(Party::expect_open);
    }

    /// Does something about the epoch to come, at both.
    pub(crate) fn in_next(&mut self, action: impl FnOnce(&mut Pair)) {
        let swap = |pair: &mut Pair| {
            pair.each(|party| {
                std::mem::swap(&mut party.model, party.next.as_mut().expect("it is announced"));
            });
        };
        swap(self);
        action(self);
        swap(self);
    }

    pub(crate) fn submit(&mut self, round: u64) {
        self.each(|party| party.submit(round));
    }

    /// Everybody gets the round from both.
    pub(crate) fn expect(&mut self, round: u64) {
        self.each(|party| party.expect(round));
    }

    pub(crate) fn play(&mut self, round: u64) {
        self.submit(round);
        self.expect(round);
    }
}
