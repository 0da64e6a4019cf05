//! Rounds whose answers are in get their verdicts, and not before the next submissions are with both servers.
//!
//! Opening records and verifying signatures takes time that depends on what was read, and a server sees when a client
//! sends. So a round is read in the [`advance`](Client::advance) after the one that closed it, and only once everything
//! that the caller has submitted is made, and sent to both.

use crate::answers::Sums;
use crate::client::{Client, ClientSettings};
use crate::dials::Dial;
use crate::event::Event;
use crate::limits::{CLOSED_ROUNDS_MAX, QUERIES_READ_MAX};
use crate::observer::{Observer, User};
use crate::receiving::Round;
use crate::session::Session;
use crate::stream::Stream;
use rand::rngs::StdRng;
use rand::{CryptoRng, SeedableRng};
use std::collections::VecDeque;
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::answer::reader::{Reader, RoundContext, Target};
use twincast_protocol::ids::{MemberIndex, SlotIndex, UserId};
use twincast_protocol::receive::Verdict;
use zeroize::Zeroizing;

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

/// Whose records a query asks for. Wiped on drop.
struct Asks {
    /// Not where the dial is not in effect, or an earlier client's. What such a query gives decides nothing: a server
    /// that says nothing of a dial could tell by the alarm what it asks for.
    is_own: bool,
    /// The sender's index and number, if there is one.
    sender: Zeroizing<Option<[u32; 2]>>,
}

impl Asks {
    fn sender(&self) -> Option<(MemberIndex, UserId)> {
        self.sender.map(|[index, id]| (MemberIndex(index), UserId(id)))
    }
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
        let Some(number) = round.number else { return };
        let context = RoundContext { group: settings.group, epoch: session.epoch, round: number };
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
            let verdict = match (round.sums.servers_agree, sums.get(index)) {
                (Some(false), _) => Verdict::Tampered,
                (_, Some(sum)) if query.asks.is_own && self.take(round, query, sum, observer) => {
                    pushed.push(query);
                    continue;
                }
                _ => Verdict::Incomplete,
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
        round: &ClosedRound,
        query: &Query,
        sum: &[u8; RECORD_BYTES],
        observer: &mut impl Observer,
    ) -> bool {
        let target = match query.asks.sender() {
            Some((sender, id)) => {
                let Some(known) = observer.known(round.context.epoch, query.user, id) else { return false };
                let (absent, verifying) = (round.sums.is_absent(sender), known.verifying);
                Some(Target { sender, absent, verifying, readers: known.readers })
            }
            None => None,
        };
        self.reader.push(&round.context, target.as_ref(), [sum, &NOTHING]);
        true
    }
}

impl Client {
    /// Whether rounds that are closed may be read.
    pub(crate) fn may_read_closed(&self) -> bool {
        let waiting = self.closed_rounds.rounds.len();
        // Nothing is sent any more on a connection that is closed.
        let is_sent = |stream: &Stream| stream.closed || stream.is_sent();
        let all_sent = self.submissions.is_empty() && self.streams.iter().all(is_sent);
        // A caller that does not send what it submitted gets its verdicts all the same, late.
        waiting > CLOSED_ROUNDS_MAX || waiting > 0 && all_sent
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
        let asks = |dial: &Dial| {
            let sender = dial.recipient().filter(|_| dial.is_own());
            let sender = sender.map(|member| [member.0, self.roster[member.0 as usize].0]);
            Asks { is_own: dial.is_own(), sender: Zeroizing::new(sender) }
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
        let sender = self.asks.sender().map(|(_, id)| id);
        observer.answer(context.round, self.user, self.slot, sender, verdict);
    }
}
