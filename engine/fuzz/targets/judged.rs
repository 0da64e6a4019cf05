//! Evidence: its text, and what blame makes of it. No fuzzer guesses a signature, so after its changes everybody whom the
//! input names signs again, with keys that are known here: what lies behind the signature checks is reached. Whoever did
//! not sign again is honest, and is never blamed.

use super::Input;
use std::sync::LazyLock;
use twincast_protocol::accountable::Verdict;
use twincast_protocol::accountable::blame::judge;
use twincast_protocol::accountable::certificate::Certificate;
use twincast_protocol::accountable::delivery::{blinded, leaf_index, tile_hash, tiles_of};
use twincast_protocol::accountable::dial::{Opening, SignedDial};
use twincast_protocol::accountable::evidence::{About, Case, Evidence, Share, Shown, ShownOpening, Uploads};
use twincast_protocol::accountable::headers::{entry_digest, front_bytes, headers_digest};
use twincast_protocol::accountable::tree::root_of;
use twincast_protocol::accountable::upload::{UploadOf, share_hash};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{GroupId, MemberIndex, ServerSide, SlotIndex, UserId};
use twincast_protocol::statements;
use twincast_protocol::wire::{Body, HeadersHead, roster_hash};

/// Whoever signs something.
struct Signers {
    servers: [SigningKey; 2],
    user: SigningKey,
}

/// Who signs again what was changed, and what is made to fit the changes first.
#[derive(Clone, Copy, Default)]
struct Again {
    servers: [bool; 2],
    user: bool,
    /// Hashes and roots.
    fits: bool,
}

const ALL: Again = Again { servers: [true; 2], user: true, fits: false };

/// The sender's key, and S1's and S2's two each.
fn keys(second: [bool; 2]) -> Signers {
    let server = |side: usize| SigningKey::from_seed(&[1 + side as u8 + 2 * u8::from(second[side]); 32]);
    Signers { servers: [server(0), server(1)], user: SigningKey::from_seed(&[5; 32]) }
}

/// What is changed: honest shares, and cases in which somebody is at fault.
static CASES: LazyLock<Vec<Evidence>> = LazyLock::new(|| {
    let texts = [
        include_str!("../corpus/evidence/honest"),
        include_str!("../corpus/evidence/undecodable"),
        include_str!("../corpus/evidence/receipts"),
        include_str!("../corpus/evidence/uploads"),
        include_str!("../corpus/evidence/lying"),
        include_str!("../corpus/evidence/swapped"),
    ];
    let case = |text: &str| {
        let mut evidence = Evidence::from_text(text).expect("the corpus is evidence");
        let signers = keys([false; 2]);
        evidence.servers = signers.servers.each_ref().map(SigningKey::verifying_key);
        signers.sign(&mut evidence.case, ALL);
        evidence
    };
    texts.map(case).into()
});

/// The text of evidence, as it is in a file.
pub(crate) fn evidence(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(mut evidence) = Evidence::from_text(text) else { return };
    assert_eq!(Evidence::from_text(&evidence.to_text()).as_ref(), Ok(&evidence));
    let _ = judge(&evidence, &evidence.servers);
    let signers = keys([false; 2]);
    let servers = signers.servers.each_ref().map(SigningKey::verifying_key);
    for fits in [false, true] {
        signers.sign(&mut evidence.case, Again { fits, ..ALL });
        let _ = judge(&evidence, &servers);
    }
    let _ = Evidence::contradictions(&[evidence.clone(), evidence], &servers);
}

/// Blame, by what was changed and signed again: the case, who signs, and changes of four bytes each.
pub(crate) fn blame(data: &[u8]) {
    let mut input = Input(data);
    let (which, flags) = (input.byte() as usize % CASES.len(), input.byte());
    let is_set = |bit: u8| flags >> bit & 1 == 1;
    let mut evidence = CASES[which].clone();
    let again = Again { servers: [is_set(0), is_set(1)], user: is_set(2), fits: is_set(3) };
    // A server may have a second key, sign what it likes with it, and publish it as its own.
    let second = [is_set(0) && is_set(4), is_set(1) && is_set(5)];
    let is_unchanged = input.0.is_empty();
    while !input.0.is_empty() {
        change(&mut evidence.case, &mut input);
    }
    let signers = keys(second);
    signers.sign(&mut evidence.case, again);
    let servers = signers.servers.each_ref().map(SigningKey::verifying_key);
    let verdict = judge(&evidence, &servers).verdict;

    let (by_server, by_user) = match which {
        1 | 3 | 4 => ([false; 2], true),
        2 | 5 => ([false, true], false),
        _ => ([false; 2], false),
    };
    match verdict {
        Verdict::Nobody(_) if is_unchanged && flags == 0 => assert!(!by_user && by_server == [false; 2]),
        Verdict::Nobody(_) => {}
        Verdict::Server(side, why) => {
            let may_be = by_server[side.index()] || again.servers[side.index()];
            assert!(may_be, "{side} signed nothing that is wrong, and is blamed: {why}");
        }
        // Of two servers that both lie nobody is safe.
        Verdict::Sender(user, why) => {
            let may_be = by_user || again.user || again.servers == [true; 2];
            assert!(may_be, "user {user} signed nothing that is wrong, and is blamed: {why}");
        }
    }
    if let Case::Share(_) = evidence.case {
        let _ = Evidence::contradictions(&[evidence, CASES[which].clone()], &servers);
    }
}

/// Changes one byte somewhere, hides or drops a part, or exchanges two.
fn change(case: &mut Case, input: &mut Input<'_>) {
    let (what, at, xor) =
        (input.byte(), usize::from(input.byte()) | usize::from(input.byte()) << 8, input.byte());
    let side = usize::from(what & 1);
    let flip = |bytes: &mut [u8]| {
        if !bytes.is_empty() {
            bytes[at % bytes.len()] ^= xor;
        }
    };
    match case {
        Case::Share(share) => change_share(share, what >> 1, side, (at, xor), flip),
        Case::Receipts(case) => {
            let own = &mut case.receipts[side];
            match what >> 1 & 7 {
                0 => flip(&mut own.roster_hash),
                1 => flip(&mut own.receipt.signature),
                2 => case.server = case.server.other(),
                3 => case.round.0 ^= u64::from(xor),
                4 => own.receipt.present.push(u64::from(xor)),
                _ => own.receipt.present.iter_mut().for_each(|word| *word ^= u64::from(xor)),
            }
        }
        Case::Uploads(case) => {
            let Uploads { uploads, attested, .. } = &mut **case;
            match what >> 1 & 15 {
                0 => flip(uploads[side].halves.as_flattened_mut().as_flattened_mut()),
                1 => flip(&mut uploads[side].signature),
                2 => case.server = case.server.other(),
                3 => case.round.0 ^= u64::from(xor),
                4 => case.sender.0 ^= u32::from(xor),
                5 => attested[side] = None,
                6 => attested.swap(0, 1),
                7 => attested[side] = attested[1 - side].clone(),
                8 => uploads[side].halves.truncate(at % 3),
                what => {
                    if let Some(attested) = &mut attested[side] {
                        change_shown(&mut attested.headers, what, flip);
                    }
                }
            }
        }
        other => panic!("a case that is not known here: {other:?}"),
    }
}

fn change_share(share: &mut Share, what: u8, side: usize, (at, xor): (usize, u8), flip: impl Fn(&mut [u8])) {
    let Share { about, roster, given } = share;
    let own = &mut given[side];
    match what & 31 {
        0 => about.round.0 ^= u64::from(xor),
        1 => about.epoch.0 ^= u32::from(xor),
        2 => about.slot.0 ^= u32::from(xor),
        3 => about.sender.0 ^= u32::from(xor),
        4 => about.recipient.0 ^= u32::from(xor),
        5 => roster.push(UserId(u32::from(xor))),
        6 => roster.truncate(at % 3),
        7 if !roster.is_empty() => {
            let at = at % roster.len();
            roster[at].0 ^= u32::from(xor);
        }
        8 => own.receipt = None,
        9 => own.delivery = None,
        10 => own.headers = None,
        11 => own.cell = None,
        12 => given.swap(0, 1),
        13 => own.receipt.iter_mut().for_each(|receipt| receipt.present.push(u64::from(xor))),
        14 => {
            let words = own.receipt.iter_mut().flat_map(|receipt| &mut receipt.present);
            words.for_each(|word| *word ^= u64::from(xor));
        }
        15 => own.receipt.iter_mut().for_each(|receipt| flip(&mut receipt.signature)),
        16 => own.delivery.iter_mut().for_each(|delivery| flip(&mut delivery.root)),
        17 => own.delivery.iter_mut().for_each(|delivery| flip(&mut delivery.signature)),
        18 | 19 => own.cell.iter_mut().for_each(|cell| flip(&mut cell.0)),
        20 => own.cell.iter_mut().for_each(|cell| cell.0.truncate(at)),
        what => own.headers.iter_mut().for_each(|shown| change_shown(shown, what, &flip)),
    }
}

fn change_shown(shown: &mut Shown, what: u8, flip: impl Fn(&mut [u8])) {
    match what & 7 {
        0 => flip(&mut shown.head),
        1 => flip(shown.path.as_flattened_mut()),
        2 => flip(shown.blinded.as_flattened_mut()),
        3 => flip(shown.digests.as_flattened_mut()),
        4 => flip(&mut shown.signature),
        5 => match &mut shown.opening {
            ShownOpening::Open(bytes) => flip(bytes),
            ShownOpening::Hidden(hash) => flip(hash),
        },
        _ => flip(&mut shown.front),
    }
}

/// Where things lie in an entry's front of a group with so many slots.
struct Front {
    upload: usize,
    dial: usize,
    certificate: usize,
}

impl Front {
    /// If these are bytes of such a front.
    fn of(head: &HeadersHead, front: &[u8]) -> Option<Front> {
        let slots = head.slots.get();
        (head.check().is_ok() && front.len() == front_bytes(slots)).then(|| {
            let upload = 56 + 64 * slots as usize;
            Front { upload, dial: upload + 64, certificate: upload + 64 + SignedDial::BYTES }
        })
    }
}

impl Signers {
    fn sign(&self, case: &mut Case, again: Again) {
        match case {
            Case::Share(share) => self.sign_share(share, again),
            Case::Receipts(case) => {
                if again.servers[case.server.index()] {
                    for own in &mut case.receipts {
                        let present = &own.receipt.present;
                        let (group, epoch, round) = (case.group, case.epoch, case.round);
                        let statement =
                            statements::receipt(group, epoch, round, case.server, &own.roster_hash, present);
                        own.receipt.signature = self.servers[case.server.index()].sign(&statement);
                    }
                }
            }
            Case::Uploads(case) => self.sign_uploads(case, again),
            other => panic!("a case that is not known here: {other:?}"),
        }
    }

    fn sign_uploads(&self, case: &mut Uploads, again: Again) {
        let Uploads { group, epoch, round, server, sender, .. } = *case;
        self.certify(&mut case.certificate, group, sender, again);
        if again.user {
            for own in &mut case.uploads {
                let upload = UploadOf { group, epoch, round, sender, server, halves: &own.halves };
                own.signature = upload.sign(&self.user);
            }
        }
        for side in ServerSide::BOTH {
            if let Some(attested) = &mut case.attested[side.index()] {
                let about =
                    About { group, epoch, round, slot: SlotIndex(0), sender, recipient: attested.recipient };
                self.sign_shown(&about, side, &mut attested.headers, None, again);
            }
        }
    }

    fn sign_share(&self, share: &mut Share, again: Again) {
        let Share { about, roster, given } = share;
        let About { group, epoch, round, recipient, .. } = *about;
        let roster_hash = roster_hash(group, epoch, roster);
        for (side, given) in ServerSide::BOTH.into_iter().zip(given) {
            let mut root = None;
            if let Some(shown) = &mut given.headers {
                let cell = given.cell.as_ref().map(|cell| &cell.0[..]);
                root = self.sign_shown(about, side, shown, cell, again);
            }
            if !again.servers[side.index()] {
                continue;
            }
            let key = &self.servers[side.index()];
            if let Some(receipt) = &mut given.receipt {
                let statement =
                    statements::receipt(group, epoch, round, side, &roster_hash, &receipt.present);
                receipt.signature = key.sign(&statement);
            }
            if let Some(delivery) = &mut given.delivery {
                delivery.root = root.filter(|_| again.fits).unwrap_or(delivery.root);
                let statement = statements::delivery(group, epoch, round, side, recipient, &delivery.root);
                delivery.signature = key.sign(&statement);
            }
        }
    }

    /// Signs what is shown of headers, and says to which root they lead.
    fn sign_shown(
        &self,
        about: &About,
        side: ServerSide,
        shown: &mut Shown,
        cell: Option<&[u8]>,
        again: Again,
    ) -> Option<[u8; 32]> {
        let (head, _) = HeadersHead::parse_prefix(&shown.head).expect("its length is a head's");
        // What is in the headers of a server that signs nothing again stays as that server signed it.
        let places = Front::of(&head, &shown.front).filter(|_| again.servers[side.index()])?;
        self.sign_front(about, side, &head, &places, shown, cell, again);
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        let (user, position) = (UserId(number(&shown.front)), number(&shown.front[4..]) as usize);
        let opening = match &shown.opening {
            ShownOpening::Open(bytes) => share_hash(bytes),
            ShownOpening::Hidden(hash) => *hash,
        };
        let digest = entry_digest(&shown.front, &opening);
        shown.digests.get_mut(position).into_iter().for_each(|own| *own = digest);
        if again.fits {
            let blind = shown.front[8..24].try_into().expect("a blind");
            let hidden = blinded(&blind, user, shown.front[24..56].try_into().expect("a hash"));
            shown.blinded.get_mut(position).into_iter().for_each(|own| *own = hidden);
        }
        let digest = headers_digest(&head, &shown.path, &shown.blinded, &shown.digests);
        let statement = statements::headers(about.group, side, about.recipient, &digest);
        shown.signature = self.servers[side.index()].sign(&statement);
        let tiles = tiles_of(head.members.get());
        let index = leaf_index(SlotIndex(head.slot.get()), head.tile.get(), tiles);
        root_of(&tile_hash(&shown.blinded), index, (head.slots.get() * tiles) as usize, &shown.path)
    }

    /// What the sender signed in an entry, and both servers of its key.
    #[expect(clippy::too_many_arguments, reason = "all of it is of one entry")]
    fn sign_front(
        &self,
        about: &About,
        side: ServerSide,
        head: &HeadersHead,
        places: &Front,
        shown: &mut Shown,
        cell: Option<&[u8]>,
        again: Again,
    ) {
        let About { group, epoch, round, sender, .. } = *about;
        let (slot, front) = (SlotIndex(head.slot.get()), &mut shown.front);
        let opening = match &shown.opening {
            ShownOpening::Open(bytes) => Opening::read(bytes),
            ShownOpening::Hidden(_) => None,
        };
        if again.fits {
            let share = cell.map_or(front[24..56].to_vec(), |cell| share_hash(cell).to_vec());
            front[24..56].copy_from_slice(&share);
            if again.user {
                let half = opening.as_ref().is_some_and(|opening| opening.bit);
                let half = 56 + 64 * slot.0 as usize + 32 * usize::from(half);
                front[half..half + 32].copy_from_slice(&share);
                let root = opening.and_then(|own| own.root(MemberIndex(head.user.get()), head.members.get()));
                if let Some(root) = root {
                    let at = places.dial + 8 + 32 * side.index();
                    front[at..at + 32].copy_from_slice(&root);
                }
            }
        }
        if again.user {
            let halves = front[56..places.upload].as_chunks::<32>().0.as_chunks::<2>().0.to_vec();
            let upload = UploadOf { group, epoch, round, sender, server: side, halves: &halves };
            front[places.upload..places.dial].copy_from_slice(&upload.sign(&self.user));
            let id = u64::from_le_bytes(front[places.dial..places.dial + 8].try_into().expect("eight bytes"));
            let roots = front[places.dial + 8..][..64].as_chunks::<32>().0;
            let dial = SignedDial::sign(&self.user, group, epoch, sender, slot, id, [roots[0], roots[1]]);
            front[places.dial + 72..places.certificate].copy_from_slice(&dial.signature);
        }
        let bytes = front[places.certificate..].first_chunk().expect("a front ends with a certificate");
        if let Ok(mut certificate) = Certificate::from_bytes(bytes) {
            self.certify(&mut certificate, group, sender, again);
            front[places.certificate..].copy_from_slice(&certificate.to_bytes());
        }
    }

    /// Every server that signs again signs the key that is there, which is the sender's where the sender does.
    fn certify(&self, certificate: &mut Certificate, group: GroupId, sender: UserId, again: Again) {
        if again.user {
            certificate.key = self.user.verifying_key();
        }
        let statement = statements::key(group, certificate.epoch, sender, &certificate.key);
        for side in (0..2).filter(|side| again.servers[*side]) {
            certificate.signatures[side] = self.servers[side].sign(&statement);
        }
    }
}
