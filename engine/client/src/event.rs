//! What happens to a client besides cells.

use crate::group::GroupSettings;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::wire::{Code, ErrorFrame};

/// What happens to a client besides cells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Both servers took the users, and describe the same group.
    Attached(GroupSettings),
    /// Both servers announced the same epoch; the client dials it.
    Announced {
        /// The epoch.
        epoch: Epoch,
        /// Its first round.
        first_round: RoundNumber,
        /// Its members, n.
        members: u32,
    },
    /// A user of this client asked to join and is no member of this epoch either. It keeps asking.
    NotAdmitted {
        /// The epoch.
        epoch: Epoch,
        /// The user.
        user: UserId,
    },
    /// A user of this client is a member no more from this epoch on.
    Left {
        /// The epoch.
        epoch: Epoch,
        /// The user.
        user: UserId,
    },
    /// A recipient that the caller named is no member of the epoch: the dial, or the message, leaves it out.
    RecipientGone {
        /// The epoch.
        epoch: Epoch,
        /// Who was to send.
        sender: UserId,
        /// The recipient.
        recipient: UserId,
    },
    /// Every dial of every user of this client is in effect.
    Dialled {
        /// The epoch.
        epoch: Epoch,
    },
    /// A dial reached one server only, and is in effect on neither. It is tried once more; if dialling is over, the
    /// user is silent in this epoch.
    DialVoid {
        /// The epoch.
        epoch: Epoch,
        /// Who dialled.
        sender: UserId,
        /// The slot.
        slot: SlotIndex,
    },
    /// The exchange of keys at the start of an epoch is over.
    KeysExchanged {
        /// The epoch.
        epoch: Epoch,
        /// Pairs of a user of this client and a partner who have a key now.
        pairs: u64,
        /// Keys and replies that are missing at one server or did not decode, of all senders.
        failed: u64,
    },
    /// A confirmation was given while the user was away, and the server had no room to keep it.
    Lost {
        /// The epoch.
        epoch: Epoch,
        /// The user of this client.
        user: UserId,
        /// Whose slot it is.
        sender: MemberIndex,
        /// The slot.
        slot: SlotIndex,
    },
    /// Rounds take submissions.
    EpochOpen {
        /// The epoch.
        epoch: Epoch,
        /// The first round whose verdicts come; for a client that came later not the epoch's first.
        first_round: RoundNumber,
        /// Confirmation cells that were opened.
        confirmed: u64,
        /// Confirmations that are missing or did not decode, of this client's users and all senders and slots.
        failed: u64,
    },
    /// In a group in which rounds are signed for, after [`Event::EpochOpen`]: the users of this client are silent at first,
    /// since an earlier one may have signed for the rounds before `until`
    /// ([`ClientSettings::signed`](crate::ClientSettings::signed)).
    Silent {
        /// The epoch.
        epoch: Epoch,
        /// The first round that this client signs for; none if it signs for none of this epoch, since an earlier client
        /// has signed for a later one.
        until: Option<RoundNumber>,
    },
    /// In a group in which rounds are signed for: the two servers say that they are two rounds or more apart, and nothing
    /// is submitted until that is over. One lags, or does not tell the truth. Told once for each time that it happens.
    ServersApart {
        /// The rounds that S1 and S2 are in.
        rounds: [RoundNumber; 2],
    },
    /// Every verdict on the round is in. In a group whose delivery is `answer`: all answers are in. The verdicts come
    /// with the first [`advance`](crate::Client::advance) after this one before which everything that was submitted is
    /// sent to both servers, then [`Event::RoundRead`].
    RoundClosed {
        /// The round.
        round: RoundNumber,
        /// Whether S1 and S2 left it out, or delivered its beginning before this client came. If both did, there
        /// were no verdicts on it.
        skipped: [bool; 2],
        /// Whether a server took too long, so that the rest was called `Incomplete`.
        timed_out: bool,
        /// Tiles that S1 and S2 released without the other's word on who is present.
        unagreed: [u32; 2],
    },
    /// In a group whose delivery is `answer`: every verdict on the round is in. It follows each [`Event::RoundClosed`].
    /// What a user sends must not wait for it, since reading takes time that depends on what was read.
    RoundRead {
        /// The round.
        round: RoundNumber,
    },
    /// In an accountable group: what a server signed for a user, or should have, is of no use, so that what it gave that
    /// user in the round cannot be held against it before others. Whoever sees this has reason not to trust that server.
    Unaccountable {
        /// Which server.
        server: ServerSide,
        /// The user of this client.
        user: UserId,
        /// The round.
        round: RoundNumber,
        /// What is missing.
        why: Shortfall,
    },
    /// A server refused something.
    Refused {
        /// Which server.
        server: ServerSide,
        /// The code's number; [`Code::from_number`] may know it.
        code: u16,
        /// The server's sentence.
        sentence: String,
        /// The member that it concerns.
        sender: Option<MemberIndex>,
        /// The slot that it concerns.
        slot: Option<SlotIndex>,
        /// The round that it concerns, else 0.
        round: RoundNumber,
        /// Whether the server closes the connection.
        closes: bool,
    },
}

/// What a server of an accountable group owes, and does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Shortfall {
    /// Its word on who was present is not signed by it.
    #[error("its receipt of the round is not signed with its key")]
    Receipt,
    /// Its word on what the user was given is not signed by it.
    #[error("its delivery root is not signed with its key")]
    Delivery,
    /// It did not answer for the tile that it was asked about.
    #[error("it gave no headers when it was asked")]
    NoHeaders,
    /// What it answered is not signed by it.
    #[error("its headers are not signed with its key")]
    Headers,
    /// It answers for another cell than the one that it delivered.
    #[error("it signed the hash of another cell than it delivered of sender {sender}")]
    OtherCell {
        /// Whose cell.
        sender: MemberIndex,
    },
}

impl Event {
    /// The code of a refusal that this version knows.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Event::Refused { code, .. } => Code::from_number(*code),
            _ => None,
        }
    }

    pub(crate) fn refused(server: ServerSide, head: &ErrorFrame, sentence: &str) -> Event {
        let index = |value: u32| (value != u32::MAX).then_some(value);
        Event::Refused {
            server,
            code: head.code.get(),
            sentence: sentence.to_owned(),
            sender: index(head.sender.get()).map(MemberIndex),
            slot: index(head.slot.get()).map(SlotIndex),
            round: RoundNumber(head.round.get()),
            closes: head.closes != 0,
        }
    }
}
