//! Leaving out what a verdict does not need, and putting together what several files say.

use super::{
    About, Attested, Case, Evidence, Receipts, RosterReceipt, Share, Shown, ShownOpening, SignedUpload,
    UploadPlace, Uploads,
};
use crate::accountable::blame::{Verdict, Why, blame};
use crate::identity::{KEY_BYTES, VerifyingKey};
use crate::ids::{Epoch, GroupId, RoundNumber, ServerSide, UserId};
use crate::wire::roster_hash;
use std::collections::HashMap;

/// Leaves out, one after the other, whatever the verdict stays the same without.
pub(super) fn reduce(evidence: &mut Evidence, verdict: &Verdict) {
    let blames = !matches!(verdict, Verdict::Nobody(_));
    let servers = evidence.servers;
    let Case::Share(share) = &mut evidence.case else { return };
    let removals: [fn(&mut Share, usize); 4] = [
        |share, side| share.given[side].cell = None,
        |share, side| share.given[side].headers = None,
        |share, side| {
            if let Some(headers) = &mut share.given[side].headers {
                headers.opening = ShownOpening::Hidden(headers.opening.hash());
            }
        },
        |share, side| share.given[side].delivery = None,
    ];
    for remove in removals {
        // A cell alone proves nothing: first both, then each.
        for sides in [&[0, 1][..], &[0], &[1]] {
            let mut less = share.clone();
            sides.iter().for_each(|side| remove(&mut less, *side));
            let less = Evidence { servers, case: Case::Share(less) };
            if !blames || blame(&less, &servers) == *verdict {
                let Case::Share(less) = less.case else { unreachable!("the case of a share") };
                *share = less;
            }
        }
    }
}

type ReceiptKey = (GroupId, Epoch, RoundNumber, ServerSide);
type UploadKey = (UploadPlace, [u8; KEY_BYTES]);
type Attestations = HashMap<UploadKey, Attested>;

/// Every receipt and every upload that contradicts the first of its kind. Only what verifies is compared, so that nothing
/// made up stands before what is real.
pub(super) fn contradictions(all: &[Evidence], servers: &[VerifyingKey; 2]) -> Vec<Evidence> {
    let mut receipts: HashMap<ReceiptKey, RosterReceipt> = HashMap::new();
    let mut uploads: HashMap<UploadKey, SignedUpload> = HashMap::new();
    let attestations = attestations(all, servers);
    let mut found = Vec::new();
    let judged = |case: Case| {
        let evidence = Evidence { servers: *servers, case };
        let verdict = blame(&evidence, servers);
        (evidence, verdict)
    };
    let mut keep = |case: Case| {
        let (evidence, verdict) = judged(case);
        if !matches!(verdict, Verdict::Nobody(_)) {
            found.push(evidence);
        }
    };
    let is_signed = |case: Case| judged(case).1 == Verdict::Nobody(Why::NoContradiction);
    for evidence in all {
        let Case::Share(share) = &evidence.case else { continue };
        let About { group, epoch, round, sender, recipient, .. } = share.about;
        let roster_hash = roster_hash(group, epoch, &share.roster);
        for (server, given) in ServerSide::BOTH.into_iter().zip(&share.given) {
            if let Some(receipt) = &given.receipt {
                let own = RosterReceipt { roster_hash, receipt: receipt.clone() };
                let pair =
                    |receipts| Case::Receipts(Receipts { group, epoch, round, server, receipts }.into());
                if is_signed(pair([own.clone(), own.clone()])) {
                    let first = receipts.entry((group, epoch, round, server)).or_insert_with(|| own.clone());
                    keep(pair([first.clone(), own]));
                }
            }
            let key = &servers[server.index()];
            let headers = given.headers.as_ref();
            let place = UploadPlace { group, epoch, round, server, sender };
            if let Some(headers) = headers
                && let Some((certificate, own)) = headers.attests(&place, recipient, key)
            {
                let place = |server| (UploadPlace { server, ..place }, certificate.key.to_bytes());
                let mut attested = ServerSide::BOTH.map(|side| attestations.get(&place(side)).cloned());
                attested[server.index()] = Some(attestation(recipient, headers));
                let pair = |uploads| {
                    let attested = attested.clone();
                    let uploads =
                        Uploads { group, epoch, round, server, sender, certificate, uploads, attested };
                    Case::Uploads(uploads.into())
                };
                if is_signed(pair([own.clone(), own.clone()])) {
                    let first = uploads.entry(place(server)).or_insert_with(|| own.clone());
                    keep(pair([first.clone(), own]));
                }
            }
        }
    }
    found
}

/// The first headers of each server, round, sender and key that say that the sender was present.
fn attestations(all: &[Evidence], servers: &[VerifyingKey; 2]) -> Attestations {
    let mut found = Attestations::new();
    for evidence in all {
        let Case::Share(share) = &evidence.case else { continue };
        let About { group, epoch, round, sender, recipient, .. } = share.about;
        for (server, given) in ServerSide::BOTH.into_iter().zip(&share.given) {
            let Some(headers) = &given.headers else { continue };
            let place = UploadPlace { group, epoch, round, server, sender };
            if let Some((certificate, _)) = headers.attests(&place, recipient, &servers[server.index()]) {
                let place = (place, certificate.key.to_bytes());
                found.entry(place).or_insert_with(|| attestation(recipient, headers));
            }
        }
    }
    found
}

/// Headers as a server's word for a sender's key: whom the sender dialled is not shown.
fn attestation(recipient: UserId, headers: &Shown) -> Attested {
    let opening = ShownOpening::Hidden(headers.opening.hash());
    Attested { recipient, headers: Shown { opening, ..headers.clone() } }
}
