//! Evidence: what two servers signed about one share, in a file that anybody can judge offline.
//!
//! It is text (JSON, bytes in hexadecimal), says its own version, and carries the verifying keys of both servers, which
//! whoever judges it compares with those that it knows. It holds no more than its verdict needs. In particular cells are in
//! it only where they convict the sender that made them, and an opening only where it convicts somebody: **a genuine share
//! of an honest sender is never in a file**, nor, where a server altered a share, whether the recipient was dialled.

mod minimal;
mod text;

pub use text::{EVIDENCE_BYTES_MAX, EvidenceError};

use super::blame::{Verdict, blame};
use super::certificate::Certificate;
use super::delivery::tile_and_position;
use super::headers::{Fixed, Headers, Signed, entry_digest, headers_digest, part_bytes};
use crate::identity::{SIGNATURE_BYTES, VerifyingKey};
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use crate::statements::{self, HASH_BYTES, Hash};
use crate::wire::{HeadersHead, SignedRoot};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use text::{certificate, hexed, hexed_halves, hexed_list, hexed_words, key_pair};
use zerocopy::IntoBytes;

/// One case, and whose signatures it is to be judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The verifying keys of S1 and S2, as who made this believed them to be.
    #[serde(with = "key_pair")]
    pub servers: [VerifyingKey; 2],
    /// What happened.
    pub case: Case,
}

/// What can be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Case {
    /// One recipient's cells of one sender.
    Share(Box<Share>),
    /// Two receipts of one server for one round.
    Receipts(Box<Receipts>),
    /// Two uploads of one sender to one server for one round.
    Uploads(Box<Uploads>),
}

/// Which share a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The group.
    pub group: GroupId,
    /// The epoch.
    pub epoch: Epoch,
    /// The round.
    pub round: RoundNumber,
    /// The slot.
    pub slot: SlotIndex,
    /// Who sent it.
    pub sender: UserId,
    /// Who was given it.
    pub recipient: UserId,
}

/// One recipient's cells of one sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Which share.
    pub about: About,
    /// The epoch's members, ascending.
    pub roster: Vec<UserId>,
    /// What S1 and S2 signed and gave.
    pub given: [Given; 2],
}

/// What one server signed and gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Its receipt of the round.
    pub receipt: Option<Receipt>,
    /// Its delivery root for the recipient.
    pub delivery: Option<Delivery>,
    /// Its headers, less all entries but the sender's.
    pub headers: Option<Shown>,
    /// The cell.
    pub cell: Option<Cell>,
}

/// A receipt of a round: who was present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// A word for each tile of a slot.
    #[serde(with = "hexed_words")]
    pub present: Vec<u64>,
    /// The server's signature.
    #[serde(with = "hexed")]
    pub signature: [u8; SIGNATURE_BYTES],
}

/// A delivery root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The root.
    #[serde(with = "hexed")]
    pub root: Hash,
    /// The server's signature.
    #[serde(with = "hexed")]
    pub signature: [u8; SIGNATURE_BYTES],
}

/// Headers of which one entry is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The head, as on the wire.
    #[serde(with = "hexed")]
    pub head: [u8; size_of::<HeadersHead>()],
    /// From the tile to the delivery root.
    #[serde(with = "hexed_list")]
    pub path: Vec<Hash>,
    /// e_s of each sender of the tile.
    #[serde(with = "hexed_list")]
    pub blinded: Vec<Hash>,
    /// The digest of each sender's entry.
    #[serde(with = "hexed_list")]
    pub digests: Vec<Hash>,
    /// The sender's entry, less its opening.
    #[serde(with = "hexed")]
    pub front: Vec<u8>,
    /// The entry's opening, or its hash.
    pub opening: ShownOpening,
    /// The server's signature.
    #[serde(with = "hexed")]
    pub signature: [u8; SIGNATURE_BYTES],
}

/// An opening, or what stands for it where it is not needed. `Debug` shows only which.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownOpening {
    /// Its bytes.
    Open(#[serde(with = "hexed")] Vec<u8>),
    /// Its hash: with the salt that it holds it says nothing.
    Hidden(#[serde(with = "hexed")] Hash),
}

impl ShownOpening {
    pub(super) fn hash(&self) -> Hash {
        match self {
            ShownOpening::Open(bytes) => Sha256::digest(bytes).into(),
            ShownOpening::Hidden(hash) => *hash,
        }
    }
}

impl fmt::Debug for ShownOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ShownOpening::Open(_) => "Open(..)",
            ShownOpening::Hidden(_) => "Hidden(..)",
        })
    }
}

/// A cell that a recipient was given. `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cell(#[serde(with = "hexed")] pub Vec<u8>);

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cell(..)")
    }
}

/// Two receipts of one server for one round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipts {
    /// The group.
    pub group: GroupId,
    /// The epoch.
    pub epoch: Epoch,
    /// The round.
    pub round: RoundNumber,
    /// The server.
    pub server: ServerSide,
    /// Each with the hash of the members that it is about.
    pub receipts: [RosterReceipt; 2],
}

/// A receipt, and the hash of the members that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterReceipt {
    /// [`roster_hash`](crate::wire::roster_hash) of the epoch's members.
    #[serde(with = "hexed")]
    pub roster_hash: Hash,
    /// The receipt.
    pub receipt: Receipt,
}

/// Two uploads of one sender to one server for one round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uploads {
    /// The group.
    pub group: GroupId,
    /// The epoch.
    pub epoch: Epoch,
    /// The round.
    pub round: RoundNumber,
    /// The server that they are for.
    pub server: ServerSide,
    /// The sender.
    pub sender: UserId,
    /// The sender's key.
    #[serde(with = "certificate")]
    pub certificate: Certificate,
    /// The two.
    pub uploads: [SignedUpload; 2],
    /// Headers of S1 and S2 for this round, which show the sender's key; in those of `server` one of the two stands.
    /// Without both nobody is convicted: whoever has a key that its user gave up can still sign with it, for any round, and
    /// a server that is in league with it says what it likes.
    #[serde(default)]
    pub attested: [Option<Attested>; 2],
}

impl Uploads {
    /// What the two are uploads of.
    pub(super) fn place(&self) -> UploadPlace {
        let Uploads { group, epoch, round, server, sender, .. } = *self;
        UploadPlace { group, epoch, round, server, sender }
    }
}

/// What a sender signs one upload of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UploadPlace {
    pub(super) group: GroupId,
    pub(super) epoch: Epoch,
    pub(super) round: RoundNumber,
    pub(super) server: ServerSide,
    pub(super) sender: UserId,
}

/// Headers of a server: its word that the certificate in them was the sender's in that round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attested {
    /// Whom the headers are for.
    pub recipient: UserId,
    /// The headers, less all entries but the sender's.
    pub headers: Shown,
}

/// What a sender signed of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedUpload {
    /// For each slot the hashes of half 0 and half 1.
    #[serde(with = "hexed_halves")]
    pub halves: Vec<[Hash; 2]>,
    /// The sender's signature.
    #[serde(with = "hexed")]
    pub signature: [u8; SIGNATURE_BYTES],
}

/// What a recipient has from one server, to make evidence of.
#[derive(Clone, Copy, Debug, Default)]
pub struct GivenBy<'a> {
    /// The words and the signature of the round's receipt.
    pub receipt: Option<(&'a [u64], &'a [u8; SIGNATURE_BYTES])>,
    /// The delivery root of the round.
    pub root: Option<&'a SignedRoot>,
    /// The headers of the sender's tile.
    pub headers: Option<&'a Headers>,
    /// The sender's cell, if it was kept.
    pub cell: Option<&'a [u8]>,
}

impl Evidence {
    /// Makes evidence about a share, and judges it by these servers' keys. What the verdict does not need is left out:
    /// where nobody can be blamed, that is everything but the receipts, and the file shows nothing but who was present.
    ///
    /// # Errors
    /// [`EvidenceError::NotAMember`] where the sender or recipient is none of `roster`, ascending;
    /// [`EvidenceError::OtherTile`] where headers are not of this share's tile, round, epoch and recipient.
    pub fn share(
        about: About,
        roster: &[UserId],
        servers: [VerifyingKey; 2],
        given: [GivenBy<'_>; 2],
    ) -> Result<(Evidence, Verdict), EvidenceError> {
        let mut evidence = Evidence::whole(about, roster, servers, given)?;
        let verdict = blame(&evidence, &servers);
        minimal::reduce(&mut evidence, &verdict);
        Ok((evidence, verdict))
    }

    /// All that there is, also what must not leave its owner.
    pub(super) fn whole(
        about: About,
        roster: &[UserId],
        servers: [VerifyingKey; 2],
        given: [GivenBy<'_>; 2],
    ) -> Result<Evidence, EvidenceError> {
        let index = |user: UserId| roster.binary_search(&user).map_err(|_| EvidenceError::NotAMember(user));
        let sender = MemberIndex(index(about.sender)? as u32);
        index(about.recipient)?;
        let (tile, position) = tile_and_position(sender);
        let [one, two] = given.map(|given| {
            let headers = given.headers.map(|headers| {
                let head = &headers.head;
                let right = head.round.get() == about.round.0
                    && head.epoch.get() == about.epoch.0
                    && head.slot.get() == about.slot.0
                    && head.tile.get() == tile;
                right.then(|| Shown::new(headers, position)).flatten().ok_or(EvidenceError::OtherTile)
            });
            Ok(Given {
                receipt: given
                    .receipt
                    .map(|(present, signature)| Receipt { present: present.to_vec(), signature: *signature }),
                delivery: given
                    .root
                    .map(|signed| Delivery { root: signed.root, signature: signed.signature }),
                headers: headers.transpose()?,
                cell: given.cell.map(|cell| Cell(cell.to_vec())),
            })
        });
        let share = Share { about, roster: roster.to_vec(), given: [one?, two?] };
        Ok(Evidence { servers, case: Case::Share(Box::new(share)) })
    }

    /// What several pieces of evidence say together, by these servers' keys: every pair of receipts or of uploads among
    /// them that contradict each other.
    #[must_use]
    pub fn contradictions(all: &[Evidence], servers: &[VerifyingKey; 2]) -> Vec<Evidence> {
        minimal::contradictions(all, servers)
    }
}

impl Shown {
    fn new(headers: &Headers, position: u32) -> Option<Shown> {
        let (front, opening) = headers.parts(position)?;
        Some(Shown {
            head: headers.head.as_bytes().try_into().expect("a head"),
            path: headers.path.clone(),
            blinded: headers.blinded(),
            digests: headers.digests(),
            front: front.to_vec(),
            opening: ShownOpening::Open(opening.to_vec()),
            signature: headers.signature,
        })
    }

    /// The head, if the server with this key signed these headers for that recipient.
    pub(super) fn signed_head(
        &self,
        group: GroupId,
        server: ServerSide,
        recipient: UserId,
        key: &VerifyingKey,
    ) -> Option<HeadersHead> {
        let head = self.head()?;
        let fixed = Fixed::read(&self.front);
        let right = fixed.position < head.senders.get()
            && self.digests[fixed.position as usize] == entry_digest(&self.front, &self.opening.hash());
        let digest = headers_digest(&head, &self.path, &self.blinded, &self.digests);
        let statement = statements::headers(group, server, recipient, &digest);
        (right && key.verify(&statement, &self.signature)).then_some(head)
    }

    /// The sender's key and upload in headers that the server with this key signed for that recipient, if they are of this
    /// round and say that the sender was present.
    pub(super) fn attests(
        &self,
        place: &UploadPlace,
        recipient: UserId,
        key: &VerifyingKey,
    ) -> Option<(Certificate, SignedUpload)> {
        let head = self.signed_head(place.group, place.server, recipient, key)?;
        let fixed = Fixed::read(&self.front);
        let right = (head.round.get(), head.epoch.get()) == (place.round.0, place.epoch.0)
            && fixed.user == place.sender
            && head.present.get() >> fixed.position & 1 == 1;
        let signed = right.then(|| Signed::read(&head, &self.front, None)).flatten()?;
        Some((signed.certificate, SignedUpload { halves: signed.halves, signature: signed.upload }))
    }

    /// The head, if it and the lengths of all the rest agree.
    fn head(&self) -> Option<HeadersHead> {
        let head: HeadersHead = zerocopy::transmute!(self.head);
        head.check().ok()?;
        let (front_bytes, opening_bytes) = part_bytes(&head);
        let senders = head.senders.get() as usize;
        let opening_right = match &self.opening {
            ShownOpening::Open(bytes) => bytes.len() == opening_bytes,
            ShownOpening::Hidden(_) => true,
        };
        let right = self.path.len() == head.path_hashes.get() as usize
            && self.blinded.len() == senders
            && self.digests.len() == senders
            && self.front.len() == front_bytes
            && opening_right;
        right.then_some(head)
    }
}

const _: () = assert!(HASH_BYTES == 32);
