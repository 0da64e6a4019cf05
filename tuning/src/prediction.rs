//! One delivery: bytes, memory, CPU time and how long a round takes.
//!
//! Servers and clients on machines of their own:
//!
//! ```text
//! round = up / link + receive + answering / C + max(down / link, out / C)
//! ```
//!
//! where `receive` is what the front executor of the group does, which is one thread whatever C is, `answering` what answer threads
//! do before the first byte goes out, and `out` what fan-out threads do while bytes go out: with as many [`Threads`] of either
//! as there are cores. Broadcast streams
//! tiles while later ones fill, and answers begin as tiles are agreed on; neither overlap is counted. What clients do with what they
//! got comes after it, on each one's own machine.
//!
//! Everything on one machine: the CPU time of both servers and all members over its C cores, or the time on the link if that is
//! longer.

use crate::bytes::Bytes;
use crate::constants::Constants;
use crate::group::{Delivery, Group, Machine};
use crate::memory::Memory;
use crate::work::{ClientWork, ServerWork};
use serde::{Deserialize, Serialize};
use std::fmt;
use twincast_loadgen::net::goodput_bits_per_s;
use twincast_server::limits::{ANSWER_MEMBERS_MAX, MEMBERS_MAX};

/// The longest that a round may take on the link for a delivery to be of use, in seconds.
pub const LINK_S_MAX: f64 = 60.0;
/// The fastest link that there is to speak of, bits per second.
const FASTEST_LINK: u64 = 400_000_000_000;
/// The largest packets of it.
const FASTEST_LINK_MTU: u32 = 9_000;

/// Rounds that the list of members and the dial of an epoch may take on the link before it is told: the least notice that
/// members have of an epoch, and dial within, while rounds go on over the same link.
pub const EPOCH_ROUNDS_MAX: f64 = 2.0;

/// Threads that a server's configuration has to name for its cores to be used as they are here; its defaults are one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threads {
    /// `answer.threads`: none in broadcast.
    pub answer: u32,
    /// `fan_out.threads`.
    pub fan_out: u32,
    /// Front executors that have the group: one, however many there are.
    pub front: u32,
}

/// What a delivery costs, and how long its rounds take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Which.
    pub delivery: Delivery,
    /// What clients and servers send each other.
    pub bytes: Bytes,
    /// What a server sizes.
    pub memory: Memory,
    /// CPU of one server in a round.
    pub server: ServerWork,
    /// CPU of one member in a round.
    pub client: ClientWork,
    /// What each server's configuration has to say.
    pub threads: Threads,
    /// Times.
    pub times: Times,
    /// What takes the longest in a round.
    pub limit: Limit,
    /// Why it is of no use here, a sentence each; empty: it can be used.
    pub obstacles: Vec<String>,
    /// The most members that this program's server takes.
    pub members_max: u32,
}

/// Seconds; those of the link are none where its rate is not known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// All members' session keys or queries on a server's link, once an epoch.
    pub dial_link_s: Option<f64>,
    /// All confirmations on a server's link, once an epoch: the slower direction of the slower server.
    pub confirm_link_s: Option<f64>,
    /// The list of members to every connection on a server's link, once an epoch, and attaching.
    pub members_link_s: Option<f64>,
    /// All three, one after another.
    pub epoch_link_s: Option<f64>,
    /// Submissions of a round on a server's link.
    pub up_link_s: Option<f64>,
    /// Cells or answers of a round on a server's link.
    pub down_link_s: Option<f64>,
    /// Taking submissions, on the core of the one front executor that has the group.
    pub receive_s: f64,
    /// Verifying signatures on all cores.
    pub signatures_s: f64,
    /// The kernel on all cores.
    pub kernel_s: f64,
    /// Gathering and sending on all cores.
    pub out_s: f64,
    /// What the members of one client machine do in a round, on one core of it.
    pub host_s: f64,
    /// A round.
    pub round_s: f64,
}

/// What takes the longest in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Bytes on a server's link.
    Link,
    /// The answer kernel.
    Kernel,
    /// Signatures at servers.
    Signatures,
    /// Gathering and sending.
    Egress,
    /// Taking submissions from sockets.
    Ingress,
    /// The clients, where they share the machine.
    Clients,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Limit::Link => "the link",
            Limit::Kernel => "the answer kernel",
            Limit::Signatures => "verifying signatures",
            Limit::Egress => "gathering and sending",
            Limit::Ingress => "taking submissions",
            Limit::Clients => "the clients",
        })
    }
}

impl Prediction {
    /// What a group costs on a machine. `decoded`: which part of what arrives is decoded.
    ///
    /// # Errors
    /// A sentence: no broadcast frame has these bytes.
    pub fn of(
        delivery: Delivery,
        group: &Group,
        machine: &Machine,
        constants: &Constants,
        decoded: f64,
    ) -> Result<Prediction, String> {
        let bytes = Bytes::of(delivery, group)?;
        let memory = Memory::of(delivery, group);
        let server = ServerWork::of(delivery, group, &bytes, constants);
        let client = ClientWork::of(delivery, group, &bytes, constants, decoded);
        let cores = f64::from(machine.cores);
        let link = |of: [u64; 2]| machine.link_s(Bytes::most(of));
        let confirm_bytes = Bytes::most(bytes.confirm.up).max(Bytes::most(bytes.confirm.down));
        let members_bytes = Bytes::most((bytes.members + bytes.attach).down);
        let mut times = Times {
            dial_link_s: link(bytes.dial.up),
            confirm_link_s: machine.link_s(confirm_bytes),
            members_link_s: machine.link_s(members_bytes),
            epoch_link_s: machine.link_s(members_bytes + Bytes::most(bytes.dial.up) + confirm_bytes),
            up_link_s: link(bytes.round.up),
            down_link_s: link(bytes.round.down),
            receive_s: server.receive_s,
            signatures_s: server.signatures_s / cores,
            kernel_s: server.kernel_s / cores,
            out_s: server.out_s() / cores,
            host_s: client.total_s() * group.members_of_host() as f64,
            round_s: 0.0,
        };
        times.round_s = round(group, machine, &server, &client, &times);
        let limit = limit(group, machine, &server, &client, &times);
        let obstacles = obstacles(delivery, machine, &bytes, &memory);
        let members_max = members_max(delivery);
        let answer = if delivery == Delivery::Answer { machine.cores } else { 0 };
        let threads = Threads { answer, fan_out: machine.cores, front: 1 };
        Ok(Prediction {
            delivery,
            bytes,
            memory,
            server,
            client,
            threads,
            times,
            limit,
            obstacles,
            members_max,
        })
    }

    /// Rounds that an epoch's list of members, dial and confirmations take as long as on the link.
    #[must_use]
    pub fn epoch_rounds(&self) -> Option<f64> {
        self.times.epoch_link_s.map(|epoch_s| epoch_s / self.times.round_s)
    }

    /// Rounds' worth of bytes that each server sends clients of an epoch besides its rounds.
    #[must_use]
    pub fn epoch_bytes_rounds(&self) -> f64 {
        let Bytes { attach, members, dial, grants, confirm, round, .. } = &self.bytes;
        let all = [attach, members, dial, grants, confirm].map(|flow| Bytes::most(flow.down));
        all.iter().sum::<u64>() as f64 / Bytes::most(round.down) as f64
    }

    /// A sentence where an epoch's list of members or its dial takes longer than [`EPOCH_ROUNDS_MAX`] rounds.
    #[must_use]
    pub fn epoch_warning(&self) -> Option<String> {
        use crate::units::time;
        let Times { members_link_s, dial_link_s, round_s, .. } = self.times;
        let (list_s, dial_s) = (members_link_s?, dial_link_s?);
        (list_s.max(dial_s) > EPOCH_ROUNDS_MAX * round_s).then(|| {
            format!(
                "an epoch's list of members takes {} on the link and its dial {}, as long as {:.1} rounds of {}, and clients \
                 get as many bytes of it as of {:.1} rounds: let epochs last many times that, or put more members on a \
                 connection, each of which gets the whole list",
                time(list_s),
                time(dial_s),
                (list_s + dial_s) / round_s,
                self.delivery,
                self.epoch_bytes_rounds()
            )
        })
    }
}

/// The most members that this program's server takes.
#[must_use]
pub fn members_max(delivery: Delivery) -> u32 {
    match delivery {
        Delivery::Broadcast => MEMBERS_MAX,
        Delivery::Answer => ANSWER_MEMBERS_MAX,
    }
}

fn round(group: &Group, machine: &Machine, server: &ServerWork, client: &ClientWork, times: &Times) -> f64 {
    let cores = f64::from(machine.cores);
    let (up, down) = (times.up_link_s.unwrap_or(0.0), times.down_link_s.unwrap_or(0.0));
    if machine.everything {
        let all = 2.0 * server.total_s() + f64::from(group.members) * client.total_s();
        return (all / cores).max(server.receive_s).max(up + down);
    }
    up + server.receive_s + server.answering_s() / cores + down.max(times.out_s)
}

fn limit(group: &Group, machine: &Machine, server: &ServerWork, client: &ClientWork, times: &Times) -> Limit {
    let cores = f64::from(machine.cores);
    let servers = if machine.everything { 2.0 / cores } else { 1.0 / cores };
    let clients = f64::from(group.members) * client.total_s() / cores;
    let parts = [
        (Limit::Link, times.up_link_s.unwrap_or(0.0) + times.down_link_s.unwrap_or(0.0)),
        (Limit::Kernel, servers * server.kernel_s),
        (Limit::Signatures, servers * server.signatures_s),
        (Limit::Egress, servers * server.out_s()),
        // The fronts of both servers may each have a core.
        (Limit::Ingress, if machine.everything { servers.max(1.0) } else { 1.0 } * server.receive_s),
        (Limit::Clients, if machine.everything { clients } else { 0.0 }),
    ];
    let longest = parts.into_iter().max_by(|one, two| one.1.total_cmp(&two.1));
    longest.expect("a round has parts").0
}

fn obstacles(delivery: Delivery, machine: &Machine, bytes: &Bytes, memory: &Memory) -> Vec<String> {
    use crate::units::{memory as in_memory, time, traffic};
    let mut found = Vec::new();
    if memory.server_bytes > machine.memory_bytes {
        found.push(format!(
            "{delivery} takes {} of memory at a server, and there are {}",
            in_memory(memory.server_bytes),
            in_memory(machine.memory_bytes)
        ));
    }
    let down = Bytes::most(bytes.round.down);
    let fastest = down as f64 * 8.0 / goodput_bits_per_s(FASTEST_LINK, FASTEST_LINK_MTU);
    let here = machine.link_s(down).unwrap_or(0.0);
    if fastest > LINK_S_MAX {
        found.push(format!(
            "no link carries {delivery} in a minute: {} a round and server, {} even at 400 Gbit/s",
            traffic(down),
            time(fastest)
        ));
    } else if here > LINK_S_MAX {
        found.push(format!(
            "this link does not carry {delivery} in a minute: {} a round and server take {}",
            traffic(down),
            time(here)
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::tests::constants;
    use crate::group::DELIVERIES;
    use twincast_loadgen::net::LinkRate;

    fn machine(cores: u32, gbit: u64) -> Machine {
        let link = LinkRate::Rate(gbit * 1_000_000_000);
        Machine { cores, memory_bytes: 1 << 40, link, mtu: 1_500, everything: false }
    }

    fn predicted(delivery: Delivery, members: u32, machine: Machine) -> Prediction {
        Prediction::of(delivery, &Group::new(members), &machine, &constants(), 1.0).unwrap()
    }

    #[test]
    fn more_members_take_longer_and_more_of_a_machine_does_not() {
        for delivery in DELIVERIES {
            let mut before = 0.0;
            for members in [2, 64, 65, 1_000, 10_000, 65_536, 100_000, 1_000_000] {
                let one = predicted(delivery, members, machine(8, 10));
                assert!(one.times.round_s > before, "{delivery}, {members} members");
                before = one.times.round_s;
                let memory = one.memory.server_bytes;
                assert!(memory > one.memory.dialled_bytes, "{delivery}, {members}: {memory}");
                for better in [machine(16, 10), machine(8, 100), machine(64, 400)] {
                    let better = predicted(delivery, members, better);
                    assert!(better.times.round_s <= before, "{delivery}, {members} members");
                    assert_eq!((better.bytes, better.memory), (one.bytes, one.memory));
                }
            }
        }
    }

    #[test]
    fn the_kernel_is_divided_among_cores_and_nothing_is_lost() {
        let (one, many) = (
            predicted(Delivery::Answer, 10_000, machine(1, 10)),
            predicted(Delivery::Answer, 10_000, machine(48, 10)),
        );
        assert!((one.times.kernel_s / many.times.kernel_s - 48.0).abs() < 1e-9);
        assert!((one.times.kernel_s - 0.176).abs() < 1e-6, "{}", one.times.kernel_s);
        assert!((many.server.total_s() - one.server.total_s()).abs() < 1e-12);
        assert_eq!(one.limit, Limit::Signatures);
        assert_eq!(predicted(Delivery::Broadcast, 10_000, machine(48, 10)).limit, Limit::Link);
    }

    #[test]
    fn one_machine_for_everything_has_all_the_work() {
        for delivery in DELIVERIES {
            let apart = predicted(delivery, 1_000, machine(2, 400));
            let together = predicted(delivery, 1_000, Machine { everything: true, ..machine(2, 400) });
            let all = 2.0 * apart.server.total_s() + 1_000.0 * apart.client.total_s();
            assert!((together.times.round_s - all / 2.0).abs() < 1e-9, "{delivery}");
            // Each member verifies a record of its own, and has two connections.
            assert_eq!(together.limit, Limit::Clients, "{delivery}");
            let slow = Machine { everything: true, link: "1mbit".parse().unwrap(), ..machine(2, 1) };
            assert_eq!(predicted(delivery, 1_000, slow).limit, Limit::Link);
            let no_link = Machine { link: LinkRate::Loopback, ..slow };
            assert_eq!(predicted(delivery, 1_000, no_link).times.down_link_s, None);
        }
    }

    #[test]
    fn one_front_takes_all_submissions_and_the_other_threads_are_told() {
        let (few, many) = (
            predicted(Delivery::Answer, 100_000, machine(2, 100)),
            predicted(Delivery::Answer, 100_000, machine(48, 100)),
        );
        assert!((few.times.receive_s - many.times.receive_s).abs() < 1e-12);
        assert_eq!(many.threads, Threads { answer: 48, fan_out: 48, front: 1 });
        assert_eq!(predicted(Delivery::Broadcast, 100, machine(3, 1)).threads.answer, 0);
        let link_s = many.times.up_link_s.unwrap() + many.times.down_link_s.unwrap();
        assert!(many.times.round_s > many.server.receive_s + link_s);
        // Four microseconds a connection on one core, twenty a signature on 48.
        let million = predicted(Delivery::Answer, 1_000_000, machine(256, 400));
        assert_eq!(Limit::Kernel, predicted(Delivery::Answer, 1_000_000, machine(48, 400)).limit);
        assert!(million.times.receive_s > million.times.signatures_s);
    }

    #[test]
    fn an_epoch_that_takes_longer_than_rounds_is_told() {
        let ten = |users_per_connection, members| {
            let group = Group { users_per_connection, ..Group::new(members) };
            Prediction::of(Delivery::Answer, &group, &machine(8, 10), &constants(), 1.0).unwrap()
        };
        let alone = ten(1, 100_000);
        // The list has four bytes of each member, on each member's connection.
        let members_s = alone.times.members_link_s.unwrap();
        assert!((members_s / (4e10 * 8.0 / 9.415e9) - 1.0).abs() < 0.01, "{members_s}");
        let warning = alone.epoch_warning().unwrap();
        assert!(
            warning.contains("list of members takes 34.") && warning.contains("rounds of answer"),
            "{warning}"
        );
        let epoch_s = members_s + alone.times.dial_link_s.unwrap();
        assert!((alone.epoch_rounds().unwrap() * alone.times.round_s - epoch_s).abs() < 1e-9);
        // 4 n + 32 bytes of list and dial for 424 of a round, a member.
        assert!((alone.epoch_bytes_rounds() / (400_000.0 / 424.0) - 1.0).abs() < 0.01);
        assert_eq!(ten(512, 10_000).epoch_warning(), None);
        let unknown = Machine { link: LinkRate::Off, ..machine(8, 10) };
        assert_eq!(predicted(Delivery::Answer, 100_000, unknown).epoch_warning(), None);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let said = |delivery, members, machine| predicted(delivery, members, machine).obstacles.join("; ");
        assert_eq!(said(Delivery::Broadcast, 10_000, machine(8, 10)), "");
        let slow = said(Delivery::Broadcast, 10_000, machine(8, 1));
        assert!(slow.starts_with("this link does not carry broadcast in a minute: 33.7"), "{slow}");
        let million =
            said(Delivery::Broadcast, 1_000_000, Machine { memory_bytes: 64 << 30, ..machine(8, 100) });
        assert!(million.contains("no link carries broadcast in a minute"), "{million}");
        assert!(million.contains("of memory at a server, and there are 64.00 GiB"), "{million}");
        assert_eq!(said(Delivery::Answer, 1_000_000, machine(8, 10)), "");
    }
}
