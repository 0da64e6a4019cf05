//! Shows members, each at its turn, what senders signed of one tile and what this server chose of it.
//!
//! As with parts that are fetched, an answer is made in the turns of its group and bounded in bytes until it is sent.
//! Nothing of it is kept: it is made of the round's hashes, the epoch's session keys and the confirmations.

use super::super::dials::Dials;
use super::super::fetch::Answer;
use super::super::store::{Kept, PartsStore, Whose};
use super::super::{ConnectionId, Group, Output, Refusal, Shape};
use super::{Commitments, Ledger};
use crate::accountable::SignedRound;
use crate::limits::HEADERS_WAITING_MAX;
use crate::roster::Roster;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use twincast_protocol::accountable::delivery::leaf_index;
use twincast_protocol::accountable::headers::{Entry, Signed, headers_frame};
use twincast_protocol::accountable::tree::path;
use twincast_protocol::accountable::turn::{fetchable, is_turn, rounds_kept};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, SlotIndex, UserId};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Code, FetchHeaders, HeadersHead, headers_frame_bytes};

/// The group's unanswered FETCH_HEADERS.
#[derive(Debug, Default)]
pub(in super::super) struct HeaderFetches {
    turns: VecDeque<Asked>,
    /// By user: the last turn that it has used.
    used: HashMap<UserId, RoundNumber>,
    /// Bytes of answers that are made and not sent, also to connections that are gone.
    unsent: Arc<AtomicUsize>,
}

/// One FETCH_HEADERS.
#[derive(Debug)]
struct Asked {
    connection: ConnectionId,
    user: UserId,
    fetch: FetchHeaders,
    round: Arc<SignedRound>,
}

/// An epoch that is over, of which headers are still asked for.
#[derive(Debug)]
pub(in super::super) struct Past {
    dials: Dials,
    store: PartsStore,
    commitments: Commitments,
    ledger: Ledger,
    /// The first round that is not its own.
    end: RoundNumber,
}

/// What the headers of an epoch are made of.
struct Epochs<'a> {
    dials: &'a Dials,
    store: &'a PartsStore,
    commitments: &'a Commitments,
    ledger: &'a Ledger,
}

#[cfg(test)]
impl HeaderFetches {
    /// How many are not answered.
    pub(in super::super) fn turns_len(&self) -> usize {
        self.turns.len()
    }
}

impl Past {
    pub(in super::super) fn new(
        dials: Dials,
        store: PartsStore,
        commitments: Commitments,
        ledger: Ledger,
        end: RoundNumber,
    ) -> Past {
        Past { dials, store, commitments, ledger, end }
    }

    pub(in super::super) fn epoch(&self) -> Epoch {
        self.ledger.book().roster().epoch()
    }
}

impl Group {
    /// A FETCH_HEADERS: what was signed of one tile of one round, for one member of this connection whose turn it is, or was
    /// a while ago: each turn serves once. It is answered as [`Group::fetch`] answers; but who still waits for headers of
    /// an earlier turn is given those at once, so that a group whose rounds are faster than its headers does not fall
    /// behind with them, but slows down.
    ///
    /// # Errors
    /// [`Code::NotAttached`], or [`Code::HeadersRange`].
    pub fn fetch_headers(
        &mut self,
        connection: ConnectionId,
        fetch: &FetchHeaders,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let refuse = |code| Refusal {
            code,
            sender: fetch.user.get(),
            slot: fetch.slot.get(),
            round: fetch.round.get(),
        };
        let epochs = self.epochs(Epoch(fetch.epoch.get())).ok_or(refuse(Code::HeadersRange))?;
        let book = epochs.ledger.book();
        let user = book.roster().user(MemberIndex(fetch.user.get())).ok_or(refuse(Code::NotAttached))?;
        if self.seats.connection_of(user) != Some(connection) {
            return Err(refuse(Code::NotAttached));
        }
        let asked = RoundNumber(fetch.round.get());
        let in_tile =
            (fetch.tile.get() as usize) < book.tiles() && (fetch.slot.get() as usize) < self.shape.slots;
        let round = epochs.ledger.round(asked).filter(|_| in_tile).ok_or(refuse(Code::HeadersRange))?.clone();
        let turn = self.turn_for(user, asked).ok_or(refuse(Code::HeadersRange))?;
        self.header_fetches.used.insert(user, turn);
        self.answer_earlier(user, out);
        self.header_fetches.turns.push_back(Asked { connection, user, fetch: *fetch, round });
        self.make_headers(out);
        Ok(())
    }

    /// Whether a FETCH_HEADERS is not answered.
    pub(in super::super) fn has_header_fetches(&self) -> bool {
        !self.header_fetches.turns.is_empty()
    }

    /// Answers what was asked for, as far as the group's budget goes; who does not read waits.
    pub(in super::super) fn make_headers(&mut self, out: &mut Vec<Output>) {
        let mut waiting = 0;
        while self.fetches.budget() > 0 && waiting < self.header_fetches.turns.len() {
            let Some(asked) = self.header_fetches.turns.pop_front() else { return };
            match self.answer_headers(asked, out) {
                Ok(()) => waiting = 0,
                Err(asked) => {
                    waiting += 1;
                    self.header_fetches.turns.push_back(asked);
                }
            }
        }
    }

    /// Answers the oldest that a user waits for, whatever the budget; where it does not take its answers and waits for too
    /// many, by saying that it gets none.
    fn answer_earlier(&mut self, user: UserId, out: &mut Vec<Output>) {
        let of_user = |asked: &Asked| asked.user == user;
        let Some(place) = self.header_fetches.turns.iter().position(of_user) else { return };
        let Some(asked) = self.header_fetches.turns.remove(place) else { return };
        let Err(asked) = self.answer_headers(asked, out) else { return };
        if 1 + self.header_fetches.turns.iter().filter(|asked| of_user(asked)).count() < HEADERS_WAITING_MAX {
            self.header_fetches.turns.insert(place, asked);
        } else {
            out.push(Output::To(asked.connection, asked.refusal()));
        }
    }

    /// Answers one that asked, if there is still somebody to answer. Given back: too much is on its way to it.
    fn answer_headers(&mut self, asked: Asked, out: &mut Vec<Output>) -> Result<(), Asked> {
        if self.seats.connection_of(asked.user) != Some(asked.connection) {
            return Ok(());
        }
        let head = head_of(&self.shape, &asked);
        let bytes = headers_frame_bytes(&head);
        let Some(unsent) = self.room_for(asked.connection, bytes) else { return Err(asked) };
        // A sender's entry takes the parts of 64 recipients, and a recipient's root a hash a cell.
        let cost = bytes + 64 * 64 * head.senders.get() as usize + 32 * asked.round.cells();
        self.fetches.spend(cost);
        let frame = match self.headers(&asked, &head) {
            Some(frame) => Bytes::from_owner(Answer::of(frame, unsent)),
            None => asked.refusal(),
        };
        out.push(Output::To(asked.connection, frame));
        Ok(())
    }

    /// Where an answer of so many bytes counts as unsent; none where too much is on its way.
    fn room_for(&mut self, connection: ConnectionId, bytes: usize) -> Option<[Arc<AtomicUsize>; 2]> {
        let seat = self.seats.get_mut(connection)?;
        let most =
            [seat.users.len(), self.shape.members_max].map(|users| self.shape.headers_unsent_max(users));
        let unsent = [seat.headers_unsent.clone(), self.header_fetches.unsent.clone()];
        let room = |(unsent, most): (&Arc<AtomicUsize>, usize)| {
            let unsent = unsent.load(Relaxed);
            unsent == 0 || unsent + bytes <= most * bytes
        };
        unsent.iter().zip(most).all(room).then_some(unsent)
    }

    /// The frame; none where its epoch, or a part of it, is not here any more.
    fn headers(&mut self, asked: &Asked, head: &HeadersHead) -> Option<Vec<u8>> {
        let mut kept = self.kept.take();
        let frame =
            self.epochs(Epoch(head.epoch.get())).and_then(|epochs| epochs.headers(asked, head, &mut kept));
        self.kept = kept;
        frame
    }

    /// The turn at which a user asks for this round: the first that it has not used, of those that have come and at which
    /// the round may be asked for. A client may be behind by some turns, and may have let some pass; whichever it means, it
    /// has no more of them.
    fn turn_for(&self, user: UserId, asked: RoundNumber) -> Option<RoundNumber> {
        let every = self.shape.header_rounds as u32;
        let member = |roster: &Roster| roster.index_of(user);
        let before = self.past.as_ref().map_or(RoundNumber::DIAL, |past| past.end);
        let old = self.past.as_ref().and_then(|past| member(past.ledger.book().roster()));
        let new = self.running.as_ref().and_then(|running| member(&running.roster));
        let open = self.running.as_ref().map_or(before, |running| running.rounds.open());
        let unused = self.header_fetches.used.get(&user).map_or(asked, |used| asked.max(used.next()));
        (unused.0..open.0).map(RoundNumber).take_while(|turn| fetchable(*turn, every).contains(&asked)).find(
            |turn| {
                let member = if *turn < before { old } else { new };
                member.is_some_and(|member| is_turn(*turn, member, every))
            },
        )
    }

    fn epochs(&self, epoch: Epoch) -> Option<Epochs<'_>> {
        let running = self.running.as_ref().and_then(|running| {
            let (commitments, ledger) = (running.commitments.as_ref()?, running.rounds.ledger()?);
            Some(Epochs { dials: &running.dials, store: &running.store, commitments, ledger })
        });
        let past = self.past.as_ref().map(|past| {
            let Past { dials, store, commitments, ledger, .. } = past;
            Epochs { dials, store, commitments, ledger }
        });
        running.into_iter().chain(past).find(|epochs| epochs.ledger.book().roster().epoch() == epoch)
    }

    /// Forgets the epoch before the running one, once nobody can ask for anything of it.
    pub(in super::super) fn forget_past(&mut self) {
        let kept = rounds_kept(self.shape.header_rounds as u32) as u64;
        let open = self.open_round();
        let Some(past) = self.past.take_if(|past| open.0 >= past.end.0.saturating_add(kept)) else { return };
        self.forget_parts(past.epoch());
        let ends = past.end;
        self.header_fetches.used.retain(|_, used| *used >= ends);
    }
}

impl Asked {
    /// That this server has none for it.
    fn refusal(&self) -> Bytes {
        let (user, slot) = (self.fetch.user.get(), self.fetch.slot.get());
        Code::HeadersRange.frame(user, slot, self.round.round().0)
    }
}

impl Epochs<'_> {
    fn headers(&self, asked: &Asked, head: &HeadersHead, kept: &mut Kept) -> Option<Vec<u8>> {
        let (round, recipient) = (&asked.round, MemberIndex(head.user.get()));
        let (slot, tile) = (head.slot.get() as usize, head.tile.get() as usize);
        let book = round.book();
        let mut leaves = Vec::new();
        round.tile_hashes(recipient, &mut leaves);
        let index = leaf_index(SlotIndex(slot as u32), tile as u32, book.tiles() as u32);
        let blinds = round.blinds(recipient).tile(round.round(), index);
        let mut entries = Vec::with_capacity(head.senders.get() as usize);
        for (position, sender) in (0..).zip(book.senders(tile)) {
            let signed = match round.upload(sender) {
                None => None,
                Some((halves, upload)) => {
                    let whose = Whose { kind: PartKind::Confirmation, slot, sender };
                    let (dial, opening) =
                        self.commitments.open(whose, recipient, self.dials, self.store, kept)?;
                    let certificate = self.commitments.certificate(book.roster(), sender)?;
                    Some(Signed { halves: halves.to_vec(), upload: *upload, dial, certificate, opening })
                }
            };
            entries.push(Entry {
                user: book.roster().ids()[sender],
                position,
                blind: blinds[position as usize],
                share_hash: round.share_hash(slot, sender, recipient),
                signed,
            });
        }
        let accounting = book.accounting();
        Some(headers_frame(
            accounting.group,
            accounting.side,
            asked.user,
            head,
            &path(&leaves, index),
            &entries,
            &accounting.signing,
        ))
    }
}

fn head_of(shape: &Shape, asked: &Asked) -> HeadersHead {
    let present = asked.round.present()[asked.fetch.tile.get() as usize];
    HeadersHead::new(&asked.fetch, asked.round.roster().members() as u32, shape.slots as u32, present)
}
