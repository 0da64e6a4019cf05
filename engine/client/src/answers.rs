//! Both servers' answers, added up as they come.
//!
//! A user at a time, as soon as both servers' answers are there, in the same steps whatever was asked. What the sums are
//! is looked at later: see [`closed_rounds`](crate::closed_rounds).

use crate::client::Client;
use crate::deliver::{round_in_reach, stray};
use crate::epochs::Place;
use crate::error::{ClientError, field};
use crate::key::Key;
use crate::limits::TILE_SENDERS;
use crate::receiving::End;
use crate::stream::{Delivery, Kin};
use std::fmt;
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide};
use twincast_protocol::wire::{AbsentTile, Answers, Kind};
use zeroize::Zeroizing;

const KIND: Kind = Kind::Answers;

/// What the two servers answered in the round that is open, XORed: records, of which nobody else may know which.
#[derive(Default)]
pub(crate) struct Sums {
    /// By user and query, as far as both servers answered.
    bytes: Zeroizing<Vec<u8>>,
    /// Whether both servers name the same root and the same absent senders; none until both have.
    pub(crate) servers_agree: Option<bool>,
    /// The absent senders, as both name them.
    absent: Vec<AbsentTile>,
}

impl Sums {
    /// Whether at least one server has not begun to answer.
    pub(crate) fn is_untouched(&self) -> bool {
        self.servers_agree.is_none()
    }

    /// Whether both servers list this sender as absent.
    pub(crate) fn is_absent(&self, sender: MemberIndex) -> bool {
        let tile = self.absent.binary_search_by_key(&(sender.0 / TILE_SENDERS), |entry| entry.tile.get());
        tile.is_ok_and(|tile| self.absent[tile].absent.get() >> (sender.0 % TILE_SENDERS) & 1 == 1)
    }

    /// The sums of users in their order, slots ascending for each.
    pub(crate) fn records(&self) -> &[[u8; RECORD_BYTES]] {
        self.bytes.as_chunks().0
    }

    /// Adds a user's answers. `left`: bytes of the users after it.
    fn add(&mut self, answers: [&[u8]; 2], left: usize) {
        // In one piece, so that no copy of it stays anywhere.
        self.bytes.reserve_exact(answers[0].len() + left);
        self.bytes.extend(answers[0].iter().zip(answers[1]).map(|(one, two)| one ^ two));
    }
}

impl fmt::Debug for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sums").field("servers_agree", &self.servers_agree).finish_non_exhaustive()
    }
}

impl Client {
    /// Whether `server` describes a group whose delivery is `answer`.
    pub(crate) fn is_answered(&self, server: ServerSide) -> bool {
        self.streams[server.index()].welcome.is_some_and(|welcome| welcome.delivery == 1)
    }

    /// Takes the head of ANSWERS and whom it lists as absent; false if it must wait for the other server.
    pub(crate) fn answers_head(&mut self, server: ServerSide, head: &Answers) -> Result<bool, ClientError> {
        let (epoch, left) = (Epoch(head.epoch.get()), head.answers_bytes() as usize);
        let position = match self.place(server, KIND, epoch)? {
            Place::Wait => return Ok(false),
            Place::Drop => {
                self.streams[server.index()].delivery = Some(stray(epoch, left));
                return Ok(true);
            }
            Place::Session(position) => position,
        };
        let Some(group) = self.group else { return Ok(false) };
        let Client { streams, sessions, .. } = self;
        let (stream, session) = (&mut streams[server.index()], &sessions[position]);
        if !stream.open || stream.epoch != epoch {
            return Err(ClientError::Unexpected { server, kind: KIND, when: "before EPOCH_OPEN" });
        }
        if session.users.is_empty() {
            let when = "of an epoch in which this client plays nobody";
            return Err(ClientError::Unexpected { server, kind: KIND, when });
        }
        field(server, KIND, "users", head.users.get().into(), session.users.len() as u64)?;
        field(server, KIND, "queries", head.queries.get().into(), group.slots.into())?;
        let members = session.members();
        let absent = AbsentTile::read_list(stream.absent_list(head), members)
            .map_err(|_| ClientError::AbsentList { server })?;
        let listed: u32 = absent.iter().map(|tile| tile.absent.get().count_ones()).sum();
        field(server, KIND, "senders_present", head.senders_present.get().into(), (members - listed).into())?;
        let round = RoundNumber(head.round.get());
        stream.leave_out_before(round);
        if stream.in_step {
            field(server, KIND, "round", round.0, stream.round.0)?;
        }
        round_in_reach(stream, KIND, round)?;
        let late = self.round.number.is_some_and(|current| round < current);
        stream.absent = absent;
        stream.in_step = true;
        stream.round = round;
        stream.floor = Key::round(epoch, round);
        stream.delivery = Some(Delivery {
            key: stream.floor,
            tile: session.tile(round, 0, 0),
            present: 0,
            lost: 0,
            position: 0,
            piece_bytes: group.slots as usize * RECORD_BYTES,
            left,
            kin: Kin::InOrder,
            root: Some(head.root),
            dropped: late,
        });
        Ok(true)
    }

    /// Adds up the answers of a round as far as both servers' go. Whether there were any.
    pub(crate) fn read_answers(&mut self) -> bool {
        let Client { streams: [one, two], sessions, round, last_progress, .. } = self;
        let (Some(first), Some(second)) = (one.delivery, two.delivery) else { return false };
        let Some(session) = sessions.front().filter(|session| session.epoch == first.tile.epoch) else {
            return false;
        };
        if round.number != Some(first.tile.round) {
            return false;
        }
        if round.sums.is_untouched() {
            let (absent, other) = (std::mem::take(&mut one.absent), std::mem::take(&mut two.absent));
            round.sums.servers_agree = Some(first.root == second.root && absent == other);
            round.sums.absent = absent;
        }
        let (users, piece_bytes) = (session.users.len(), first.piece_bytes);
        let mut position = first.position;
        while position < users {
            let (Some(answers1), Some(answers2)) = (one.piece(piece_bytes), two.piece(piece_bytes)) else {
                break;
            };
            round.sums.add([answers1, answers2], (users - position - 1) * piece_bytes);
            one.piece_read();
            two.piece_read();
            position += 1;
        }
        if position == users {
            for stream in [one, two] {
                round.end(stream.server, End::Delivered, 0, *last_progress);
            }
        }
        position > first.position
    }
}
