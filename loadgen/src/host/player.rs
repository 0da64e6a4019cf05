//! The users of one connection pair: what they say, and what they make of what they hear.

use super::figures::{Shared, record};
use super::judge::Judge;
use crate::plan::Plan;
use crate::workload::Workload;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use twincast_client::{Event, GroupSettings, Messages, Observer, Outbox, Tile, User};
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::receive::Verdicts;

/// One of so many decodings is timed, so that the clock does not show in what it measures.
const TIMED_ONE_IN: u32 = 16;

/// When the rounds of one group were planned on this host: the first byte of the first submission of any of its pairs.
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
    recipients: Vec<u32>,
    members: Vec<MemberIndex>,
    message: Vec<u8>,
    dialled: bool,
    /// The epoch's first round, and confirmation cells opened and failed, once it is open.
    pub(super) open: Option<(RoundNumber, u64, u64)>,
    /// The last round that was closed.
    pub(super) closed: Option<RoundNumber>,
    /// The first round of the present order, and the first after it.
    pub(super) rounds: (u64, u64),
    /// For each user, when its submission was begun, by the round's parity.
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
}

impl Player {
    pub(super) fn new(
        shared: Rc<Shared>,
        clock: Rc<GroupClock>,
        plan: Rc<Plan>,
        group: u32,
        users: &[u32],
        workload: Rc<Workload>,
    ) -> Player {
        Player {
            judge: Judge::new(&plan, group, users, workload),
            shared,
            clock,
            plan,
            group,
            recipients: Vec::new(),
            members: Vec::new(),
            message: Vec::new(),
            dialled: false,
            open: None,
            closed: None,
            rounds: (0, 0),
            begun: vec![[Duration::ZERO; 2]; users.len()],
            generating_since: Duration::ZERO,
            submitted: [None; 2],
            heard: RoundNumber::DIAL,
            decodings: 0,
            decoding_since: None,
            refused: [None, None],
        }
    }

    /// Position of a round among those that were ordered.
    fn position(&self, round: RoundNumber) -> Option<usize> {
        (self.rounds.0..self.rounds.1).contains(&round.0).then(|| (round.0 - self.rounds.0) as usize)
    }

    /// What differs between the plan and what the servers say.
    fn check(&self, settings: &GroupSettings) -> Result<(), String> {
        let plan = &self.plan;
        let fields = [
            ("members", u64::from(settings.members), u64::from(plan.group)),
            ("slots", settings.slots.into(), plan.slots.into()),
            ("bytes of a frame", settings.frame.bytes() as u64, plan.frame_bytes.into()),
            ("kinds of bit confirmation", settings.confirms().into(), plan.confirm.into()),
        ];
        match fields.into_iter().find(|(_, said, planned)| said != planned) {
            Some((field, said, planned)) => Err(format!(
                "both servers say that group {} has {said} {field}, and the plan has {planned}",
                self.group
            )),
            None => Ok(()),
        }
    }

    fn first_cell(&mut self, round: RoundNumber) {
        self.heard = round;
        if let Some(sent) = self.submitted[round.0 as usize % 2] {
            let time = self.shared.now().saturating_sub(sent);
            record(&mut self.shared.figures.borrow_mut().round_trip_ns, time);
        }
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

impl Outbox for Player {
    fn recipients(&mut self, sender: User, slot: SlotIndex) -> &[MemberIndex] {
        self.judge.workload.recipients(sender.member.0, slot.0, &mut self.recipients);
        self.members.clear();
        self.members.extend(self.recipients.iter().copied().map(MemberIndex));
        &self.members
    }

    fn message(&mut self, round: RoundNumber, sender: User, slot: SlotIndex) -> &[u8] {
        self.judge.workload.message(round.0, sender.member.0, slot.0, &mut self.message);
        if slot.0 == 0 {
            self.generating_since = self.shared.now();
        }
        &self.message
    }

    fn submitted(&mut self, round: RoundNumber, sender: User) {
        let begun = self.generating_since;
        let planned = self.clock.plan(round, begun);
        self.begun[sender.position][round.0 as usize % 2] = begun;
        let pairs = u64::from(self.plan.slots) * u64::from(self.judge.workload.recipients_each());
        self.judge.totals.messages_sent += pairs;
        let mut figures = self.shared.figures.borrow_mut();
        record(&mut figures.generate_ns, self.shared.now() - begun);
        if let Some(position) = self.position(round) {
            figures.planned(position, planned);
        }
    }
}

impl Observer for Player {
    #[inline]
    fn wants(&mut self, tile: &Tile, user: User) -> bool {
        if self.heard != tile.round {
            self.first_cell(tile.round);
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
        if let Some(since) = self.decoding_since.take() {
            record(&mut self.shared.figures.borrow_mut().reconstruct_ns, self.shared.now() - since);
        }
        if tile.bit_of(user.member).is_some_and(|own| own & (verdicts.accept | verdicts.ignore) != 0)
            && tile.slot.0 == 0
        {
            let since = self.begun[user.position][tile.round.0 as usize % 2];
            let time = self.shared.now().saturating_sub(since);
            record(&mut self.shared.figures.borrow_mut().message_latency_ns, time);
        }
        let (shared, clock) = (&self.shared, &self.clock);
        self.judge.judge(tile, user, verdicts, messages, || {
            if let Some(planned) = clock.planned(tile.round) {
                let time = shared.now().saturating_sub(planned);
                record(&mut shared.figures.borrow_mut().delivery_latency_ns, time);
            }
        });
    }

    #[inline]
    fn unread(&mut self, tile: &Tile, _user: User) {
        self.judge.unread(tile);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Attached(settings) => {
                if let Err(sentence) = self.check(&settings) {
                    self.shared.fail(sentence);
                }
            }
            Event::Dialled => self.dialled = true,
            Event::EpochOpen { first_round, confirmed, failed } => {
                if !self.dialled {
                    self.shared.fail(format!(
                        "the servers opened the epoch of group {} before all its users had dialled; give them more \
                         time to dial",
                        self.group
                    ));
                }
                self.open = Some((first_round, confirmed, failed));
                self.shared.open_pairs.set(self.shared.open_pairs.get() + 1);
                self.shared.wake_main();
            }
            Event::RoundClosed { round, skipped, timed_out } => {
                self.closed = Some(round);
                if skipped == [true; 2] {
                    self.judge.skipped(round.0);
                }
                if timed_out {
                    self.judge.note(format!("round {round}: a server took too long"));
                }
                if let Some(position) = self.position(round) {
                    let now = self.shared.now();
                    let any = skipped.contains(&true);
                    if self.shared.figures.borrow_mut().closed(position, now, any) {
                        self.shared.wake_main();
                    }
                }
            }
            Event::Refused { server, sentence, sender, round, closes, .. } => {
                self.refused(server, &sentence, sender, round, closes);
            }
            _ => {}
        }
    }
}
