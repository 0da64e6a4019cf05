//! What is said in `talk`, and what is heard.

use crate::evidence::EvidenceFiles;
use crate::kept::Kept;
use crate::lines::Lines;
use crate::out::{self, tell};
use std::collections::{BTreeSet, HashSet};
use twincast_client::{Client, Delivery, Event, Messages, Observer, Outbox, Tile, User};
use twincast_protocol::accountable::evidence::Evidence;
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, SlotIndex, UserId};
use twincast_protocol::receive::Verdicts;
use twincast_protocol::wire::Code;

/// A conversation with one user.
pub(crate) struct Conversation {
    pub(crate) peer: [UserId; 1],
    pub(crate) key: SigningKey,
    pub(crate) lines: Lines,
    message_bytes_max: usize,
    /// The last round that this user's message has gone out with, from both servers to everybody.
    arrived: Option<RoundNumber>,
    /// Rounds that are not over, and for which a server refused something.
    refused: BTreeSet<RoundNumber>,
    /// The members of the epoch, to name senders by.
    roster: (Option<Epoch>, Vec<UserId>),
    /// Why what is typed would not reach the peer in this epoch.
    hindrance: Option<(Epoch, Hindrance)>,
    /// The last epoch that was dialled for.
    pub(crate) dialled: Option<Epoch>,
    /// The epoch has opened, or a round is over: the next one is due.
    pub(crate) due: bool,
    pub(crate) attached: bool,
    /// Whether epochs of this group end.
    epochs_end: bool,
    /// The group is of a kind that this program is not for.
    pub(crate) answered: bool,
    pub(crate) evidence: EvidenceFiles,
    /// Whose confirmations in an epoch were given while this user was away, and were not kept: sender and slot.
    lost: (Epoch, HashSet<(u32, SlotIndex)>),
    /// What each server said as it closed the connection.
    pub(crate) last_words: [Option<(Option<Code>, String)>; 2],
    /// Nobody reads what is heard, or it cannot be written.
    pub(crate) ended: Option<anyhow::Result<()>>,
}

/// Why what is typed waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hindrance {
    /// The peer is no member.
    NoMember,
    /// The dials in effect are of an earlier run, and may reach somebody else.
    ForeignDials,
}

impl Conversation {
    pub(crate) fn new(peer: UserId, key: SigningKey, evidence: EvidenceFiles) -> Conversation {
        Conversation {
            peer: [peer],
            key,
            lines: Lines::default(),
            message_bytes_max: 0,
            arrived: None,
            refused: BTreeSet::new(),
            roster: (None, Vec::new()),
            hindrance: None,
            dialled: None,
            due: false,
            attached: false,
            epochs_end: false,
            answered: false,
            evidence,
            lost: (Epoch(0), HashSet::new()),
            last_words: [None, None],
            ended: None,
        }
    }

    /// Looks whether what is typed reaches the peer in the epoch that runs, and says so where it does not.
    pub(crate) fn look(&mut self, client: &Client, kept: &Kept) {
        let (Some(epoch), [peer]) = (client.epoch(), self.peer) else { return };
        if self.roster.0 != Some(epoch) {
            let Some(roster) = client.roster(epoch) else { return };
            self.roster.0 = Some(epoch);
            roster.clone_into(&mut self.roster.1);
        }
        let is_open = client.round().is_some();
        let hindrance = if self.roster.1.binary_search(&peer).is_err() {
            Some((epoch, Hindrance::NoMember))
        } else if is_open && !client.has_own_dials() && !kept.reaches(peer, epoch) {
            Some((epoch, Hindrance::ForeignDials))
        } else {
            None
        };
        if hindrance == self.hindrance {
            return;
        }
        self.hindrance = hindrance;
        let Some((epoch, hindrance)) = hindrance else { return };
        let why = match hindrance {
            Hindrance::NoMember => format!("user {peer} is not in epoch {epoch}"),
            Hindrance::ForeignDials => {
                format!(
                    "an earlier run dialled for epoch {epoch}, and perhaps somebody else than user {peer}"
                )
            }
        };
        match self.epochs_end {
            true => tell!("{why}: what you write waits for a later epoch"),
            false => tell!("{why}: what you write is not sent, for the epochs of this group have no end"),
        }
    }

    /// Whether what waits to be sent can never be, as far as is known.
    pub(crate) fn waits_in_vain(&self) -> bool {
        self.hindrance.is_some() && !self.epochs_end && !self.lines.is_empty()
    }

    /// Prints what somebody wrote.
    fn hear(&mut self, sender: UserId, text: &str) {
        match out::print(&format!("{sender}: {}\n", shown(text))) {
            Ok(true) => {}
            Ok(false) => self.ended = Some(Ok(())),
            Err(error) => self.ended = Some(Err(error)),
        }
    }

    /// Confirmations that this user was away for are told of once. What does not decode for want of them shows no lie.
    fn lost_of(&self, tile: &Tile) -> u64 {
        let (epoch, lost) = &self.lost;
        if *epoch != tile.epoch || lost.is_empty() {
            return 0;
        }
        let is_lost = |sender: &u32| lost.contains(&(tile.first_sender.0 + sender, tile.slot));
        (0..tile.senders).filter(is_lost).fold(0, |mask, sender| mask | 1 << sender)
    }

    fn lose(&mut self, epoch: Epoch, sender: MemberIndex, slot: SlotIndex) {
        if self.lost.0 != epoch {
            self.lost = (epoch, HashSet::new());
        }
        self.lost.1.insert((sender.0, slot));
    }

    fn opened(&mut self, epoch: Epoch, first_round: RoundNumber) {
        tell!("epoch {epoch} is open from round {first_round} on");
        self.due = true;
        if self.lost.0 == epoch && !self.lost.1.is_empty() {
            let again = match self.epochs_end {
                true => "you read them again from the next epoch on",
                false => {
                    "you do not read them any more, for the epochs of this group have no end: its servers' [box] would \
                     keep confirmations, and epoch_rounds end epochs"
                }
            };
            let senders: HashSet<u32> = self.lost.1.iter().map(|(sender, _)| *sender).collect();
            tell!(
                "you were away when the confirmations of {} members came, and they were not kept: {again}",
                senders.len()
            );
        }
    }
}

impl Outbox for Conversation {
    fn recipients(&mut self, epoch: Epoch, _sender: User, _slot: SlotIndex) -> &[UserId] {
        self.dialled = Some(epoch);
        &self.peer
    }

    fn message(&mut self, round: RoundNumber, _sender: User, slot: SlotIndex) -> &[u8] {
        // One line a round, in the first slot: the others say nothing.
        match slot == SlotIndex(0) && self.hindrance.is_none() {
            true => self.lines.next(round, self.message_bytes_max),
            false => self.lines.nothing(),
        }
    }

    fn key_partners(&mut self, _epoch: Epoch, _sender: User) -> &[UserId] {
        &self.peer
    }

    fn identity(&mut self, _user: UserId) -> Option<&SigningKey> {
        Some(&self.key)
    }
}

impl Observer for Conversation {
    fn verdicts(&mut self, tile: &Tile, user: User, verdicts: &Verdicts, messages: &Messages<'_>) {
        // A sender's own cell comes back with the others.
        let own = user.member.0.checked_sub(tile.first_sender.0).filter(|own| *own < tile.senders);
        let missing = verdicts.absent | verdicts.incomplete;
        if own.is_some_and(|own| tile.slot == SlotIndex(0) && missing >> own & 1 == 0) {
            self.arrived = Some(tile.round);
        }
        for sender in (0..64).filter(|sender| verdicts.accept >> sender & 1 == 1) {
            let text = String::from_utf8_lossy(messages.get(sender));
            let text = text.trim_end_matches('\0');
            let name = self.roster.1.get(tile.first_sender.0 as usize + sender).copied();
            if let Some(name) = name.filter(|_| !text.is_empty()) {
                self.hear(name, text);
            }
        }
        if verdicts.tampered & !self.lost_of(tile) != 0 {
            tell!("round {}: somebody altered what a server handed out", tile.round);
        }
    }

    fn evidence(&mut self, _user: User, evidence: Box<Evidence>) {
        self.evidence.keep(&evidence);
    }

    fn event(&mut self, event: Event) {
        let code = event.code();
        match event {
            Event::Attached(group) => {
                self.attached = true;
                self.answered = group.delivery == Delivery::Answer;
                self.epochs_end = group.epoch_rounds != 0;
                self.message_bytes_max = group.message_bytes_max(true);
                tell!("group {} of {} members, epoch {}", group.group, group.members, group.epoch);
            }
            Event::EpochOpen { epoch, first_round, .. } => self.opened(epoch, first_round),
            Event::Silent { until: Some(until), .. } => {
                tell!(
                    "silent until round {until}, since an earlier run may have signed for the rounds before"
                );
            }
            Event::Silent { epoch, until: None } => {
                tell!("silent in epoch {epoch}, since an earlier run has signed for a later one");
            }
            Event::ServersApart { rounds: [one, two] } => tell!(
                "S1 is in round {one} and S2 in round {two}: one of them lags or lies, and nothing is sent until they \
                 are together"
            ),
            Event::RoundClosed { round, .. } => {
                self.due = true;
                let refused = self.refused.contains(&round);
                self.refused.retain(|refused| *refused > round);
                self.lines.closed(round, self.arrived == Some(round) && !refused);
            }
            Event::Lost { epoch, sender, slot, .. } => self.lose(epoch, sender, slot),
            Event::Unaccountable { server, round, why, .. } => self.evidence.falls_short(server, round, why),
            Event::Refused { server, sentence, closes: true, .. } => {
                self.last_words[server.index()] = Some((code, shown(&sentence)));
            }
            Event::Refused { server, sentence, round, .. } => {
                // Where an earlier run has submitted for the round, that went out and not this.
                self.refused.insert(round);
                tell!("{server}: {}", shown(&sentence));
                if !self.attached {
                    // If it closes the connection now, this is why.
                    self.last_words[server.index()] = Some((code, shown(&sentence)));
                }
            }
            Event::NotAdmitted { epoch, user } => tell!("user {user} is not in epoch {epoch}"),
            _ => {}
        }
    }
}

/// What somebody else wrote, without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}
