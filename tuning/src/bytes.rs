//! What clients and each server send each other, to the byte, frames included. The link between the servers is not in it.
//!
//! All of it is the load generator's [cost model](twincast_loadgen::cost), which runs compare with what passed their sockets.

use crate::group::{Delivery, Group};
use serde::{Deserialize, Serialize};
use twincast_loadgen::control::Flow;
use twincast_loadgen::cost;
use twincast_loadgen::plan::{ANSWER_FRAME_BYTES, Plan};
use twincast_protocol::wire::{Dial, HEADER_BYTES};

/// Bytes of one delivery. In lists of two, S1 comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bytes {
    /// HELLO and WELCOME, once.
    pub attach: Flow,
    /// Who the members of the first epoch are, and that it opens.
    pub members: Flow,
    /// Session keys or queries, once an epoch, and that they are in effect.
    pub dial: Flow,
    /// What the servers ask for of confirmations, at the least, once an epoch.
    pub grants: Flow,
    /// Bit confirmations, once an epoch.
    pub confirm: Flow,
    /// One round.
    pub round: Flow,
    /// Of that, the cells or answers that each server sends, without frames.
    pub round_payload_down: u64,
    /// What one member dials to each server.
    pub dial_up_of_a_member: u64,
}

impl Bytes {
    /// The bytes of a group with this delivery.
    ///
    /// # Errors
    /// A sentence: no broadcast frame has these bytes.
    pub fn of(delivery: Delivery, group: &Group) -> Result<Bytes, String> {
        let plan = plan(group, delivery);
        let model = cost::model(&plan, 0)?;
        let messages = u64::from(group.members) * u64::from(plan.messages_each());
        let dial_bytes = (HEADER_BYTES + size_of::<Dial>()) as u64 + u64::from(group.members).div_ceil(8);
        Ok(Bytes {
            attach: model.attach,
            members: model.members,
            dial: model.dial,
            grants: model.grants,
            confirm: model.confirm,
            round: model.round,
            round_payload_down: cost::strings(&plan)?.message_bytes_out[0] * messages,
            dial_up_of_a_member: u64::from(group.slots) * dial_bytes,
        })
    }

    /// The most that passes a server's link in one direction: of what it receives and sends, the same in both servers.
    #[must_use]
    pub fn most(of: [u64; 2]) -> u64 {
        of[0].max(of[1])
    }
}

/// The load generator's plan with these sizes.
fn plan(group: &Group, delivery: Delivery) -> Plan {
    let (frame_bytes, confirm) = match delivery {
        Delivery::Broadcast => (group.frame_bytes, group.confirm),
        Delivery::Answer => (ANSWER_FRAME_BYTES, false),
    };
    Plan {
        group: group.members,
        slots: group.slots,
        hosts: group.hosts,
        users_per_connection: group.users_per_connection,
        delivery,
        frame_bytes,
        confirm,
        ..Plan::default()
    }
}
