//! Groups whose delivery is `answer`: whole groups of clients against two servers in memory.

mod coming_and_going;
mod lies;
#[path = "../model/mod.rs"]
mod model;
mod reading;
mod rounds;
mod what_servers_see;

use model::{ANSWERED, Heard, Server, Shape, World};
use std::collections::BTreeSet;
use twincast_protocol::ids::ServerSide;

const SHAPE: Shape = Shape { members: 70, slots: 3, ..ANSWERED };
const S1: ServerSide = ServerSide::One;
const S2: ServerSide = ServerSide::Two;

/// Members who raised an alarm in a round, by what both servers were told.
fn alarmed(world: &World, round: u64) -> Vec<u32> {
    let of = |server: &Server| -> BTreeSet<u32> {
        let alarms = server.alarms.iter().filter(|(key, alarm)| key.0 == round && **alarm);
        alarms.map(|((_, member), _)| *member).collect()
    };
    let [one, two] = world.servers.each_ref().map(of);
    assert_eq!(one, two, "both servers are told the same");
    one.into_iter().collect()
}

/// All verdicts on a round, by reader and query.
fn heard(world: &World, round: u64) -> Vec<((u32, u32), Heard)> {
    let mut heard: Vec<_> = world.players.iter().flat_map(|player| player.record.heard(round)).collect();
    heard.sort_by_key(|(key, _)| *key);
    heard
}

/// Readers with at least one query that gave this.
fn readers_of(heard: &[((u32, u32), Heard)], verdict: &Heard) -> Vec<u32> {
    let readers: BTreeSet<u32> =
        heard.iter().filter(|(_, heard)| heard == verdict).map(|((reader, _), _)| *reader).collect();
    readers.into_iter().collect()
}

/// The root that both servers have agreed on.
fn root_of(server: &Server, round: u64) -> [u8; 32] {
    let head = server.answers_from(round, &[], &server.table(round), |_, _| ());
    head[40..72].try_into().expect("a root")
}

/// Plays a round that nobody disturbs, and says who raised an alarm in it.
fn alarms_of_next_round(world: &mut World, round: u64) -> Vec<u32> {
    world.submit(round);
    alarmed(world, round)
}
