//! Rounds whose answers are in get their verdicts, and not before the next submissions are made.
//!
//! Opening records and verifying signatures takes time that depends on what was read, and a server sees when a client
//! sends. So a round is read in the [`advance`](Client::advance) after the one that closed it, and only once nothing
//! that the caller has submitted is left to make.

use crate::answers::Sums;
use crate::client::{Client, ClientSettings};
use crate::dials::Dial;
use crate::event::Event;
use crate::limits::{CLOSED_ROUNDS_MAX, QUERIES_READ_MAX};
use crate::observer::{Observer, User};
use crate::receiving::Round;
use crate::session::Session;
use rand::rngs::StdRng;
use rand::{CryptoRng, SeedableRng};
use std::collections::VecDeque;
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::answer::reader::{Reader, RoundContext, Target};
use twincast_protocol::ids::{MemberIndex, SlotIndex, UserId};
use twincast_protocol::receive::Verdict;

/// What is left to add to a sum.
const NOTHING: [u8; RECORD_BYTES] = [0; RECORD_BYTES];

/// Rounds without verdicts, and what they are read with.
#[derive(Default)]
pub(crate) struct ClosedRounds {
    rounds: VecDeque<ClosedRound>,
    reader: Reader,
    /// Draws the coefficients of batch verification: they are no secret, but no server may foresee them.
    coefficients: Option<StdRng>,
}

struct ClosedRound {
    context: RoundContext,
    sums: Sums,
    queries: Vec<Query>,
}

/// One query of one user.
struct Query {
    user: User,
    slot: SlotIndex,
    asks: Asks,
}

/// Whose records a query asks for.
enum Asks {
    /// The dial is not in effect, or an earlier client's. What such a query gives decides nothing: a server that says
    /// nothing of a dial could tell by the alarm what it asks for.
    Unknown,
    Nobody,
    Sender(MemberIndex, UserId),
}

impl ClosedRounds {
    /// Seeds what verifies, once.
    pub(crate) fn seed(&mut self, rng: &mut impl CryptoRng) {
        self.coefficients.get_or_insert_with(|| StdRng::from_rng(rng));
    }

    /// Takes what came of a round. There are no verdicts where both servers left it out.
    pub(crate) fn push(
        &mut self,
        settings: &ClientSettings,
        session: &Session,
        round: &mut Round,
        left_out: bool,
    ) {
        let (Some(servers), Some(number)) = (settings.servers, round.number) else { return };
        let context = RoundContext { group: settings.group, epoch: session.epoch, round: number, servers };
        let queries = if left_out { Vec::new() } else { session.queries() };
        self.rounds.push_back(ClosedRound { context, sums: std::mem::take(&mut round.sums), queries });
    }

    /// Tells the verdicts on some queries of a round; `sums`: what both servers answered to them, as far as it came.
    fn read(
        &mut self,
        round: &ClosedRound,
        (queries, sums): (&[Query], &[[u8; RECORD_BYTES]]),
        alarms: &mut [bool],
        observer: &mut impl Observer,
    ) {
        let context = &round.context;
        let mut pushed = Vec::with_capacity(queries.len());
        for (index, query) in queries.iter().enumerate() {
            let verdict = match (round.sums.roots_agree, sums.get(index), &query.asks) {
                (Some(false), _, _) => Verdict::Tampered,
                (_, None, _) | (_, _, Asks::Unknown) => Verdict::Incomplete,
                (_, Some(sum), asks) => {
                    if self.take(context, query, asks, sum, observer) {
                        pushed.push(query);
                        continue;
                    }
                    Verdict::Tampered
                }
            };
            query.tell(context, verdict, alarms, observer);
        }
        // A client that has not dialled has not taken anything either.
        let Some(coefficients) = &mut self.coefficients else { return };
        self.reader.finish(true, coefficients, |index, verdict| {
            pushed[index].tell(context, verdict, alarms, observer);
        });
    }

    /// Has a sum verified with others; false where nothing is known of whom it asks for.
    fn take(
        &mut self,
        context: &RoundContext,
        query: &Query,
        asks: &Asks,
        sum: &[u8; RECORD_BYTES],
        observer: &mut impl Observer,
    ) -> bool {
        let target = match asks {
            Asks::Sender(sender, id) => match observer.known(context.epoch, query.user, *id) {
                Some(known) => {
                    Some(Target { sender: *sender, verifying: known.verifying, readers: known.readers })
                }
                None => return false,
            },
            Asks::Nobody | Asks::Unknown => None,
        };
        self.reader.push(context, target.as_ref(), [sum, &NOTHING]);
        true
    }
}

impl Client {
    /// Whether rounds that are closed may be read.
    pub(crate) fn may_read_closed(&self) -> bool {
        let waiting = self.closed_rounds.rounds.len();
        // A caller that does not ask for what it submitted gets its verdicts all the same, late.
        waiting > CLOSED_ROUNDS_MAX || waiting > 0 && self.submissions.is_empty()
    }

    /// Tells the verdicts on rounds that are closed, if it is time for them.
    pub(crate) fn read_closed(&mut self, observer: &mut impl Observer) {
        if !self.may_read_closed() {
            return;
        }
        let Client { closed_rounds, alarms, .. } = self;
        while let Some(round) = closed_rounds.rounds.pop_front() {
            for (batch, queries) in round.queries.chunks(QUERIES_READ_MAX).enumerate() {
                let sums = round.sums.records().get(batch * QUERIES_READ_MAX..).unwrap_or_default();
                closed_rounds.read(&round, (queries, sums), alarms, observer);
            }
            observer.event(Event::RoundRead { round: round.context.round });
        }
    }
}

impl Session {
    /// What its users ask for, slots ascending for each.
    fn queries(&self) -> Vec<Query> {
        let slots = self.dials.len().checked_div(self.users.len()).unwrap_or_default();
        let asks = |dial: &Dial| match dial.recipient {
            _ if !dial.is_own() => Asks::Unknown,
            None => Asks::Nobody,
            Some(member) => Asks::Sender(member, self.roster[member.0 as usize]),
        };
        let query = |(index, dial)| Query {
            user: self.users[index / slots],
            slot: SlotIndex((index % slots) as u32),
            asks: asks(dial),
        };
        self.dials.iter().enumerate().map(query).collect()
    }
}

impl Query {
    /// Tells its verdict; one that shows tampering, and no other, raises the user's alarm.
    fn tell(
        &self,
        context: &RoundContext,
        verdict: Verdict<'_>,
        alarms: &mut [bool],
        observer: &mut impl Observer,
    ) {
        alarms[self.user.position] |= verdict == Verdict::Tampered;
        let sender = match self.asks {
            Asks::Sender(_, id) => Some(id),
            Asks::Nobody | Asks::Unknown => None,
        };
        observer.answer(context.round, self.user, self.slot, sender, verdict);
    }
}
