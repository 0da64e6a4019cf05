//! CPU time of one round: what each server and each member does, in seconds of one core.
//!
//! The pieces are those of `PLAN.md`; a server's work is divided among its cores by whoever asks ([`crate::prediction`]).
//!
//! What passes a socket costs its bytes, and a small message's send and receive once for each connection and round: in groups where
//! everybody has a connection, that is most of it.

use crate::bytes::Bytes;
use crate::constants::Constants;
use crate::group::{Delivery, Group};
use serde::{Deserialize, Serialize};
use twincast_protocol::answer::RECORD_BYTES;

/// One server, one round, seconds of one core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerWork {
    /// Taking submissions from sockets: of the one front executor that has the group.
    pub receive_s: f64,
    /// Verifying records' signatures, and hashing records; 0 in broadcast.
    pub signatures_s: f64,
    /// The answer kernel; 0 in broadcast.
    pub kernel_s: f64,
    /// Copying cells or answers into buffers of the egress.
    pub gather_s: f64,
    /// Sending them.
    pub send_s: f64,
}

/// One member, one round, seconds of one core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientWork {
    /// Making shares, or sealing and signing a record.
    pub make_s: f64,
    /// Sending it to both servers.
    pub send_s: f64,
    /// Taking what both servers send from sockets.
    pub receive_s: f64,
    /// Decoding cells, or verifying and opening records.
    pub open_s: f64,
}

impl ServerWork {
    /// What a server does in a round.
    #[must_use]
    pub fn of(delivery: Delivery, group: &Group, bytes: &Bytes, constants: &Constants) -> ServerWork {
        let (n, connections) = (f64::from(group.members), group.connections() as f64);
        let queries = group.queries() as f64;
        let (signatures_s, kernel_s, gather_s) = match delivery {
            Delivery::Broadcast => (0.0, 0.0, gb(bytes.round_payload_down) / constants.gather_gb_per_s),
            Delivery::Answer => (
                n * (constants.verify_us_of(n) + constants.digest_us) / 1e6,
                kernel_gb(group) / constants.kernel(group.queries()).gb_per_s,
                queries * constants.answer_gather_ns / 1e9,
            ),
        };
        ServerWork {
            receive_s: connections * constants.server_receive_us / 1e6
                + gb(Bytes::most(bytes.round.up)) * constants.receive_cpu_s_per_gb,
            signatures_s,
            kernel_s,
            gather_s,
            send_s: connections * constants.server_send_us / 1e6
                + gb(Bytes::most(bytes.round.down)) * constants.send_cpu_s_per_gb,
        }
    }

    /// All of it.
    #[must_use]
    pub fn total_s(&self) -> f64 {
        self.before_s() + self.out_s()
    }

    /// What is done before the first byte goes out, and in an answer group before the round has answers.
    #[must_use]
    pub fn before_s(&self) -> f64 {
        self.receive_s + self.answering_s()
    }

    /// What answer threads do.
    #[must_use]
    pub fn answering_s(&self) -> f64 {
        self.signatures_s + self.kernel_s
    }

    /// What is done while bytes go out.
    #[must_use]
    pub fn out_s(&self) -> f64 {
        self.gather_s + self.send_s
    }
}

impl ClientWork {
    /// What a member does in a round; `decoded`: which part of the cells is decoded, 1 for a client that is one.
    #[must_use]
    pub fn of(
        delivery: Delivery,
        group: &Group,
        bytes: &Bytes,
        constants: &Constants,
        decoded: f64,
    ) -> ClientWork {
        let (n, slots) = (f64::from(group.members), f64::from(group.slots));
        let of_member = |of: [u64; 2]| (gb(of[0]) + gb(of[1])) / n;
        // A connection to each server, and what all of its members have of it.
        let of_connections = |us: f64| 2.0 * us / 1e6 * group.connections() as f64 / n;
        let (make_s, open_s) = match delivery {
            Delivery::Broadcast => {
                (slots * constants.split_us / 1e6, decoded * n * slots * constants.decode_ns / 1e9)
            }
            Delivery::Answer => (
                (constants.seal_us + constants.sign_us) / 1e6,
                decoded * slots * (constants.verify_us_of(group.queries_of_connection()) + constants.open_us)
                    / 1e6,
            ),
        };
        ClientWork {
            make_s,
            send_s: of_connections(constants.member_send_us)
                + of_member(bytes.round.up) * constants.send_cpu_s_per_gb,
            receive_s: of_connections(constants.member_receive_us)
                + of_member(bytes.round.down) * constants.receive_cpu_s_per_gb,
            open_s,
        }
    }

    /// All of it.
    #[must_use]
    pub fn total_s(&self) -> f64 {
        self.make_s + self.send_s + self.receive_s + self.open_s
    }
}

/// Logical work of the kernel in a round, 10^9 bytes: a record for each record of the table and each query.
#[must_use]
pub fn kernel_gb(group: &Group) -> f64 {
    f64::from(group.members) * group.queries() as f64 * RECORD_BYTES as f64 / 1e9
}

fn gb(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::tests::constants;

    /// By hand, with round figures, n = 10,000.
    #[test]
    fn each_piece_is_its_formula() {
        let group = Group { users_per_connection: 2_000, ..Group::new(10_000) };
        let constants = constants();
        let near = |is: f64, should: f64| assert!((is / should - 1.0).abs() < 2e-3, "{is} and not {should}");

        let bytes = Bytes::of(Delivery::Answer, &group).unwrap();
        let server = ServerWork::of(Delivery::Answer, &group, &bytes, &constants);
        near(server.signatures_s, 0.21);
        near(server.kernel_s, 35.2 / 200.0);
        near(server.gather_s, 500e-6);
        // Each of five machines has its members on one connection.
        near(server.receive_s, 3.76e-3 * 0.2 + 5.0 * 4e-6);
        near(server.send_s, 3.52e-3 * 0.1 + 5.0 * 8e-6);
        near(server.total_s(), 0.21 + 0.176 + 0.5e-3 + 0.772e-3 + 0.392e-3);
        let client = ClientWork::of(Delivery::Answer, &group, &bytes, &constants, 1.0);
        near(client.make_s, 10.5e-6);
        near(client.open_s, 20.5e-6);
        near(client.receive_s, 2.0 * (352e-9 * 0.2 + 5e-6 / 2_000.0));
        near(client.send_s, 2.0 * (376e-9 * 0.1 + 6e-6 / 2_000.0));

        let bytes = Bytes::of(Delivery::Broadcast, &group).unwrap();
        let server = ServerWork::of(Delivery::Broadcast, &group, &bytes, &constants);
        assert!(server.signatures_s.abs() + server.kernel_s.abs() < f64::EPSILON);
        near(server.gather_s, 33.6 / 20.0);
        near(server.send_s, 3.36);
        let client = ClientWork::of(Delivery::Broadcast, &group, &bytes, &constants, 0.5);
        near(client.open_s, 0.5 * 10_000.0 * 40e-9);
        near(client.receive_s, 2.0 * 3.36e-3 * 0.2);
    }

    /// Everybody on a connection of their own, and a batch of one record for each of them.
    #[test]
    fn a_connection_costs_its_messages_and_a_lone_reader_its_batch() {
        let (group, constants) = (Group::new(10_000), constants());
        let near = |is: f64, should: f64| assert!((is / should - 1.0).abs() < 1e-9, "{is} and not {should}");
        let bytes = Bytes::of(Delivery::Answer, &group).unwrap();
        let server = ServerWork::of(Delivery::Answer, &group, &bytes, &constants);
        near(server.receive_s, 10_000.0 * (4e-6 + 376e-9 * 0.2));
        near(server.send_s, 10_000.0 * (8e-6 + 424e-9 * 0.1));
        let client = ClientWork::of(Delivery::Answer, &group, &bytes, &constants, 1.0);
        near(client.open_s, 40.5e-6);
        near(client.send_s, 2.0 * (6e-6 + 376e-9 * 0.1));
        near(client.receive_s, 2.0 * (5e-6 + 424e-9 * 0.2));
        let many = Group { slots: 512, ..group };
        let bytes = Bytes::of(Delivery::Answer, &many).unwrap();
        near(ClientWork::of(Delivery::Answer, &many, &bytes, &constants, 1.0).open_s, 512.0 * 20.5e-6);
    }
}
