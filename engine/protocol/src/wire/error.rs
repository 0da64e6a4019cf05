//! ERROR: a code, what it concerns, and a sentence.

use super::{Body, Kind};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The longest sentence of an error, in bytes of UTF-8.
pub const SENTENCE_BYTES_MAX: usize = 256;

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident = $number:literal, $label:literal, $closes:literal, $sentence:literal; )*) => {
        /// What was wrong. Errors of form close the connection, errors of state refuse the one frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Code {
            $( $(#[$doc])* $name = $number, )*
        }

        impl Code {
            /// Every code, ascending.
            pub const ALL: &'static [Code] = &[ $( Code::$name, )* ];

            /// The code's name on `/metrics` and in the documents.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $( Code::$name => $label, )* }
            }

            /// Whether the server closes the connection after it.
            #[must_use]
            pub fn closes(self) -> bool {
                match self { $( Code::$name => $closes, )* }
            }

            /// The sentence that goes with it.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $( Code::$name => $sentence, )* }
            }
        }
    };
}

codes! {
    /// The frame's version byte is not this format's.
    VersionUnknown = 1, "version_unknown", true,
        "the frame has a version that this server does not speak; it speaks version 3";
    /// The frame's kind is unknown, or reserved header bytes are set.
    KindUnknown = 2, "kind_unknown", true,
        "the frame's kind is unknown, is not a client's to send, or its reserved bytes are not zero";
    /// The body has not the one length that its kind has in this group.
    LengthWrong = 3, "length_wrong", true,
        "the frame's body has not the length that its kind has in this group";
    /// The body is larger than any frame of a client may be.
    FrameTooLarge = 4, "frame_too_large", true,
        "the frame announces a body larger than any frame that this server takes";
    /// The first frame was not HELLO.
    HelloExpected = 5, "hello_expected", true, "the first frame of a connection must be HELLO";
    /// A second HELLO.
    HelloRepeated = 6, "hello_repeated", true, "a connection says HELLO once";
    /// No HELLO in time.
    HelloTimeout = 7, "hello_timeout", true, "no HELLO came within the server's time limit";
    /// The server has no such group.
    GroupUnknown = 8, "group_unknown", true, "this server has no group of that number";
    /// HELLO names the other server.
    SideWrong = 9, "side_wrong", true, "HELLO is meant for the other server; check the two addresses";
    /// HELLO names an epoch that is not the group's.
    HelloEpochWrong = 10, "hello_epoch_wrong", true, "HELLO names an epoch that is not the group's current one";
    /// A list of users is empty or not strictly ascending.
    UsersNotAscending = 11, "users_not_ascending", true,
        "users are listed strictly ascending, and at least one";
    /// HELLO names a user that the group does not have, and does not ask to join.
    UserUnknown = 12, "user_unknown", true, "the group has no user of that number, and HELLO does not ask to join";
    /// HELLO lists more members than a connection may play.
    UsersTooMany = 13, "users_too_many", true, "HELLO lists more members than one connection may play here";
    /// The server has as many connections as it may.
    ConnectionsFull = 14, "connections_full", true, "the server has as many connections as its limit allows";
    /// Another connection attached one of these members.
    Superseded = 15, "superseded", true, "a newer connection attached a member of this one, which ends it";
    /// The peer took too little for too long.
    SlowReader = 16, "slow_reader", true, "the connection did not read fast enough";
    /// The server is stopping.
    ShuttingDown = 17, "shutting_down", true, "the server is stopping";
    /// Reserved bytes are set, or a flag is neither 0 nor 1.
    ReservedSet = 18, "reserved_set", true, "bytes that must be zero are not, or a flag is neither 0 nor 1";
    /// The connection dialled far more often than its members have slots.
    DialFlood = 19, "dial_flood", true, "the connection dials far more often than its members have slots";
    /// The server takes private channels alone, and the peer began without one.
    ChannelWanted = 20, "channel_wanted", true,
        "this server takes private channels alone (Noise): give the client the server's channel key";
    /// The server takes no private channels, and the peer began one.
    ChannelUnknown = 21, "channel_unknown", true,
        "this server has channel = \"plain\" and takes no private channels, or not with that cipher";
    /// A handshake, or a record, that is not the peer's: changed on the way, or made for another server.
    ChannelBroken = 22, "channel_broken", true,
        "the private channel is broken: bytes were changed on the way, or are for another server's key";
    /// The address has too many connections that have not said who they are, or too many that came within a second.
    StrangersFull = 23, "strangers_full", true,
        "too many connections of this address have not said who they are, or came at once: wait, and come again";
    /// HELLO has no proofs, and the group's users are registered.
    ProofWanted = 24, "proof_wanted", true,
        "the group's users are registered, and HELLO does not prove who they are";
    /// A proof of HELLO is not that user's, for this channel.
    ProofWrong = 25, "proof_wrong", true,
        "a proof in HELLO is not that user's signature for this server and channel";
    /// HELLO names a user that has no account.
    NotRegistered = 26, "not_registered", true, "a user of HELLO has no account here: register its key first";
    /// The group takes no registrations over the network.
    RegistrationClosed = 27, "registration_closed", true,
        "the group takes no registrations over the network: ask both operators to add the account";
    /// The user has an account with another key, or another user has that key.
    AccountTaken = 28, "account_taken", true,
        "that user has an account with another key, or that key is another user's";
    /// The two servers were given different keys for one user.
    KeysUnequal = 29, "keys_unequal", true, "the two servers were given different keys for that user: neither takes one";
    /// A key, or its owner's signature of it, or the other server's, is wrong.
    RegistrationWrong = 30, "registration_wrong", true,
        "that is no key, or its signature is not that key's, or the other server's signature of it is wrong";
    /// The other server did not sign the key in time.
    RegistrationHalf = 31, "registration_half", true,
        "the other server did not sign that key in time: register at both servers at once";
    /// The sender is not attached by this connection.
    NotAttached = 32, "not_attached", false, "this connection did not attach that member";
    /// The group has fewer slots.
    SlotOutOfRange = 33, "slot_out_of_range", false, "the group has no slot of that index";
    /// The frame is for an epoch that is over, or not announced: its keys are refused.
    EpochWrong = 34, "epoch_wrong", false, "that epoch is over or not announced: its keys are not taken";
    /// Unused high bits of the session key's last byte are set.
    KeyPadding = 35, "key_padding", false, "the session key has bits set beyond the group's last member";
    /// The slot has a session key for this epoch already.
    AlreadyDialled = 36, "already_dialled", false, "the slot was dialled already for this epoch";
    /// Dialling for this epoch is over.
    DialClosed = 37, "dial_closed", false, "dialling for this epoch is over";
    /// The slot, or one of the sender's slots, has no session key.
    NotDialled = 38, "not_dialled", false, "a slot of this member was not dialled for this epoch";
    /// Parts that were not granted, or came twice.
    NotGranted = 39, "not_granted", false, "parts of that kind, sender and slot are not wanted now";
    /// A seed for S2, parts for S1, or a purpose that is none.
    PartsForm = 40, "parts_form", true, "S1 takes parts as a seed, S2 one by one; their purpose is 1, 2 or 3";
    /// Rounds do not take submissions yet.
    EpochNotOpen = 41, "epoch_not_open", false, "the group is still dialling: no round takes submissions";
    /// The member has submitted for this round.
    DuplicateSubmission = 42, "duplicate_submission", false, "the member submitted for that round already";
    /// The round is sealed.
    RoundSealed = 43, "round_sealed", false, "that round is sealed";
    /// The round is neither the open one nor the next.
    RoundTooFar = 44, "round_too_far", false, "that round is beyond the next one";
    /// The round is left out because too many readers lag.
    RoundSkipped = 45, "round_skipped", false, "that round is left out: too many readers lag";
    /// The other server does not have this dial: it is void.
    DialHalf = 46, "dial_half", false, "the other server does not have that dial: it takes effect on neither";
    /// S2's box has no room for these parts: members who are away lose them.
    BoxFull = 47, "box_full", false, "the box of this epoch is full: members who are away lose these parts";
    /// The group has as many members as it may, or as many accounts as may be registered.
    GroupFull = 48, "group_full", false, "the group has as many members, or accounts, as its limit allows";
    /// The two servers are not in the same epoch: it is given up, and another one dialled.
    EpochMismatch = 49, "epoch_mismatch", false,
        "the two servers are in different epochs: both give theirs up, and the next one is to be dialled";
    /// The other server cannot be reached, so that no dial can take effect.
    PeerAbsent = 50, "peer_absent", false, "the other server cannot be reached: dials wait for it";
    /// A choice word names a half that the submission does not have.
    ChoiceOutOfRange = 51, "choice_out_of_range", false, "a choice word names a half that there is not";
    /// FETCH names tiles that the running epoch does not have, or too many.
    FetchRange = 52, "fetch_range", false, "FETCH names tiles that the running epoch does not have, or too many";
    /// The two servers have different settings or members for the group: it is not served.
    SettingsDiffer = 53, "settings_differ", true,
        "the two servers have different settings for the group: their operators have to mend it";
    /// The epoch that was announced cannot be had: the running one goes on.
    EpochGivenUp = 54, "epoch_given_up", false, "the announced epoch is given up: the running one goes on";
    /// A record whose signature is not that of its sender for this round.
    SignatureWrong = 55, "signature_wrong", false, "the record is not signed by its sender for that round";
    /// The group signs its records, and the server has no verifying key of a user of HELLO.
    KeyUnknown = 56, "key_unknown", true, "the group's list of verifying keys does not have a user of HELLO";
    /// A record that the other server does not have, or has another one of.
    RecordHalf = 57, "record_half", false,
        "the other server does not have that record: its sender is absent in that round";
    /// Records without their sender's signature, again and again.
    SignatureFlood = 58, "signature_flood", true, "the connection sends records that are not signed by their senders";
    /// A dial whose commitment or signature is not what it has to be.
    CommitmentWrong = 59, "commitment_wrong", false,
        "the dial's commitment does not open to its session key, or its sender did not sign it";
    /// Parts that are not those that the sender's dial committed to.
    PartsUnsigned = 60, "parts_unsigned", false, "those parts are not the ones that the sender's dial committed to";
    /// FETCH_HEADERS for a tile that is not kept, or out of turn.
    HeadersRange = 61, "headers_range", false,
        "headers of that tile are not kept, or it is not this user's turn to ask for them";
    /// A user whose submissions are refused again and again.
    SubmissionFlood = 62, "submission_flood", true, "the connection submits far more often than there are rounds";
}

impl Code {
    /// The code with this number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| *code as u16 == number)
    }

    /// The whole error frame; `sender`, `slot` and `round` say what it concerns, `u32::MAX` or 0 where nothing.
    #[must_use]
    pub fn frame(self, sender: u32, slot: u32, round: u64) -> bytes::Bytes {
        let sentence = self.sentence().as_bytes();
        let head = ErrorFrame {
            round: round.into(),
            sender: sender.into(),
            slot: slot.into(),
            code: (self as u16).into(),
            closes: u8::from(self.closes()),
            reserved: [0; 5],
        };
        let mut out = Vec::with_capacity(super::HEADER_BYTES + size_of::<ErrorFrame>() + sentence.len());
        head.put(sentence.len(), &mut out);
        out.extend_from_slice(sentence);
        out.into()
    }
}

/// Head of ERROR; the sentence (UTF-8, at most 256 bytes) follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ErrorFrame {
    /// The round it concerns, else 0.
    pub round: U64,
    /// The member it concerns, else `u32::MAX`.
    pub sender: U32,
    /// The slot it concerns, else `u32::MAX`.
    pub slot: U32,
    /// A [`Code`]'s number.
    pub code: U16,
    /// 1 if the server closes the connection after this frame.
    pub closes: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

const _: () = assert!(size_of::<ErrorFrame>() == 24);

impl Body for ErrorFrame {
    const KIND: Kind = Kind::Error;
}

impl ErrorFrame {
    /// Reads an ERROR body: the head and the sentence.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] when it is too short, or the sentence is too long or not UTF-8.
    pub fn read(body: &[u8]) -> Result<(ErrorFrame, &str), Code> {
        let (head, sentence) = ErrorFrame::parse_prefix(body)?;
        if sentence.len() > SENTENCE_BYTES_MAX {
            return Err(Code::LengthWrong);
        }
        let sentence = str::from_utf8(sentence).map_err(|_| Code::LengthWrong)?;
        Ok((head, sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire_with_its_sentence() {
        for &code in Code::ALL {
            let frame = code.frame(3, 1, 9);
            let (head, sentence) = ErrorFrame::read(&frame[8..]).unwrap();
            assert_eq!(Code::from_number(head.code.get()), Some(code));
            assert_eq!(sentence, code.sentence());
            assert_eq!(head.closes == 1, code.closes());
            assert!(sentence.len() <= SENTENCE_BYTES_MAX);
        }
    }

    #[test]
    fn sentences_that_are_too_long_or_not_text_are_refused() {
        let mut body = Code::RoundSealed.frame(0, 0, 1)[8..].to_vec();
        body.push(0xff);
        assert!(ErrorFrame::read(&body).is_err());
        body.pop();
        body.resize(24 + SENTENCE_BYTES_MAX + 1, b'x');
        assert!(ErrorFrame::read(&body).is_err());
    }
}
