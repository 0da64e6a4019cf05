//! One group on one server: who is attached, what is dialled, which round is open. A pure state machine: frames and
//! times come in, frames and sealed tiles go out, and nothing here knows a socket, a clock or a thread.
//!
//! A group goes through three phases: *dialling* (session keys come in), *confirming* (bit confirmations are granted,
//! tile by tile) and *running* (rounds).

mod confirm;
mod keys;
mod rounds;
#[cfg(test)]
mod tests;

use crate::config::GroupConfig;
use crate::limits::{CONFIRM_TILE_BYTES, CONFIRM_TILES_BUFFERED, ROUNDS_BUFFERED, TILE_SENDERS};
use crate::tile::Tile;
use bytes::Bytes;
use confirm::Confirming;
use fixedbitset::FixedBitSet;
use keys::SessionKeys;
use rounds::Rounds;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::confirm::CONFIRMATION_BYTES;
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::wire::{
    BODY_BYTES_MAX, Body, Code, Deliver, Dial, Dialled, EpochOpen, Submit, Welcome,
};

/// A connection, by the number that the server gave it; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What a group wants done. Outputs are done in their order.
#[derive(Debug)]
pub enum Output {
    /// Send this frame to one connection.
    To(ConnectionId, Bytes),
    /// Send this frame to every connection of the group; it belongs to a round.
    All(RoundNumber, Bytes),
    /// Deliver this tile to every connection of the group.
    Deliver(Arc<Tile>),
    /// Close this connection after an error frame with this code.
    Close(ConnectionId, Code),
    /// Close the connections that lag.
    CloseLagging,
    /// A round was left out.
    Skipped(RoundNumber),
    /// A round was sealed with so many senders.
    Sealed(RoundNumber, u32),
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was wrong.
    pub code: Code,
    /// The member it concerns, `u32::MAX` for none.
    pub sender: u32,
    /// The slot it concerns, `u32::MAX` for none.
    pub slot: u32,
    /// The round it concerns, 0 for none.
    pub round: u64,
}

impl Refusal {
    /// A refusal that concerns no member, slot or round.
    #[must_use]
    pub fn of_form(code: Code) -> Refusal {
        Refusal { code, sender: u32::MAX, slot: u32::MAX, round: 0 }
    }

    /// The error frame that says it.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        self.code.frame(self.sender, self.slot, self.round)
    }
}

/// What of a group never changes while it lives.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The group.
    pub group: GroupId,
    /// Which server this is.
    pub side: ServerSide,
    /// Members, n.
    pub members: usize,
    /// Slots, K.
    pub slots: usize,
    /// Frame bytes, F.
    pub frame: FrameBytes,
    /// Whether slots are confirmed.
    pub confirm: bool,
    /// From a round's first submission to its seal; also what clients are told.
    pub round_timeout: Duration,
    /// From the first attachment to the end of dialling.
    pub dial_timeout: Duration,
}

impl Shape {
    /// The shape that a configuration asks for on this side.
    #[must_use]
    pub fn new(config: &GroupConfig, side: ServerSide) -> Shape {
        Shape {
            group: GroupId(config.id),
            side,
            members: config.members as usize,
            slots: config.slots as usize,
            frame: FrameBytes::new(config.frame_bytes).expect("the configuration was checked"),
            confirm: config.confirm,
            round_timeout: Duration::from_millis(config.round_timeout_ms),
            dial_timeout: Duration::from_millis(config.dial_timeout_ms),
        }
    }

    /// Tiles of messages in a round, of one slot.
    #[must_use]
    pub fn tiles(&self) -> usize {
        self.members.div_ceil(TILE_SENDERS)
    }

    /// Senders to a tile of confirmations: a power of two that keeps the tile within its limit.
    #[must_use]
    pub fn confirm_tile_senders(&self) -> usize {
        let fit = CONFIRM_TILE_BYTES / (self.members * CONFIRMATION_BYTES);
        1 << fit.clamp(1, TILE_SENDERS).ilog2()
    }

    /// Memory that the group takes at the most, in bytes: session keys and select words while it opens, the tiles
    /// of the rounds, those of the confirmations.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let keys = 2 * self.members as u64 * self.members.div_ceil(64) as u64 * 8 * self.slots as u64;
        let tile = 2 * TILE_SENDERS as u64 * self.frame.share_bytes() as u64;
        let tiles = ROUNDS_BUFFERED as u64 * self.tiles() as u64 * self.slots as u64 * tile;
        let part = self.confirm_tile_senders() as u64 * self.members as u64 * CONFIRMATION_BYTES as u64;
        let parts = if self.confirm { CONFIRM_TILES_BUFFERED as u64 * part } else { 0 };
        keys + tiles + parts
    }

    /// Members that one connection may play at the most: the cells of a tile for them fit into one frame. The cells
    /// of confirmations are never larger than those of messages.
    #[must_use]
    pub fn users_per_connection_max(&self) -> usize {
        (BODY_BYTES_MAX as usize - size_of::<Deliver>()) / (TILE_SENDERS * self.frame.share_bytes())
    }

    /// The one valid length of a DIAL's body.
    #[must_use]
    pub fn dial_body_bytes(&self) -> usize {
        size_of::<Dial>() + self.members.div_ceil(8)
    }

    /// The one valid length of a SUBMIT's body.
    #[must_use]
    pub fn submit_body_bytes(&self) -> usize {
        size_of::<Submit>() + 2 * self.slots * self.frame.share_bytes()
    }

    /// Bytes of the confirmation parts that a sender gives S2.
    #[must_use]
    pub fn parts_bytes(&self) -> usize {
        self.members * CONFIRMATION_BYTES
    }
}

#[derive(Debug)]
enum Phase {
    Dialling { deadline: Option<Duration> },
    Confirming(Confirming),
    Running(Rounds),
}

/// One group on one server.
#[derive(Debug)]
pub struct Group {
    shape: Shape,
    epoch: Epoch,
    phase: Phase,
    keys: SessionKeys,
    /// By member: the connection that attached it.
    attached_by: Vec<Option<ConnectionId>>,
    attached: FixedBitSet,
    /// Members whom a round waits for: attached, and all slots dialled.
    waited_for: FixedBitSet,
    alarms: u64,
    stopping: bool,
}

impl Group {
    /// A group that waits for its members to dial.
    #[must_use]
    pub fn new(shape: Shape) -> Group {
        Group {
            shape,
            epoch: Epoch(0),
            phase: Phase::Dialling { deadline: None },
            keys: SessionKeys::new(shape.members, shape.slots),
            attached_by: vec![None; shape.members],
            attached: FixedBitSet::with_capacity(shape.members),
            waited_for: FixedBitSet::with_capacity(shape.members),
            alarms: 0,
            stopping: false,
        }
    }

    /// What never changes.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Members that are attached.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.attached.count_ones(..)
    }

    /// The round that is open, [`RoundNumber::DIAL`] before the first.
    #[must_use]
    pub fn open_round(&self) -> RoundNumber {
        match &self.phase {
            Phase::Running(rounds) => rounds.open(),
            _ => RoundNumber::DIAL,
        }
    }

    /// Submissions so far that carried an alarm.
    #[must_use]
    pub fn alarms(&self) -> u64 {
        self.alarms
    }

    /// Attaches members, strictly ascending, to a connection. It is answered with WELCOME; connections that had
    /// one of them are closed.
    ///
    /// # Errors
    /// [`Code::MemberOutOfRange`], [`Code::UsersTooMany`], [`Code::HelloEpochWrong`] or [`Code::ShuttingDown`].
    pub fn attach(
        &mut self,
        connection: ConnectionId,
        epoch: Epoch,
        users: &[MemberIndex],
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::of_form(Code::ShuttingDown));
        }
        if epoch != self.epoch {
            return Err(Refusal::of_form(Code::HelloEpochWrong));
        }
        if let Some(user) = users.iter().find(|user| user.0 as usize >= self.shape.members) {
            return Err(Refusal { sender: user.0, ..Refusal::of_form(Code::MemberOutOfRange) });
        }
        if users.len() > self.shape.users_per_connection_max() {
            return Err(Refusal::of_form(Code::UsersTooMany));
        }
        let superseded: BTreeSet<ConnectionId> =
            users.iter().filter_map(|user| self.attached_by[user.0 as usize]).collect();
        if !superseded.is_empty() {
            self.forget(|by| superseded.contains(&by));
            out.extend(superseded.into_iter().map(|older| Output::Close(older, Code::Superseded)));
        }
        for user in users {
            self.attached_by[user.0 as usize] = Some(connection);
            self.attached.insert(user.0 as usize);
        }
        self.wait_for_attached();
        if let Phase::Dialling { deadline: deadline @ None } = &mut self.phase {
            *deadline = Some(now + self.shape.dial_timeout);
        }
        out.push(Output::To(connection, self.welcome().frame()));
        // Whoever comes while confirmations are wanted is told which.
        if let Phase::Confirming(confirming) = &self.phase {
            out.extend(confirming.grants().map(|grant| Output::To(connection, grant.frame())));
        }
        // Only now: what was waited for from the members that moved is still waited for, from their new connection,
        // and it is welcomed before anything else. The others of the older connections are absent.
        self.advance(now, 0, out);
        Ok(())
    }

    /// The connection is gone or going: its members are absent from now on.
    pub fn detach(&mut self, connection: ConnectionId, now: Duration, out: &mut Vec<Output>) {
        self.forget(|by| by == connection);
        self.wait_for_attached();
        self.advance(now, 0, out);
    }

    /// Detaches the members of the connections for which `goes` holds, in one pass over the group.
    fn forget(&mut self, goes: impl Fn(ConnectionId) -> bool) {
        for (member, by) in self.attached_by.iter_mut().enumerate() {
            if by.is_some_and(&goes) {
                *by = None;
                self.attached.remove(member);
            }
        }
    }

    /// A DIAL of the connection: a session key.
    ///
    /// # Errors
    /// What is wrong with it, as `engine/docs/WIRE.md` lists.
    pub fn dial(
        &mut self,
        connection: ConnectionId,
        dial: &Dial,
        key: &[u8],
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let (sender, slot) = (dial.sender.get(), dial.slot.get());
        let refuse = |code| Refusal { code, sender, slot, round: 0 };
        self.check_sender(connection, sender, slot).map_err(refuse)?;
        if dial.epoch.get() != self.epoch.0 {
            return Err(refuse(Code::EpochWrong));
        }
        if !matches!(self.phase, Phase::Dialling { .. }) {
            return Err(refuse(Code::DialClosed));
        }
        self.keys.put(sender as usize, slot as usize, key).map_err(refuse)?;
        let dialled = Dialled::new(dial.dial_id.get(), self.epoch, MemberIndex(sender), SlotIndex(slot));
        out.push(Output::To(connection, dialled.frame()));
        self.advance(now, 0, out);
        Ok(())
    }

    /// Whether the confirmations of this sender and slot are wanted, in the form that this side takes.
    ///
    /// # Errors
    /// What is wrong, as `engine/docs/WIRE.md` lists.
    pub fn confirm_begin(
        &mut self,
        connection: ConnectionId,
        head: &twincast_protocol::wire::ConfirmHead,
    ) -> Result<(), Refusal> {
        let (sender, slot) = (head.sender.get(), head.slot.get());
        let refuse = |code| Refusal { code, sender, slot, round: 0 };
        self.check_sender(connection, sender, slot).map_err(refuse)?;
        if head.epoch.get() != self.epoch.0 {
            return Err(refuse(Code::EpochWrong));
        }
        match &self.phase {
            Phase::Confirming(confirming) if confirming.wants(sender as usize, slot as usize) => Ok(()),
            _ => Err(refuse(Code::NotGranted)),
        }
    }

    /// Bytes `at ..` of the parts that a sender gives S2. Bytes for a tile that was sealed meanwhile are dropped.
    pub fn confirm_bytes(&mut self, sender: MemberIndex, slot: SlotIndex, at: usize, bytes: &[u8]) {
        if let Phase::Confirming(confirming) = &mut self.phase {
            confirming.put_bytes(sender.0 as usize, slot.0 as usize, at, bytes);
        }
    }

    /// The seed that a sender gives S1, which stands for all its parts.
    pub fn confirm_seed(&mut self, sender: MemberIndex, slot: SlotIndex, seed: &[u8; 32]) {
        if let Phase::Confirming(confirming) = &mut self.phase {
            confirming.put_seed(sender.0 as usize, slot.0 as usize, seed);
        }
    }

    /// All confirmations of this sender and slot are in.
    pub fn confirm_end(
        &mut self,
        sender: MemberIndex,
        slot: SlotIndex,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        if let Phase::Confirming(confirming) = &mut self.phase {
            confirming.complete(sender.0 as usize, slot.0 as usize);
        }
        self.advance(now, 0, out);
    }

    /// A SUBMIT: the shares of one member for one round, `slots * 2 * share_bytes` bytes. `lagging_users` of the
    /// group are more than two whole rounds behind.
    ///
    /// # Errors
    /// What is wrong with it, as `engine/docs/WIRE.md` lists.
    pub fn submit(
        &mut self,
        connection: ConnectionId,
        submit: &Submit,
        shares: &[u8],
        now: Duration,
        lagging_users: u32,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let (sender, round) = (submit.sender.get(), submit.round.get());
        let refuse = |code| Refusal { code, sender, slot: u32::MAX, round };
        self.check_sender(connection, sender, 0).map_err(refuse)?;
        let Phase::Running(rounds) = &mut self.phase else {
            return Err(refuse(Code::EpochNotOpen));
        };
        if !self.keys.is_dialled(sender as usize) {
            return Err(refuse(Code::NotDialled));
        }
        if self.stopping && !(rounds.open().0 == round && rounds.begun()) {
            return Err(refuse(Code::ShuttingDown));
        }
        rounds.place(RoundNumber(round), sender as usize, shares, now).map_err(refuse)?;
        self.alarms += u64::from(submit.alarm.get() != 0);
        self.advance(now, lagging_users, out);
        Ok(())
    }

    /// Time passes: what is overdue is sealed or given up.
    pub fn tick(&mut self, now: Duration, lagging_users: u32, out: &mut Vec<Output>) {
        self.advance(now, lagging_users, out);
    }

    /// The server stops: the open round is finished if it has begun, nothing new is taken.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether nothing of an open round is left to finish, after [`Group::stop`].
    #[must_use]
    pub fn is_drained(&self) -> bool {
        match &self.phase {
            Phase::Running(rounds) => !rounds.begun(),
            _ => true,
        }
    }

    fn check_sender(&self, connection: ConnectionId, sender: u32, slot: u32) -> Result<(), Code> {
        if self.attached_by.get(sender as usize).copied().flatten() != Some(connection) {
            return Err(Code::NotAttached);
        }
        if slot as usize >= self.shape.slots {
            return Err(Code::SlotOutOfRange);
        }
        Ok(())
    }

    fn welcome(&self) -> Welcome {
        let shape = &self.shape;
        let confirm_tile_senders = if shape.confirm { shape.confirm_tile_senders() } else { 0 };
        Welcome {
            group: shape.group.0.into(),
            epoch: self.epoch.0.into(),
            members: (shape.members as u32).into(),
            slots: (shape.slots as u32).into(),
            frame_bytes: (shape.frame.bytes() as u32).into(),
            share_bytes: (shape.frame.share_bytes() as u32).into(),
            confirm_tile_senders: (confirm_tile_senders as u32).into(),
            round_timeout_ms: (shape.round_timeout.as_millis() as u32).into(),
            round: self.open_round().0.max(1).into(),
            profile: 2,
            open: u8::from(matches!(self.phase, Phase::Running(_))),
            reserved: [0; 6],
        }
    }

    /// Moves through the phases, and seals what can be sealed.
    fn advance(&mut self, now: Duration, lagging_users: u32, out: &mut Vec<Output>) {
        if let Phase::Dialling { deadline: Some(deadline) } = self.phase
            && (self.keys.all_dialled() || now >= deadline)
        {
            self.keys.seal();
            if self.shape.confirm {
                self.phase = Phase::Confirming(Confirming::new(&self.shape, self.epoch));
            } else {
                self.open_epoch(out);
            }
        }
        if let Phase::Confirming(confirming) = &mut self.phase {
            confirming.advance(&self.keys, &self.attached, now, out);
            if confirming.is_done() {
                self.open_epoch(out);
            }
        }
        if let Phase::Running(rounds) = &mut self.phase {
            rounds.advance(&self.keys, &self.waited_for, now, lagging_users, self.stopping, out);
        }
    }

    fn open_epoch(&mut self, out: &mut Vec<Output>) {
        let dialled = self.keys.members_dialled().count_ones(..) as u32;
        let open = EpochOpen::new(self.epoch, dialled, RoundNumber::FIRST);
        out.push(Output::All(RoundNumber::DIAL, open.frame()));
        self.phase = Phase::Running(Rounds::new(&self.shape, self.epoch));
        self.wait_for_attached();
    }

    fn wait_for_attached(&mut self) {
        self.waited_for.clone_from(&self.attached);
        self.waited_for.intersect_with(self.keys.members_dialled());
    }
}
