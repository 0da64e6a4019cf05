//! Accountable groups: whoever lies is shown to lie by what the client makes of it, and nobody else is.

#[path = "../model/mod.rs"]
mod model;

mod bad_form;
mod epochs;
mod senders;
mod servers;
mod waiting;
mod what_servers_see;

use model::{SMALL, Shape, World, server_key};
use twincast_protocol::accountable::blame::{Verdict, blame};
use twincast_protocol::accountable::evidence::{Case, Evidence};
use twincast_protocol::ids::{MemberIndex, ServerSide, UserId};

/// Rounds from one turn of a member to the next.
const EVERY: u32 = 3;
/// Five members who each write to themselves and to the next.
const SHAPE: Shape = Shape { header_rounds: EVERY, ..SMALL };
/// More than a tile, and two slots.
const LARGE: Shape = Shape { members: 70, slots: 2, confirm_tile_senders: 4, ..SHAPE };

/// All evidence: who has it, about whom, and what it says to somebody who has it from a file.
fn verdicts(world: &World) -> Vec<(MemberIndex, UserId, Verdict)> {
    let keys = ServerSide::BOTH.map(|side| server_key(side).verifying_key());
    let judge = |(user, evidence): &(MemberIndex, Evidence)| {
        let Case::Share(share) = &evidence.case else { panic!("{evidence:?}") };
        assert_eq!(evidence.servers, keys);
        let roster = &world.servers[0].rosters[&share.about.epoch.0];
        assert_eq!(share.about.recipient, roster[user.0 as usize]);
        (*user, share.about.sender, blame(evidence, &keys))
    };
    world.players.iter().flat_map(|player| player.record.evidence.iter().map(judge)).collect()
}
