//! Does what groups want done: hands frames and tiles to the fan-out cores, in order and without waiting.

use super::executor::Executor;
#[cfg(feature = "fault-swap-half")]
use crate::answer::RoundAnswers;
use crate::answer::{Lane, Work};
#[cfg(feature = "fault-swap-half")]
use crate::config::AnswerFaultKind;
use crate::fanout::{CoreMessage, Item};
use crate::group::{Blame, ConnectionId, Counted, Fault, Output};
use crate::link::ToLink;
use std::sync::atomic::Ordering::Relaxed;
use twincast_protocol::ids::GroupId;

impl Executor {
    pub(super) fn dispatch(&mut self, group: GroupId, outputs: &mut Vec<Output>) {
        for output in outputs.drain(..) {
            let metrics = &self.shared.metrics;
            match output {
                Output::To(connection, frame) => self.post_to(connection, |c| CoreMessage::Private(c, frame)),
                Output::All(round, frame) => {
                    self.post_all(|| CoreMessage::Shared(group, Item::Frame(round, frame.clone())));
                }
                Output::RoundEnd(signed) => {
                    self.post_all(|| CoreMessage::Shared(group, Item::RoundEnd(signed.clone())));
                }
                Output::Deliver(tile) => {
                    metrics.tiles_sealed.fetch_add(1, Relaxed);
                    #[cfg(feature = "fault-swap-half")]
                    let tile = self.cheat(tile);
                    self.post_all(|| CoreMessage::Shared(group, Item::Tile(tile.clone())));
                }
                Output::Close(connection, code) => {
                    metrics.refused(code);
                    if let Some(connected) = self.connections.get_mut(&connection) {
                        connected.closing = true;
                    }
                    let last = code.frame(u32::MAX, u32::MAX, 0);
                    self.post_to(connection, |c| CoreMessage::Close(c, Some(last)));
                }
                Output::CloseLagging => self.post_all(|| CoreMessage::CloseLagging(group)),
                Output::Skipped(round) => {
                    metrics.rounds_skipped.fetch_add(1, Relaxed);
                    tracing::warn!(
                        group = group.0,
                        round = round.0,
                        "round left out: too many readers lag, or the two servers have not both the same of it"
                    );
                }
                Output::Sealed(sealed) => {
                    let absent = sealed.members.saturating_sub(sealed.senders);
                    metrics.rounds_sealed.fetch_add(1, Relaxed);
                    metrics.members_absent.fetch_add(absent.into(), Relaxed);
                    metrics.tiles_unagreed.fetch_add(sealed.unagreed.into(), Relaxed);
                    metrics.round_seal.add(sealed.gathered);
                    metrics.round_release.add(sealed.settled);
                }
                Output::Peer(frame) => {
                    if let (Some(link), Some(session)) = (&self.shared.link, self.link) {
                        link.send(ToLink::Frame(session, frame));
                    }
                }
                Output::Answer(work) => self.give(group, work),
                Output::Blame(blame) => self.blame(group, &blame),
                Output::Answers(answers) => {
                    #[cfg(feature = "fault-swap-half")]
                    let answers = self.lie_about_root(answers);
                    self.post_all(|| CoreMessage::Shared(group, Item::Answers(answers.clone())));
                }
                Output::Count(counted, times) => {
                    let counter = match counted {
                        Counted::DialsVoid => &metrics.dials_void,
                        Counted::EpochsOpened => &metrics.epochs_opened,
                        Counted::EpochsGivenUp => &metrics.epochs_given_up,
                        Counted::Joined => &metrics.joins,
                        Counted::Left => &metrics.leaves,
                        Counted::BoxFull => &metrics.box_refusals,
                        Counted::BoxFailed => &metrics.box_failures,
                        Counted::RoundsUnagreed => &metrics.rounds_unagreed,
                    };
                    counter.fetch_add(times.into(), Relaxed);
                }
            }
        }
    }

    /// Gives one member the wrong half of one sender's shares, if that is asked for.
    #[cfg(feature = "fault-swap-half")]
    fn cheat(&self, tile: std::sync::Arc<crate::tile::Tile>) -> std::sync::Arc<crate::tile::Tile> {
        use twincast_protocol::ids::MemberIndex;
        let Some(swap) = self.shared.config.fault.swap_half else { return tile };
        let head = tile.head();
        let sender = swap.sender.checked_sub(head.first_sender.0).map(|sender| sender as usize);
        let sender = sender.filter(|&sender| sender < head.senders && head.round.0 == swap.round);
        match sender.filter(|_| tile.is_message() && (swap.user as usize) < tile.roster().members()) {
            Some(sender) => tile.with_swapped_half(MemberIndex(swap.user), sender).into(),
            None => tile,
        }
    }

    /// Gives the answer threads a work: each of them what concerns its part, and everything else whoever is free.
    fn give(&mut self, group: GroupId, work: Work) {
        #[cfg(feature = "fault-swap-half")]
        let work = self.change_record(work);
        if !work.is_on_table() {
            self.post_work(Lane::Any, group, work);
            return;
        }
        for thread in 0..self.works.len() - 1 {
            self.post_work(Lane::Thread(thread), group, work.clone());
        }
    }

    /// Sends a work, behind those that wait for room in the same queue.
    fn post_work(&mut self, lane: Lane, group: GroupId, work: Work) {
        let pool = self.shared.answers.as_ref().expect("a group whose delivery is `answer` has threads");
        let waiting = &mut self.works[place(lane, pool.threads())];
        let work = if waiting.is_empty() { pool.send(lane, group, work) } else { Err(work) };
        if let Err(work) = work {
            waiting.push_back((group, work));
            self.shared.metrics.answer_queue_full.fetch_add(1, Relaxed);
        }
    }

    /// Sends the works that found a queue full, as far as there is room now.
    pub(super) fn flush_works(&mut self) {
        let Some(pool) = &self.shared.answers else { return };
        let lanes = (0..pool.threads()).map(Lane::Thread).chain([Lane::Any]);
        for (lane, waiting) in lanes.zip(&mut self.works) {
            while let Some((group, work)) = waiting.pop_front() {
                if let Err(work) = pool.send(lane, group, work) {
                    waiting.push_front((group, work));
                    break;
                }
            }
        }
    }

    /// Says in words who is at fault, and counts it.
    fn blame(&self, group: GroupId, blame: &Blame) {
        let what = match blame.fault {
            Fault::SenderSignedTwo => {
                "a sender signed two records for one round, and gave each server another one"
            }
            Fault::PeerShowedFalse => {
                "the other server shows a record that its sender did not sign, or not the one that it said it had"
            }
            Fault::PeerShowedNothing => {
                "the other server said that it has another record, and then that there is none, and did not show it"
            }
            Fault::PeerSignedFalse => "the other server's signature that a sender is absent is wrong",
        };
        self.shared.metrics.blamed(blame.fault);
        tracing::warn!(group = group.0, round = blame.round.0, user = blame.user.0, "{what}");
    }

    /// Changes one sender's record in this server's own table, if that is asked for.
    #[cfg(feature = "fault-swap-half")]
    fn change_record(&self, work: Work) -> Work {
        let fault = self.shared.config.fault.answer.filter(|fault| fault.kind == AnswerFaultKind::Record);
        match (work, fault) {
            (Work::Add { round, rows }, Some(fault)) if round.0 == fault.round => {
                let (tile, sender) = (fault.index as usize / 64, fault.index as usize % 64);
                let mut rows = rows;
                if rows.tile == tile && sender < rows.senders {
                    let mut changed = (*rows).clone();
                    changed.records[sender][0] ^= 1;
                    rows = changed.into();
                }
                Work::Add { round, rows }
            }
            (work, _) => work,
        }
    }

    /// Names another root than the table has, if that is asked for.
    #[cfg(feature = "fault-swap-half")]
    fn lie_about_root(&self, answers: std::sync::Arc<RoundAnswers>) -> std::sync::Arc<RoundAnswers> {
        let fault = self.shared.config.fault.answer.filter(|fault| fault.kind == AnswerFaultKind::Root);
        if fault.is_none_or(|fault| fault.round != answers.round.0) {
            return answers;
        }
        let mut said = std::sync::Arc::try_unwrap(answers).expect("nobody sends the answers yet");
        said.root[0] ^= 1;
        said.into()
    }

    /// Sends a core a message, behind those that wait for room in its queue.
    pub(super) fn post(&mut self, core: usize, message: CoreMessage) {
        let backlog = &mut self.backlog[core];
        if backlog.is_empty() {
            let Err(message) = self.shared.cores[core].send(message) else { return };
            backlog.push_back(message);
        } else {
            backlog.push_back(message);
        }
        self.shared.metrics.core_queue_full.fetch_add(1, Relaxed);
    }

    /// Sends what found a queue full, as far as there is room now.
    pub(super) fn flush_backlog(&mut self) {
        for (core, backlog) in self.shared.cores.iter().zip(&mut self.backlog) {
            while let Some(message) = backlog.pop_front() {
                if let Err(message) = core.send(message) {
                    backlog.push_front(message);
                    break;
                }
            }
        }
    }

    fn post_to(&mut self, connection: ConnectionId, message: impl FnOnce(ConnectionId) -> CoreMessage) {
        if let Some(connected) = self.connections.get(&connection) {
            self.post(connected.core, message(connection));
        }
    }

    fn post_all(&mut self, message: impl Fn() -> CoreMessage) {
        for core in 0..self.shared.cores.len() {
            self.post(core, message());
        }
    }
}

/// Where an executor keeps what found a lane's queue full.
fn place(lane: Lane, threads: usize) -> usize {
    match lane {
        Lane::Thread(index) => index,
        Lane::Any => threads,
    }
}
