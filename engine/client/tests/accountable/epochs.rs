//! What did not decode in the last rounds of an epoch is asked about in the next one.

use super::model::{Lie, Mischief, World, id};
use super::{EVERY, SHAPE, verdicts};
use twincast_client::ClientSettings;
use twincast_protocol::accountable::blame::Verdict;
use twincast_protocol::accountable::turn::is_turn;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, UserId};
use twincast_protocol::wire::FetchHeaders;

/// The last round of the first epoch: no shorter one is allowed in an accountable group.
const LAST: u64 = 2 * EVERY as u64 + 2;

/// A life of two epochs, with a lie in the first one.
struct Life {
    world: World,
    first: Epoch,
    /// By server: what was asked after the first epoch, with the round after which it was.
    asked: [Vec<(u64, FetchHeaders)>; 2],
}

/// Plays the first epoch and a turn of everybody in the next one, of which somebody becomes a member: everybody has
/// another index in it, and other turns.
fn play(seed: u64, liar: ServerSide, lie: Lie) -> Life {
    let mut world = World::accountable(SHAPE, seed, &[], |_| ());
    world.servers[liar.index()].books.lie = Some(lie);
    let newcomer = UserId(1);
    let settings = ClientSettings { join: true, ..world.accountable_settings() };
    world.join_with(vec![newcomer], settings);
    world.settle();
    let first = world.epoch();
    (1..LAST).for_each(|round| world.play_accountable(round));
    let roster: Vec<UserId> = [newcomer].into_iter().chain((0..SHAPE.members).map(id)).collect();
    let next = world.announce(&roster, LAST + 1);
    world.play_accountable(LAST);
    world.servers.iter_mut().for_each(|server| server.books.fetched.clear());
    world.switch(next, LAST + 1);
    world.servers.iter().for_each(|server| server.check_trees());
    let mut asked = [Vec::new(), Vec::new()];
    for round in LAST + 1..=LAST + u64::from(EVERY) {
        world.play_accountable(round);
        for (asked, server) in asked.iter_mut().zip(&mut world.servers) {
            asked.extend(server.books.fetched.drain(..).map(|fetch| (round, fetch)));
        }
    }
    Life { world, first, asked }
}

#[test]
fn a_doubt_of_the_last_rounds_of_an_epoch_is_asked_about_in_the_next_one() {
    for (seed, liar, mischief) in [
        (1, ServerSide::One, Mischief::Alter),
        (2, ServerSide::Two, Mischief::Swap),
        (3, ServerSide::One, Mischief::Withhold),
        (4, ServerSide::Two, Mischief::OtherDial),
    ] {
        // Everybody whose turn does not come any more between the lie and the epoch's end.
        for (round, user) in (LAST + 1 - u64::from(EVERY)..=LAST).flat_map(|r| (0..5).map(move |u| (r, u))) {
            let turn = |round: u64| is_turn(RoundNumber(round), MemberIndex(user), EVERY);
            if (round..=LAST).any(turn) {
                continue;
            }
            let lie = Lie { round, sender: 3, user, mischief };
            let Life { world, first, asked } = play(seed, liar, lie);
            let verdicts = verdicts(&world);
            let [(who, sender, Verdict::Server(blamed, _))] = verdicts[..] else {
                panic!("{lie:?} of {liar}: {verdicts:?}")
            };
            assert_eq!((who, sender, blamed), (MemberIndex(user), id(3), liar), "{lie:?}");
            for asked in &asked {
                let about = |(_, fetch): &&(u64, FetchHeaders)| {
                    let place = (fetch.epoch.get(), fetch.round.get(), fetch.user.get());
                    place == (first.0, round, user)
                };
                let [(after, _)] = asked.iter().filter(about).collect::<Vec<_>>()[..] else {
                    panic!("{lie:?}: asked {asked:?}")
                };
                // At the turn that the user has in the new epoch, whose first member is new.
                assert!(is_turn(RoundNumber(*after), MemberIndex(user + 1), EVERY), "{lie:?}: after {after}");
                // Nobody asks more often for it.
                let mut turns: Vec<u64> = asked.iter().map(|(after, _)| *after).collect();
                turns.sort_unstable();
                let all = (LAST + 1..=LAST + u64::from(EVERY)).flat_map(|round| {
                    let turn = move |member: &u32| is_turn(RoundNumber(round), MemberIndex(*member), EVERY);
                    (0..6).filter(turn).map(move |_| round)
                });
                assert_eq!(turns, all.collect::<Vec<_>>(), "{lie:?}");
            }
        }
    }
}
