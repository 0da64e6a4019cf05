//! Does what groups want done: hands frames and tiles to the fan-out cores, in order and without waiting.

use super::executor::Executor;
use crate::fanout::{CoreMessage, Item};
use crate::group::{ConnectionId, Counted, Output};
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
                    tracing::warn!(group = group.0, round = round.0, "round skipped: too many readers lag");
                }
                Output::Sealed(sealed) => {
                    let absent = sealed.members.saturating_sub(sealed.senders);
                    metrics.rounds_sealed.fetch_add(1, Relaxed);
                    metrics.members_absent.fetch_add(absent.into(), Relaxed);
                    metrics.tiles_unagreed.fetch_add(sealed.unagreed.into(), Relaxed);
                }
                Output::Peer(frame) => {
                    if let (Some(link), Some(session)) = (&self.shared.link, self.link) {
                        link.send(ToLink::Frame(session, frame));
                    }
                }
                Output::Answer(_) | Output::Blame(_) => {}
                Output::Answers(answers) => {
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
