//! Blame in a small model: whoever misbehaves is blamed, and nobody honest ever is.

mod corpus;
mod framing;
mod model;

use super::blame::{Doubt, Verdict, Why, blame, judge};
use super::certificate::Certificate;
use super::dial::SignedDial;
use super::evidence::{Case, Evidence, EvidenceError, Share, ShownOpening, SignedUpload, Uploads};
use super::upload::UploadOf;
use crate::identity::SigningKey;
use crate::ids::{Epoch, RoundNumber, ServerSide};
use crate::statements::{self};
use crate::wire::roster_hash;
use model::{BY_SENDER, BY_SERVER, EPOCH, GROUP, Mischief, ROUND, Who, World};

fn share(evidence: &Evidence) -> &Share {
    match &evidence.case {
        Case::Share(share) => share,
        other => panic!("a share, not {other:?}"),
    }
}

fn targets(are: bool, all: &[u32]) -> &[u32] {
    if are { all } else { &[] }
}

/// Members, sender and recipient: one tile, two, a tree that is no power of two, and a sender who hears itself.
const PLACES: [(u32, u32, u32); 4] = [(3, 0, 2), (5, 4, 4), (64, 63, 1), (70, 66, 69)];

#[test]
fn a_server_that_misbehaves_is_blamed() {
    for (members, sender, recipient) in PLACES {
        for server in ServerSide::BOTH {
            for mischief in BY_SERVER {
                for is_target in [false, true] {
                    let mut world = World::new(1, members, &[sender], targets(is_target, &[recipient]));
                    let who = Who::Server(server, mischief);
                    let played = world.play(sender, recipient, ROUND, who);
                    let why = match mischief {
                        Mischief::Alter
                        | Mischief::Withhold
                        | Mischief::ReplayShare
                        | Mischief::GiveOtherServers => Why::NotTheSenders,
                        Mischief::Swap => Why::WrongHalf,
                        Mischief::ForgeUpload => Why::BadUpload,
                        Mischief::ForgeDial => Why::BadDial,
                        Mischief::ForgeOpening => Why::BadOpening,
                        Mischief::ForgeCertificate => Why::BadCertificate,
                        Mischief::OtherBlind | Mischief::LieInRoot => Why::OtherRoot,
                        _ => Why::OtherReceipt,
                    };
                    let (evidence, verdict) = world.evidence(&played);
                    assert_eq!(verdict, Verdict::Server(server, why), "{mischief:?}, {members} members");
                    let again = judge(&evidence, &world.servers());
                    assert_eq!((again.verdict, again.doubts), (verdict, vec![]), "{mischief:?}");
                    let share = share(&evidence);
                    assert!(
                        share.given.iter().all(|given| given.cell.is_none()),
                        "no cell convicts a server"
                    );
                    let other = &share.given[server.other().index()];
                    assert!(other.headers.is_none(), "one server's headers convict it: {mischief:?}");
                    let opened = share.given.iter().filter_map(|given| given.headers.as_ref());
                    let opened =
                        opened.filter(|shown| matches!(shown.opening, ShownOpening::Open(_))).count();
                    let needed = matches!(mischief, Mischief::Swap | Mischief::ForgeOpening);
                    assert_eq!(
                        opened,
                        usize::from(needed),
                        "an opening only where it convicts: {mischief:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_sender_that_misbehaves_is_blamed() {
    for (members, sender, recipient) in PLACES {
        for mischief in BY_SENDER {
            for is_target in [false, true] {
                let mut world = World::new(2, members, &[sender], targets(is_target, &[recipient]));
                let played = world.play(sender, recipient, ROUND, Who::Sender(mischief));
                let why = match mischief {
                    Mischief::Undecodable | Mischief::ReplayUpload => Why::DoesNotDecode,
                    Mischief::OtherLayout => Why::OtherKind,
                    Mischief::LyingConfirmation => Why::LyingConfirmation,
                    Mischief::NoConfirmation => Why::NoConfirmation,
                    Mischief::TwoDials => Why::TwoDials,
                    _ => Why::EqualHalves,
                };
                let (evidence, verdict) = world.evidence(&played);
                let user = played.about.sender;
                assert_eq!(verdict, Verdict::Sender(user, why), "{mischief:?}, {members} members");
                let again = judge(&evidence, &world.servers());
                assert_eq!((again.verdict, again.doubts), (verdict, vec![]), "{mischief:?}");
                let cells = share(&evidence).given.iter().filter(|given| given.cell.is_some()).count();
                let needed = matches!(why, Why::DoesNotDecode | Why::OtherKind);
                assert_eq!(cells, 2 * usize::from(needed), "cells only where they convict: {mischief:?}");
            }
        }
    }
}

#[test]
fn where_all_are_honest_nobody_is_blamed_and_nothing_is_published() {
    for (members, sender, recipient) in PLACES {
        for is_target in [false, true] {
            let mut world = World::new(3, members, &[sender], targets(is_target, &[recipient]));
            let played = world.play(sender, recipient, ROUND, Who::Nobody);
            assert_eq!(blame(&world.whole(&played), &world.servers()), Verdict::Nobody(Why::AllIsWell));
            let (evidence, verdict) = world.evidence(&played);
            assert_eq!(verdict, Verdict::Nobody(Why::AllIsWell));
            for given in &share(&evidence).given {
                assert!(given.cell.is_none() && given.headers.is_none(), "nothing but receipts");
            }
        }
    }
}

/// A server that commits to the right share and gives another cannot be told from a recipient that says so.
#[test]
fn a_cell_that_is_not_what_the_server_says_convicts_nobody() {
    let mut world = World::new(2, 5, &[0], &[1]);
    let mut played = world.play(0, 1, ROUND, Who::Nobody);
    played.gave[0].cell[0] ^= 1;
    let judgement = judge(&world.whole(&played), &world.servers());
    assert_eq!(judgement.verdict, Verdict::Nobody(Why::AllIsWell));
    assert_eq!(judgement.doubts, [Doubt::Cell(ServerSide::One)]);
}

#[test]
fn evidence_is_text_and_comes_back_as_it_was() {
    let mut world = World::new(3, 5, &[0], &[1]);
    for who in [
        Who::Nobody,
        Who::Server(ServerSide::Two, Mischief::Swap),
        Who::Sender(Mischief::Undecodable),
        Who::Sender(Mischief::LyingConfirmation),
    ] {
        let played = world.play(0, 1, ROUND, who);
        for evidence in [world.whole(&played), world.evidence(&played).0] {
            let text = evidence.to_text();
            assert_eq!(Evidence::from_text(&text), Ok(evidence), "{text}");
        }
    }
}

#[test]
fn texts_that_are_no_evidence_are_refused() {
    let mut world = World::new(4, 3, &[0], &[1]);
    let played = world.play(0, 1, ROUND, Who::Nobody);
    let text = world.whole(&played).to_text();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Evidence::from_text(&text.replacen(from, to, 1))
    };
    assert_eq!(with("\"twincast_evidence\": 1", "\"twincast_evidence\": 2"), Err(EvidenceError::Version(2)));
    for (from, to) in [
        ("\"group\"", "\"grupp\""),
        ("\"front\": \"", "\"front\": \"zz"),
        ("\"signature\": \"", "\"signature\": \"00"),
        ("\"case\": {", "\"more\": 1, \"case\": {"),
        ("\"share\"", "\"shares\""),
    ] {
        assert!(matches!(with(from, to), Err(EvidenceError::Text(_))), "{from} as {to}");
    }
    for length in (0..text.len() - 2).step_by(97) {
        assert!(Evidence::from_text(&text[..length]).is_err(), "the first {length} bytes");
    }
    assert!(Evidence::from_text("").is_err() && Evidence::from_text("[]").is_err());
}

#[test]
fn two_receipts_of_one_server_for_one_round_convict_it() {
    let mut world = World::new(5, 5, &[0], &[1]);
    let first = world.play(0, 1, ROUND, Who::Nobody);
    let mut second = world.play(0, 2, ROUND, Who::Nobody);
    let servers = world.servers();
    let files = |world: &World, second: &_| [world.evidence(&first).0, world.evidence(second).0];
    assert_eq!(Evidence::contradictions(&files(&world, &second), &servers), []);

    // What is not signed does not count, and does not stand before what is.
    second.gave[1].present[0] ^= 2;
    let mut forged = files(&world, &second);
    assert_eq!(Evidence::contradictions(&forged, &servers), []);
    forged.reverse();
    assert_eq!(Evidence::contradictions(&forged, &servers), []);

    let roster_hash = roster_hash(GROUP, EPOCH, &world.roster);
    let present = &second.gave[1].present;
    let statement = statements::receipt(GROUP, EPOCH, ROUND, ServerSide::Two, &roster_hash, present);
    second.gave[1].receipt = world.server_keys[1].sign(&statement);
    let found = Evidence::contradictions(&files(&world, &second), &servers);
    let verdicts: Vec<Verdict> = found.iter().map(|evidence| blame(evidence, &servers)).collect();
    assert_eq!(verdicts, [Verdict::Server(ServerSide::Two, Why::TwoReceipts)]);
    let text = found[0].to_text();
    assert_eq!(Evidence::from_text(&text).as_ref(), Ok(&found[0]));

    let later = world.play(0, 2, RoundNumber(ROUND.0 + 1), Who::Nobody);
    assert_eq!(Evidence::contradictions(&files(&world, &later), &servers), [], "rounds differ");
}

#[test]
fn two_uploads_of_one_sender_for_one_round_convict_it() {
    let mut world = World::new(6, 5, &[0], &[1]);
    let servers = world.servers();
    let first = world.play(0, 1, ROUND, Who::Nobody);
    world.forget_rows();
    let second = world.play(0, 2, ROUND, Who::Nobody);
    let files = [world.whole(&first), world.whole(&second)];
    let found = Evidence::contradictions(&files, &servers);
    let verdicts: Vec<Verdict> = found.iter().map(|evidence| blame(evidence, &servers)).collect();
    assert_eq!(verdicts, [Verdict::Sender(first.about.sender, Why::TwoUploads); 2].to_vec());
    let text = found[0].to_text();
    assert_eq!(Evidence::from_text(&text).as_ref(), Ok(&found[0]));
    let [one, two] = servers;
    assert!(matches!(blame(&found[0], &[two, one]), Verdict::Nobody(Why::NotSigned)));
    assert_eq!(Evidence::contradictions(&[files[0].clone(), files[0].clone()], &servers), []);
}

fn uploads_mut(evidence: &mut Evidence) -> &mut Uploads {
    match &mut evidence.case {
        Case::Uploads(uploads) => uploads,
        other => panic!("uploads, not {other:?}"),
    }
}

/// A key that its user gave up signs as well as ever, and its certificate stays as good: who has both signs uploads of any
/// round. What convicts is the server's word that the key was the sender's in that round.
#[test]
fn a_key_that_its_user_gave_up_convicts_nobody() {
    let mut world = World::new(7, 5, &[0], &[1]);
    let servers = world.servers();
    let played = world.play(0, 1, ROUND, Who::Nobody);
    let later = world.play(0, 1, RoundNumber(ROUND.0 + 1), Who::Nobody);
    let honest = [world.whole(&played), world.whole(&later)];
    let attested = |file: usize, side: usize| {
        let headers = share(&honest[file]).given[side].headers.clone().expect("all is in it");
        super::evidence::Attested { recipient: played.about.recipient, headers }
    };

    let [others, others_later] = [attested(0, 1), attested(1, 1)].map(Some);

    let (sender, old) = (played.about.sender, SigningKey::from_seed(&[77; 32]));
    let (key, server) = (old.verifying_key(), ServerSide::One);
    let statement = statements::key(GROUP, Epoch(0), sender, &key);
    let signatures = world.server_keys.each_ref().map(|server| server.sign(&statement));
    let certificate = Certificate { key, epoch: Epoch(0), signatures };
    let uploads = [1, 2].map(|byte| {
        let halves = vec![[[byte; 32], [3; 32]]; 2];
        let upload = UploadOf { group: GROUP, epoch: EPOCH, round: ROUND, sender, server, halves: &halves };
        let signature = upload.sign(&old);
        SignedUpload { halves, signature }
    });
    let case = |attested| {
        let (group, epoch, round) = (GROUP, EPOCH, ROUND);
        let uploads = uploads.clone();
        let case = Uploads { group, epoch, round, server, sender, certificate, uploads, attested };
        Evidence { servers, case: Case::Uploads(case.into()) }
    };
    let honest_words = [Some(attested(0, 0)), Some(attested(0, 1))];
    for words in [[None, None], honest_words, [Some(attested(1, 0)), None]] {
        let verdict = blame(&case(words), &servers);
        assert_eq!(verdict, Verdict::Nobody(Why::KeyUnattested(server)));
    }

    // The same as two shares whose headers no server signed.
    let forge = |index: usize| {
        let mut file = honest[0].clone();
        let Case::Share(share) = &mut file.case else { unreachable!("the case of a share") };
        let shown = share.given[0].headers.as_mut().expect("all is in it");
        let upload: &SignedUpload = &uploads[index];
        shown.front[56..184].copy_from_slice(upload.halves.as_flattened().as_flattened());
        shown.front[184..248].copy_from_slice(&upload.signature);
        let end = shown.front.len() - Certificate::BYTES;
        shown.front[end..].copy_from_slice(&certificate.to_bytes());
        file
    };
    assert_eq!(Evidence::contradictions(&[forge(0), forge(1)], &servers), []);

    // One server that has the old key is not enough to blame its user by what both servers' headers say together.
    let mut played = played;
    let entry = &played.gave[0].entries[played.gave[0].position];
    let entry_hash = entry.share_hash;
    let mut signed = entry.signed.clone().expect("the sender is present");
    signed.certificate = certificate;
    signed.halves.clone_from(&uploads[0].halves);
    signed.upload = uploads[0].signature;
    let [one, two] = played.gave;
    played.gave = [world.sign_headers_again(one, &played.about, signed.clone()), two];

    // A server that has it signs headers with one of the two uploads. The other one's show which key it was.
    let forged = world.whole(&played);
    let headers = share(&forged).given[0].headers.clone().expect("all is in it");
    let own = Some(super::evidence::Attested { recipient: played.about.recipient, headers });
    let other = ServerSide::Two;
    for others in [None, others, others_later, own.clone()] {
        let verdict = blame(&case([own.clone(), others]), &servers);
        assert_eq!(verdict, Verdict::Nobody(Why::KeyUnattested(other)));
    }

    signed.halves = vec![[entry_hash; 2]; signed.halves.len()];
    let halves = &signed.halves;
    let upload = UploadOf { group: GROUP, epoch: EPOCH, round: ROUND, sender, server, halves };
    signed.upload = upload.sign(&old);
    let (slot, dial) = (played.about.slot, signed.dial);
    signed.dial = SignedDial::sign(&old, GROUP, EPOCH, sender, slot, dial.dial_id, dial.roots);
    let [one, two] = played.gave;
    played.gave = [world.sign_headers_again(one, &played.about, signed), two];
    assert_eq!(blame(&world.whole(&played), &servers), Verdict::Nobody(Why::TwoKeys));
}

#[test]
fn two_uploads_convict_only_with_headers_of_that_round_of_both_servers() {
    let mut world = World::new(8, 5, &[0], &[1]);
    let servers = world.servers();
    let first = world.play(0, 1, ROUND, Who::Nobody);
    let later = world.play(0, 1, RoundNumber(ROUND.0 + 1), Who::Nobody);
    let later = share(&world.whole(&later)).given.clone();
    world.forget_rows();
    let second = world.play(0, 2, ROUND, Who::Nobody);
    let found = Evidence::contradictions(&[world.whole(&first), world.whole(&second)], &servers);
    assert_eq!(found.len(), 2);
    for mut evidence in found {
        let convicted = Verdict::Sender(first.about.sender, Why::TwoUploads);
        assert_eq!(blame(&evidence, &servers), convicted);
        let all = uploads_mut(&mut evidence).attested.clone();
        for side in ServerSide::BOTH {
            let why = Verdict::Nobody(Why::KeyUnattested(side));
            let attested = all[side.index()].clone().expect("headers");
            assert!(
                matches!(attested.headers.opening, ShownOpening::Hidden(_)),
                "whom it dialled is not shown"
            );
            let mut other = attested.clone();
            other.headers = later[side.index()].headers.clone().expect("all is in it");
            let mut unsigned = attested.clone();
            unsigned.headers.signature[5] ^= 1;
            let mut another = attested.clone();
            another.recipient.0 += 1;
            for wrong in [None, Some(other), Some(unsigned), Some(another), all[1 - side.index()].clone()] {
                uploads_mut(&mut evidence).attested[side.index()] = wrong;
                assert_eq!(blame(&evidence, &servers), why);
            }
            uploads_mut(&mut evidence).attested.clone_from(&all);
        }
        assert_eq!(blame(&evidence, &servers), convicted);
    }
}
