//! The users of one connection pair: what they make of what they hear, and in [`outbox`] what they say.

mod outbox;

use super::figures::{Shared, record};
use super::judge::{Answer, Judge};
use super::reading::Reading;
use crate::control::{Evidence, EvidencePiece, Totals};
use crate::plan::Plan;
use crate::workload::Workload;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use twincast_client::{Event, GroupSettings, Known, Messages, Observer, Tile, User};
use twincast_protocol::accountable;
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::receive::{Verdict, Verdicts};

/// One of so many decodings is timed, so that the clock does not show in what it measures.
const TIMED_ONE_IN: u32 = 16;

/// When the rounds of one group were planned on this host: in lockstep the first byte of the first submission of any of
/// its pairs, in open loop the schedule's instant.
#[derive(Debug, Default)]
pub(super) struct GroupClock {
    /// By round modulo their number; pairs of a group are never as far apart as that.
    planned: [Cell<(u64, Duration)>; 8],
}

impl GroupClock {
    /// The planned instant of a round; `now` if it has none yet.
    fn plan(&self, round: RoundNumber, now: Duration) -> Duration {
        let cell = &self.planned[round.0 as usize % self.planned.len()];
        if cell.get().0 != round.0 {
            cell.set((round.0, now));
        }
        cell.get().1
    }

    fn planned(&self, round: RoundNumber) -> Option<Duration> {
        let (planned, instant) = self.planned[round.0 as usize % self.planned.len()].get();
        (planned == round.0).then_some(instant)
    }
}

/// The users of one connection pair.
pub(super) struct Player {
    shared: Rc<Shared>,
    clock: Rc<GroupClock>,
    plan: Rc<Plan>,
    group: u32,
    pub(super) judge: Judge,
    /// The users, ascending, by the number that lasts.
    users: Vec<u32>,
    recipients: Vec<u32>,
    ids: Vec<UserId>,
    message: Vec<u8>,
    dealt: Vec<(u32, u32)>,
    deal: Vec<(UserId, Vec<u8>)>,
    /// What records are made and verified with, in answer delivery.
    reading: Option<Reading>,
    /// Both servers describe the group, as it was planned.
    pub(super) attached: bool,
    /// The last epoch of which every dial is in effect.
    dialled: Option<Epoch>,
    /// The epoch that is open, and the first of its rounds that this connection sees.
    pub(super) open: Option<(Epoch, RoundNumber)>,
    /// The last round that is over: all its verdicts are in.
    pub(super) closed: Option<RoundNumber>,
    /// The last round that is closed, and whether a server left it out. In answer delivery its verdicts come after that.
    delivered: Option<(RoundNumber, bool)>,
    /// The first round of the present order, and the first after it.
    pub(super) rounds: (u64, u64),
    /// For each user, when its submission was begun, by the round's parity; in open loop when the round was planned.
    begun: Vec<[Duration; 2]>,
    generating_since: Duration,
    /// When the last byte of a round's submissions was sent, by the round's parity.
    pub(super) submitted: [Option<Duration>; 2],
    /// The last round of which a cell was seen.
    heard: RoundNumber,
    decodings: u32,
    decoding_since: Option<Duration>,
    /// The last thing that each server refused.
    pub(super) refused: [Option<String>; 2],
    /// What users who have accounts prove that with, by position; nothing where anybody may be a user.
    pub(super) identities: Vec<SigningKey>,
    /// What the servers sign with, in an accountable group.
    pub(super) servers: Option<[VerifyingKey; 2]>,
    /// What the client said when the fault broke its connections.
    pub(super) broken: Option<String>,
    /// What was counted when the last round was over.
    counted: Totals,
    /// What the users got against servers and senders.
    pub(super) evidence: Evidence,
}

impl Player {
    pub(super) fn new(
        shared: Rc<Shared>,
        clock: Rc<GroupClock>,
        plan: Rc<Plan>,
        group: u32,
        users: &[u32],
        workload: Rc<Workload>,
        reading: Option<Reading>,
    ) -> Player {
        Player {
            judge: Judge::new(&plan, group, users.len(), workload),
            users: users.to_vec(),
            shared,
            clock,
            plan,
            group,
            recipients: Vec::new(),
            ids: Vec::new(),
            message: Vec::new(),
            dealt: Vec::new(),
            deal: Vec::new(),
            reading,
            attached: false,
            dialled: None,
            open: None,
            closed: None,
            delivered: None,
            rounds: (0, 0),
            begun: vec![[Duration::ZERO; 2]; users.len()],
            generating_since: Duration::ZERO,
            submitted: [None; 2],
            heard: RoundNumber::DIAL,
            decodings: 0,
            decoding_since: None,
            refused: [None, None],
            identities: Vec::new(),
            servers: None,
            broken: None,
            counted: Totals::default(),
            evidence: Evidence::default(),
        }
    }

    /// Plays these rounds next.
    pub(super) fn play(&mut self, first: u64, rounds: u32) {
        self.rounds = (first, first + u64::from(rounds));
        self.judge.reset();
        self.counted = Totals::default();
    }

    /// Whether a user of a group is on the connection.
    pub(super) fn plays_user(&self, group: u32, user: u32) -> bool {
        self.group == group && self.users.contains(&user)
    }

    /// The connections broke, as the plan's fault must have it: what was seen of the round that was open counts for nothing,
    /// and there are no more.
    pub(super) fn broke(&mut self, sentence: String) {
        self.broken = Some(sentence);
        self.judge.totals = self.counted;
        let next = self.closed.map_or(self.rounds.0, |closed| closed.next().0.max(self.rounds.0));
        self.shared.figures.borrow_mut().left((next - self.rounds.0) as usize);
        self.shared.wake_main();
    }

    /// Position of a round among those that were ordered.
    fn position(&self, round: RoundNumber) -> Option<usize> {
        (self.rounds.0..self.rounds.1).contains(&round.0).then(|| (round.0 - self.rounds.0) as usize)
    }

    /// A round is begun a whole interval or more after its planned instant.
    pub(super) fn missed(&self, round: RoundNumber) {
        if let Some(position) = self.position(round) {
            self.shared.figures.borrow_mut().missed(position);
        }
    }

    /// Whether any user of the connection is a member of an epoch.
    pub(super) fn has_members(&self, epoch: Epoch) -> bool {
        let roster = self.plan.roster(epoch.0);
        self.users.iter().any(|user| roster.contains(user))
    }

    /// Whether any user of the connection plays a round.
    pub(super) fn plays(&self, round: u64) -> bool {
        self.has_members(Epoch(self.plan.epoch_of(round)))
    }

    /// The users of the connection who go when an epoch ends that is not the run's last.
    pub(super) fn leavers(&self, epoch: Epoch) -> Vec<UserId> {
        if epoch.0 + 1 >= self.plan.epochs() {
            return Vec::new();
        }
        let (now, then) = (self.plan.roster(epoch.0), self.plan.roster(epoch.0 + 1));
        let goes = |user: &&u32| now.contains(*user) && !then.contains(*user);
        self.users.iter().filter(goes).map(|user| UserId(*user)).collect()
    }

    /// Whether answers of a round are in, and nobody has looked at them yet.
    pub(super) fn is_to_read(&self) -> bool {
        self.delivered.map(|(round, _)| round) > self.closed
    }

    /// All verdicts on a round are in.
    fn over(&mut self, round: RoundNumber, left_out: bool) {
        self.closed = Some(round);
        self.counted = self.judge.totals;
        if let Some(position) = self.position(round).filter(|_| self.plays(round.0)) {
            let now = self.shared.now();
            if self.shared.figures.borrow_mut().closed(position, now, left_out) {
                self.shared.wake_main();
            }
        }
    }

    /// What differs between the plan and what the servers say.
    fn check(&self, settings: &GroupSettings) -> Result<(), String> {
        let plan = &self.plan;
        let format = plan.format()?;
        if settings.format != format {
            return Err(format!(
                "both servers say that group {} has the share format {:?}, and the plan has {format:?}",
                self.group, settings.format
            ));
        }
        if (settings.delivery == twincast_client::Delivery::Answer) != plan.answers() {
            return Err(format!(
                "both servers say that the delivery of group {} is {:?}, and the plan has {}",
                self.group, settings.delivery, plan.delivery
            ));
        }
        let exchanges = settings.key_tile_senders != 0;
        let fields = [
            ("members", u64::from(settings.members), u64::from(plan.group)),
            ("slots", settings.slots.into(), plan.slots.into()),
            ("kinds of bit confirmation", settings.confirms().into(), plan.confirm.into()),
            ("kinds of key exchange", exchanges.into(), plan.keys.into()),
            ("rounds in an epoch", settings.epoch_rounds.into(), plan.epoch_rounds.into()),
            ("links between the servers", settings.linked.into(), plan.linked.into()),
        ];
        match fields.into_iter().find(|(_, said, planned)| said != planned) {
            Some((field, said, planned)) => Err(format!(
                "both servers say that group {} has {said} {field}, and the plan has {planned}",
                self.group
            )),
            None => Ok(()),
        }
    }

    /// The first thing that is heard of a round.
    fn first_cell(&mut self, epoch: Epoch, round: RoundNumber) {
        self.heard = round;
        self.begin(epoch, round);
        self.came_back(round);
    }

    /// The servers' answer to a round's submissions is there.
    fn came_back(&self, round: RoundNumber) {
        if let Some(sent) = self.submitted[round.0 as usize % 2] {
            let time = self.shared.now().saturating_sub(sent);
            record(&mut self.shared.figures.borrow_mut().round_trip_ns, time);
        }
    }

    /// A user's message of the round came to its end: that of a whole round trip.
    fn message_ended(&self, round: RoundNumber, user: User) {
        let since = self.begun[user.position][round.0 as usize % 2];
        let time = self.shared.now().saturating_sub(since);
        self.shared.figures.borrow_mut().message_latency_ns.record(time);
    }

    /// A round of a group in answer delivery is closed: what both servers left out has no answers.
    fn answers_came(&mut self, round: RoundNumber, skipped: [bool; 2]) {
        if skipped == [true; 2] {
            self.over(round, true);
        } else {
            self.came_back(round);
        }
    }

    /// A round's answers are read.
    fn read(&mut self, round: RoundNumber) {
        let each = self.reading.as_mut().and_then(|reading| reading.end(self.shared.now()));
        if let Some(each) = each {
            record(&mut self.shared.figures.borrow_mut().reconstruct_ns, each);
        }
        if self.closed < Some(round) {
            let left_out = self.delivered.is_some_and(|(last, left_out)| last == round && left_out);
            self.over(round, left_out);
        }
    }

    /// Tells the judge whose messages this round has.
    fn begin(&mut self, epoch: Epoch, round: RoundNumber) {
        let roster = self.plan.roster(epoch.0);
        let first = *roster.start();
        let members = self.users.iter().enumerate().filter(|(_, user)| roster.contains(user));
        let members = members.map(|(position, user)| (position, user - first));
        self.judge.begin(epoch.0, round.0, first, members);
    }

    /// What the plan says of an epoch's members, against what the servers say.
    pub(super) fn check_roster(&self, epoch: Epoch, members: &[UserId]) -> Result<(), String> {
        let planned = self.plan.roster(epoch.0);
        if members.iter().map(|user| user.0).eq(planned.clone()) {
            return Ok(());
        }
        Err(format!(
            "epoch {epoch} of group {} has {} members, and not users {} to {} as planned: somebody came or went too late",
            self.group,
            members.len(),
            planned.start(),
            planned.end()
        ))
    }

    fn refused(
        &mut self,
        server: ServerSide,
        sentence: &str,
        sender: Option<MemberIndex>,
        round: RoundNumber,
        closes: bool,
    ) {
        let sender = sender.map_or(String::new(), |sender| format!(" of user {sender}"));
        let round = if round.0 == 0 { String::new() } else { format!(" in round {round}") };
        if closes {
            self.refused[server.index()] = Some(sentence.to_owned());
        } else {
            self.judge.note(format!("{server} refused something{sender}{round}: {sentence}"));
        }
    }
}

impl Observer for Player {
    #[inline]
    fn wants(&mut self, tile: &Tile, user: User) -> bool {
        if self.heard != tile.round {
            self.first_cell(tile.epoch, tile.round);
        }
        let wants = self.judge.wants(tile, user);
        self.decodings += u32::from(wants);
        if wants && self.decodings.is_multiple_of(TIMED_ONE_IN) {
            self.decoding_since = Some(self.shared.now());
        }
        wants
    }

    #[inline]
    fn verdicts(&mut self, tile: &Tile, user: User, verdicts: &Verdicts, messages: &Messages<'_>) {
        // Cells of one server only are not asked about.
        if self.heard != tile.round {
            self.first_cell(tile.epoch, tile.round);
        }
        if let Some(since) = self.decoding_since.take() {
            record(&mut self.shared.figures.borrow_mut().reconstruct_ns, self.shared.now() - since);
        }
        if tile.bit_of(user.member).is_some_and(|own| own & (verdicts.accept | verdicts.ignore) != 0)
            && tile.slot.0 == 0
        {
            self.message_ended(tile.round, user);
        }
        let (shared, clock) = (&self.shared, &self.clock);
        self.judge.judge(tile, user, verdicts, messages, || {
            if let Some(planned) = clock.planned(tile.round) {
                let time = shared.now().saturating_sub(planned);
                shared.figures.borrow_mut().delivery_latency_ns.record(time);
            }
        });
    }

    #[inline]
    fn unread(&mut self, tile: &Tile, _user: User) {
        self.judge.unread(tile);
    }

    fn known(&mut self, _epoch: Epoch, _user: User, sender: UserId) -> Option<Known<'_>> {
        let reading = self.reading.as_mut()?;
        reading.begin(|| self.shared.now());
        Some(reading.known(sender))
    }

    fn answer(
        &mut self,
        round: RoundNumber,
        user: User,
        slot: SlotIndex,
        sender: Option<UserId>,
        verdict: Verdict<'_>,
    ) {
        if let Some(reading) = &mut self.reading {
            reading.begin(|| self.shared.now());
            reading.judged();
        }
        if slot.0 == 0 && matches!(verdict, Verdict::Accept(_) | Verdict::Ignore) {
            self.message_ended(round, user);
        }
        let epoch = self.plan.epoch_of(round.0);
        let first_user = *self.plan.roster(epoch).start();
        let (shared, clock) = (&self.shared, &self.clock);
        self.judge.answer(&Answer { epoch, first_user, round, user, slot, sender }, verdict, || {
            if let Some(planned) = clock.planned(round) {
                let time = shared.now().saturating_sub(planned);
                shared.figures.borrow_mut().delivery_latency_ns.record(time);
            }
        });
    }

    fn evidence(&mut self, _user: User, evidence: Box<accountable::Evidence>) {
        let Some(servers) = &self.servers else { return };
        let verdict = accountable::blame(&evidence, servers);
        let against = match &verdict {
            accountable::Verdict::Server(server, _) => Some(server.index() as u8 + 1),
            accountable::Verdict::Sender(..) => Some(0),
            accountable::Verdict::Nobody(_) => None,
        };
        let piece = EvidencePiece { verdict: verdict.to_string(), against, file: evidence.to_text() };
        self.evidence.push(piece);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Attached(settings) => match self.check(&settings) {
                Ok(()) => {
                    self.attached = true;
                    self.shared.wake_main();
                }
                Err(sentence) => self.shared.fail(sentence),
            },
            Event::Dialled { epoch } => self.dialled = Some(epoch),
            Event::KeysExchanged { epoch, pairs, failed } => {
                self.shared.meter().exchanged(epoch.0, pairs, failed);
            }
            Event::EpochOpen { epoch, first_round, confirmed, failed } => {
                if self.dialled != Some(epoch) && self.plan.dealt().is_none() && self.has_members(epoch) {
                    self.shared.fail(format!(
                        "the servers opened epoch {epoch} of group {} before all its users had dialled; give them more \
                         time to dial",
                        self.group
                    ));
                }
                self.open = Some((epoch, first_round));
                // Drawn now, and not while the round is timed.
                self.begin(epoch, first_round);
                self.shared.meter().opened(epoch.0, confirmed, failed);
                self.shared.wake_main();
            }
            Event::DialVoid { epoch, sender, slot } => {
                self.judge.note(format!("epoch {epoch}: the dial of user {sender} for slot {slot} is void"));
            }
            Event::Lost { epoch, user, sender, slot } => {
                self.judge.note(format!(
                    "epoch {epoch}: user {user} lost the confirmation of member {sender}, slot {slot}, to a full box"
                ));
            }
            Event::RecipientGone { epoch, sender, recipient } => {
                self.judge
                    .note(format!("epoch {epoch}: user {sender} writes to user {recipient}, who is gone"));
            }
            Event::NotAdmitted { epoch, user } => {
                self.judge.note(format!("epoch {epoch}: user {user} asked to join and is no member"));
            }
            Event::RoundClosed { round, skipped, timed_out, unagreed: _ } => {
                self.delivered = Some((round, skipped.contains(&true)));
                if skipped == [true; 2] && self.position(round).is_some() {
                    if let Some((epoch, _)) = self.open {
                        self.begin(epoch, round);
                    }
                    self.judge.skipped(round.0);
                }
                // Who is yet to join has nothing to wait for.
                if timed_out && self.plays(round.0) {
                    self.judge.note(format!("round {round}: a server took too long"));
                }
                match self.reading {
                    None => self.over(round, skipped.contains(&true)),
                    Some(_) => self.answers_came(round, skipped),
                }
            }
            Event::RoundRead { round } => self.read(round),
            Event::Unaccountable { server, user, round, why } => {
                self.judge.note(format!("round {round}: user {user} cannot hold {server} to account: {why}"));
            }
            Event::Refused { server, sentence, sender, round, closes, .. } => {
                self.refused(server, &sentence, sender, round, closes);
            }
            _ => {}
        }
    }
}
