//! What a client sends does not show whom its users write to, whatever the servers do.

use super::model::{Lie, Mischief, World, id};
use super::{EVERY, LARGE, SHAPE, Shape};
use std::collections::HashMap;
use twincast_client::ClientError;
use twincast_protocol::accountable::turn::{fetchable, is_turn};
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide, UserId};
use twincast_protocol::wire::FetchHeaders;

/// Kinds and lengths.
type Frames = Vec<(u8, usize)>;

/// All that one server sees of a client: its frames, the alarms and what it asks for.
#[derive(Debug, PartialEq)]
struct Seen {
    /// By round: the frames of each connection, kinds and lengths.
    frames: Vec<Vec<(usize, Frames)>>,
    alarms: Vec<((u64, u32), bool)>,
    fetched: Vec<FetchHeaders>,
}

fn seen(shape: Shape, seed: u64, besides: &[UserId], lies: &[(ServerSide, Lie)]) -> [Seen; 2] {
    let mut world = World::accountable(shape, seed, besides, |_| ());
    let mut frames = [Vec::new(), Vec::new()];
    for round in 1..=8 {
        for (liar, lie) in lies.iter().filter(|(_, lie)| lie.round == round) {
            world.servers[liar.index()].books.lie = Some(*lie);
        }
        world.play_accountable(round);
        for (frames, server) in frames.iter_mut().zip(&mut world.servers) {
            let mut heard: Vec<_> = server.heard.drain().collect();
            heard.sort_unstable();
            frames.push(heard);
        }
    }
    let mut frames = frames.into_iter();
    world.servers.each_ref().map(|server| {
        let mut alarms: Vec<_> = server.alarms.iter().map(|(key, alarm)| (*key, *alarm)).collect();
        alarms.sort_unstable();
        Seen { frames: frames.next().unwrap(), alarms, fetched: server.books.fetched.clone() }
    })
}

#[test]
fn what_a_client_sends_and_when_is_the_same_whoever_its_recipients_are() {
    use Mischief::*;
    let everybody: Vec<UserId> = (0..5).map(id).collect();
    let lie = |round, sender, user, mischief| Lie { round, sender, user, mischief };
    for (seed, kinds) in
        (0..).zip([[Alter, Swap], [Withhold, NoHeaders], [Swap, Replay], [OtherDial, AlterInSilence]])
    {
        // A share for a recipient, and one that is for nobody in one of the two worlds.
        let lies = [
            (ServerSide::One, lie(2, 3, 4, kinds[0])),
            (ServerSide::Two, lie(3, 1, 0, kinds[1])),
            (ServerSide::One, lie(5, 0, 3, kinds[0])),
        ];
        let few = seen(SHAPE, seed, &[], &lies);
        let all = seen(SHAPE, seed, &everybody, &lies);
        assert!(few == all, "{kinds:?}: {few:?} and {all:?}");
        assert!(few[0].alarms.iter().any(|(_, alarm)| *alarm), "the lies are noticed");
        let quiet = seen(SHAPE, seed, &[], &[]);
        assert!(quiet[0].alarms.iter().all(|(_, alarm)| !alarm));
        // How much is asked for, and when, is not even changed by a lie.
        assert_eq!(few[1].frames, quiet[1].frames, "{kinds:?}");
    }
}

#[test]
fn every_member_asks_each_server_once_at_its_turn_and_never_else() {
    for (shape, seed) in [(SHAPE, 1), (LARGE, 2), (Shape { header_rounds: 1, ..SHAPE }, 3)] {
        let mut world = World::accountable(shape, seed, &[], |_| ());
        let every = shape.header_rounds;
        let mut tiles: HashMap<(u32, u32), usize> = HashMap::new();
        for round in (1..=3 * u64::from(EVERY)).map(RoundNumber) {
            if round.0 == 4 {
                world.servers[0].books.lie =
                    Some(Lie { round: 4, sender: 2, user: 1, mischief: Mischief::Alter });
            }
            world.play_accountable(round.0);
            let asked = world.servers.each_mut().map(|server| std::mem::take(&mut server.books.fetched));
            let [mut one, mut two] = asked;
            for fetched in [&mut one, &mut two] {
                fetched.sort_unstable_by_key(|fetch| fetch.user.get());
            }
            assert_eq!(one, two, "both servers are asked about the same");
            let turns = (0..shape.members).filter(|member| is_turn(round, MemberIndex(*member), every));
            let asks: Vec<u32> = one.iter().map(|fetch| fetch.user.get()).collect();
            assert_eq!(asks, turns.collect::<Vec<_>>(), "round {round}");
            for fetch in one {
                assert!(
                    fetchable(round, every).contains(&RoundNumber(fetch.round.get())),
                    "round {round}: {fetch:?}"
                );
                *tiles.entry((fetch.slot.get(), fetch.tile.get())).or_default() += 1;
            }
        }
        assert_eq!(tiles.len() as u32, shape.slots * shape.tiles(), "any tile is asked about: {tiles:?}");
    }
}

#[test]
fn a_new_client_signs_for_no_round_that_an_earlier_one_may_have_signed_for() {
    let mut world = World::accountable(SHAPE, 4, &[], |_| ());
    (1..=3).for_each(|round| world.play_accountable(round));
    // The one before it has signed for round 4, and the new one knows nothing of that.
    world.submit(4);
    let ids = world.players[0].ids.clone();
    let settings = world.accountable_settings();
    let position = world.join_with(ids, settings);
    world.settle();
    let client = &mut world.players[position].client;
    assert_eq!(client.round(), Some(RoundNumber(4)));
    assert_eq!(client.submit(), None, "rounds 4 and 5 may be signed for");
}

#[test]
fn a_user_that_cannot_sign_and_a_client_that_cannot_verify_take_no_part() {
    let mut world = World::new(SHAPE, 6);
    world.carry();
    let player = &mut world.players[0];
    let now = std::time::Duration::ZERO;
    assert_eq!(player.give(ServerSide::One, usize::MAX, now), Err(ClientError::Unpinned));

    let mut world = World::new(SHAPE, 6);
    let settings = world.accountable_settings();
    let ids = world.players[0].ids.clone();
    let position = world.join_with(ids.clone(), settings);
    let player = &mut world.players[position];
    player.workload.identities.remove(&ids[1]);
    world.carry_one(position, ServerSide::One);
    world.carry_one(position, ServerSide::Two);
    let player = &mut world.players[position];
    player.give_all(&mut world.rng, now).unwrap();
    let refused = player.client.outgoing(ServerSide::One, &mut world.rng, &mut player.workload);
    assert_eq!(refused.err(), Some(ClientError::Unsigned { user: ids[1] }));
}
