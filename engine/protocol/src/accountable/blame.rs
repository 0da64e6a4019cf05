//! Blame: who is at fault, told from evidence alone, offline, by anybody who has the two servers' verifying keys.
//!
//! The rules, so that whoever makes the evidence may leave out, invent and recombine what it likes:
//!
//! 1. What a server did not sign counts for nothing. Headers that it did sign have to be right inside: its own signature
//!    under the certificate, upload and dial under the certificate's key, opening under the root that the dial has, blind
//!    and path under the delivery root that this server signed, members and presence as in its receipt. If they are not:
//!    that server.
//! 2. It says that it gave a share that the sender did not sign for it: that server.
//! 3. It says that it gave the half that its own opening says the recipient does not get: that server.
//! 4. Each server says that it gave something that the sender signed, and the two cells do not decode: the sender.
//! 5. Two halves of one hash; two roots under one dial id; a confirmation that does not decode, or has other bits than its
//!    openings; cells of the wrong kind though both halves are right: the sender.
//! 6. Two receipts of one server for one round that differ: that server. Two uploads of one sender for one round and
//!    server that differ, where both servers' headers for that round show their key as the sender's, and this server's one
//!    of the two: the sender. A certificate alone does not do: that of a key which the sender gave up stays as good as it
//!    was.
//! 7. Else nobody.
//!
//! Rules 4 and 5 bring two servers' words together, so they need both servers' receipts: those bind who the members are,
//! and with that the context of every codeword.
//!
//! # By whose keys
//!
//! Parties change keys, and who is dishonest has as many as it likes: it signs with a second one what it signed before, or
//! tells the other server another one than it publishes. So a verdict has to follow from the keys of whom it is about.
//!
//! - A verdict on a server (rules 1, 2 and 3, and two receipts) follows from **its own key alone**. The user's key in it is
//!   the one that this server shows and signed as that user's. The other server's signature under the certificate, or that
//!   it is missing or wrong, is no fault of this server: the key is then not known to be the sender's, rules 4 and 5 have
//!   no headers of this server, and there is a [`Doubt::OtherServer`]. A dishonest server that shows such a certificate
//!   gains no more than one that gives no headers.
//! - A verdict on a sender (rules 4 and 5, and two uploads) follows from **both servers' keys, and the one key of the sender
//!   that both show** in what they signed for that round. One of them is honest, and shows the key that was the sender's in
//!   that epoch. A key that the sender had given up before, or got later, convicts nobody, whatever the other server signs;
//!   nor does one that only one of the two shows.
//! - A signature has no date. Of the rounds in which a key *was* the sender's it convicts whoever had it, also by what is
//!   signed later: a user who gives up a key destroys it.

mod share;
mod why;

pub use why::{Doubt, Why};

use super::evidence::{Case, Evidence, Receipts, UploadPlace, Uploads};
use super::upload::UploadOf;
use crate::identity::VerifyingKey;
use crate::ids::{ServerSide, UserId};
use crate::statements;
use std::fmt;

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This server.
    Server(ServerSide, Why),
    /// This user, as a sender.
    Sender(UserId, Why),
    /// Nobody can be blamed by this evidence, and this is why.
    Nobody(Why),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Server(side, why) => write!(f, "server {side} is at fault: {why}"),
            Verdict::Sender(user, why) => write!(f, "user {user} is at fault, as the sender: {why}"),
            Verdict::Nobody(why) => write!(f, "nobody can be blamed: {why}"),
        }
    }
}

/// A verdict, and what of the evidence counted for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Who is at fault.
    pub verdict: Verdict,
    /// Parts of the evidence that are not what they claim to be. Where there are any, somebody made them up, or the
    /// servers have other keys.
    pub doubts: Vec<Doubt>,
}

/// Who is at fault, by evidence and the servers' verifying keys. The verdict is worth as much as these keys: with false
/// ones anybody can be blamed.
#[must_use]
pub fn blame(evidence: &Evidence, servers: &[VerifyingKey; 2]) -> Verdict {
    judge(evidence, servers).verdict
}

/// [`blame`], and whether all parts of the evidence are sound.
#[must_use]
pub fn judge(evidence: &Evidence, servers: &[VerifyingKey; 2]) -> Judgement {
    let mut doubts = Vec::new();
    let verdict = match &evidence.case {
        Case::Share(share) => share::judge(share, servers, &mut doubts),
        Case::Receipts(receipts) => judge_receipts(receipts, servers, &mut doubts),
        Case::Uploads(uploads) => judge_uploads(uploads, servers, &mut doubts),
    };
    Judgement { verdict, doubts }
}

fn judge_receipts(case: &Receipts, servers: &[VerifyingKey; 2], doubts: &mut Vec<Doubt>) -> Verdict {
    let key = &servers[case.server.index()];
    let signed = case.receipts.iter().all(|own| {
        let (present, signature) = (&own.receipt.present, &own.receipt.signature);
        let statement =
            statements::receipt(case.group, case.epoch, case.round, case.server, &own.roster_hash, present);
        key.verify(&statement, signature)
    });
    if !signed {
        doubts.push(Doubt::Receipt(case.server));
        return Verdict::Nobody(Why::NotSigned);
    }
    let [first, second] = &case.receipts;
    if (first.roster_hash, &first.receipt.present) == (second.roster_hash, &second.receipt.present) {
        return Verdict::Nobody(Why::NoContradiction);
    }
    Verdict::Server(case.server, Why::TwoReceipts)
}

fn judge_uploads(case: &Uploads, servers: &[VerifyingKey; 2], doubts: &mut Vec<Doubt>) -> Verdict {
    if !case.certificate.verify(case.group, case.sender, servers) {
        doubts.push(Doubt::Certificate);
        return Verdict::Nobody(Why::NotSigned);
    }
    let signed = case.uploads.iter().all(|own| {
        let upload = UploadOf {
            group: case.group,
            epoch: case.epoch,
            round: case.round,
            sender: case.sender,
            server: case.server,
            halves: &own.halves,
        };
        upload.verify(&case.certificate.key, &own.signature)
    });
    if !signed {
        doubts.push(Doubt::Upload);
        return Verdict::Nobody(Why::NotSigned);
    }
    let [first, second] = &case.uploads;
    if first.halves == second.halves {
        return Verdict::Nobody(Why::NoContradiction);
    }
    let says_so = |side: &ServerSide| {
        let place = UploadPlace { server: *side, ..case.place() };
        let attested = case.attested[side.index()].as_ref();
        let shown = attested.and_then(|attested| {
            attested.headers.attests(&place, attested.recipient, &servers[side.index()])
        });
        shown.is_some_and(|(certificate, upload)| {
            certificate.key == case.certificate.key
                && (*side != case.server || case.uploads.contains(&upload))
        })
    };
    match ServerSide::BOTH.into_iter().find(|side| !says_so(side)) {
        Some(side) => Verdict::Nobody(Why::KeyUnattested(side)),
        None => Verdict::Sender(case.sender, Why::TwoUploads),
    }
}
