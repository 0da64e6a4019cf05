//! Blame about one recipient's cells of one sender.

use super::{Doubt, Verdict, Why};
use crate::accountable::delivery::tiles_of;
use crate::accountable::evidence::{About, Given, Share, Shown, ShownOpening};
use crate::accountable::headers::{Fixed, FrontSigned, Signed, delivery_root, fixed_bytes};
use crate::accountable::upload::{UploadOf, share_hash};
use crate::confirm::{CONFIRMATION_BYTES, open_confirmations};
use crate::context::{Context, Purpose};
use crate::frame::FrameBytes;
use crate::identity::VerifyingKey;
use crate::ids::{MemberIndex, ServerSide, UserId};
use crate::receive::{self, Expectation, TileCells};
use crate::statements::{self, Hash};
use crate::wire::{HeadersHead, roster_hash};

pub(super) fn judge(share: &Share, servers: &[VerifyingKey; 2], doubts: &mut Vec<Doubt>) -> Verdict {
    let about = &share.about;
    let case = Judge::new(share, servers, doubts);
    let mut sides = [None, None];
    for server in ServerSide::BOTH {
        match case.server(server, doubts) {
            Ok(found) => sides[server.index()] = found,
            Err(why) => return Verdict::Server(server, why),
        }
    }
    let [one, two] = sides;
    let (one, two) = match (one, two) {
        (Some(one), Some(two)) => (one, two),
        (None, _) => return Verdict::Nobody(Why::NoHeaders(ServerSide::One)),
        (_, None) => return Verdict::Nobody(Why::NoHeaders(ServerSide::Two)),
    };
    match case.sender([one, two], doubts) {
        Ok(why) => Verdict::Nobody(why),
        Err(why) => Verdict::Sender(about.sender, why),
    }
}

/// The case, and what was found of its receipts and roots.
struct Judge<'a> {
    share: &'a Share,
    servers: &'a [VerifyingKey; 2],
    /// The sender's and the recipient's index, if the roster has both.
    members: Option<[MemberIndex; 2]>,
    receipts: [bool; 2],
    deliveries: [bool; 2],
}

/// Headers of a server that are right inside, and say that the sender was present.
struct Present {
    signed: FrontSigned,
    share_hash: Hash,
    halves: [Hash; 2],
}

/// What a server says of the sender.
enum Said {
    Absent,
    Present(Box<Present>),
}

impl<'a> Judge<'a> {
    fn new(share: &'a Share, servers: &'a [VerifyingKey; 2], doubts: &mut Vec<Doubt>) -> Judge<'a> {
        let Share { about, roster, given } = share;
        let index = |user| roster.binary_search(&user).ok().map(|index| MemberIndex(index as u32));
        let ascends = roster.is_sorted_by(|a, b| a < b);
        let members = index(about.sender).zip(index(about.recipient)).filter(|_| ascends);
        let members = members.map(|(sender, recipient)| [sender, recipient]);
        if members.is_none() {
            doubts.push(Doubt::Roster);
        }
        let roster_hash = roster_hash(about.group, about.epoch, roster);
        let mut own = Judge { share, servers, members, receipts: [false; 2], deliveries: [false; 2] };
        for (server, Given { receipt, delivery, .. }) in ServerSide::BOTH.into_iter().zip(given) {
            let key = &servers[server.index()];
            let About { group, epoch, round, recipient, .. } = *about;
            own.receipts[server.index()] = receipt.as_ref().is_some_and(|receipt| {
                let statement =
                    statements::receipt(group, epoch, round, server, &roster_hash, &receipt.present);
                let right = members.is_some()
                    && receipt.present.len() == tiles_of(roster.len() as u32) as usize
                    && key.verify(&statement, &receipt.signature);
                if !right {
                    doubts.push(Doubt::Receipt(server));
                }
                right
            });
            own.deliveries[server.index()] = delivery.as_ref().is_some_and(|delivery| {
                let statement = statements::delivery(group, epoch, round, server, recipient, &delivery.root);
                let right = key.verify(&statement, &delivery.signature);
                if !right {
                    doubts.push(Doubt::Delivery(server));
                }
                right
            });
        }
        own
    }

    /// What one server's headers say: nothing, if there are none that it signed about this share, or the key in them is not
    /// known to be the sender's. An error is this server's fault, by what it signed itself and by nothing else.
    fn server(&self, server: ServerSide, doubts: &mut Vec<Doubt>) -> Result<Option<Said>, Why> {
        let given = &self.share.given[server.index()];
        let Some(shown) = &given.headers else { return Ok(None) };
        let Some(head) = self.signed_head(server, shown) else {
            doubts.push(Doubt::Headers(server));
            return Ok(None);
        };
        let fixed = Fixed::read(&shown.front);
        if fixed.blinded() != shown.blinded[fixed.position as usize] {
            return Err(Why::OtherRoot);
        }
        if let Some(delivery) = given.delivery.as_ref().filter(|_| self.deliveries[server.index()])
            && delivery_root(&head, &shown.path, &shown.blinded) != Some(delivery.root)
        {
            return Err(Why::OtherRoot);
        }
        if let Some(receipt) = given.receipt.as_ref().filter(|_| self.receipts[server.index()]) {
            let roster = &self.share.roster;
            let is_at = |index: u32, user: UserId| roster.get(index as usize) == Some(&user);
            let right = head.members.get() as usize == roster.len()
                && is_at(head.user.get(), self.share.about.recipient)
                && is_at(head.first_sender.get() + fixed.position, fixed.user)
                && head.present.get() == receipt.present[head.tile.get() as usize];
            if !right {
                return Err(Why::OtherReceipt);
            }
        }
        if fixed.user != self.share.about.sender {
            doubts.push(Doubt::Headers(server));
            return Ok(None);
        }
        if head.present.get() >> fixed.position & 1 == 0 {
            let nothing = shown.front[fixed_bytes()..].iter().all(|byte| *byte == 0);
            return if nothing { Ok(Some(Said::Absent)) } else { Err(Why::AbsentShown) };
        }
        let opening = match &shown.opening {
            ShownOpening::Open(bytes) => Some(bytes.as_slice()),
            ShownOpening::Hidden(_) => None,
        };
        let signed = Signed::read(&head, &shown.front, None).ok_or(Why::BadCertificate)?;
        // What a server shows it has to have signed itself. Up to here, and as far as its own faults go, no other key is
        // looked at.
        if !self.is_certified_by(server, &signed) {
            return Err(Why::BadCertificate);
        }
        let signed = match Signed::read(&head, &shown.front, opening) {
            Some(signed) => signed,
            None => return Err(Why::BadOpening),
        };
        self.signed_right(server, &head, &signed)?;
        let halves = signed.halves[head.slot.get() as usize];
        if !halves.contains(&fixed.share_hash) {
            return Err(Why::NotTheSenders);
        }
        if signed.opening.as_ref().is_some_and(|opening| halves[usize::from(opening.bit)] != fixed.share_hash)
        {
            return Err(Why::WrongHalf);
        }
        // The other server's signature is no doing of this one's: it may have been good, by a key that the other server had
        // before, or told this one alone. So nobody is at fault for it, and the key is not known to be the sender's.
        if !self.is_certified_by(server.other(), &signed) {
            doubts.push(Doubt::OtherServer(server));
            return Ok(None);
        }
        Ok(Some(Said::Present(Box::new(Present { signed, share_hash: fixed.share_hash, halves }))))
    }

    /// The head of headers that the server signed, about this share.
    fn signed_head(&self, server: ServerSide, shown: &Shown) -> Option<HeadersHead> {
        let about = &self.share.about;
        let key = &self.servers[server.index()];
        let head = shown.signed_head(about.group, server, about.recipient, key)?;
        let right = head.round.get() == about.round.0
            && head.epoch.get() == about.epoch.0
            && head.slot.get() == about.slot.0;
        right.then_some(head)
    }

    /// Whether this server signed the sender's key in somebody's headers.
    fn is_certified_by(&self, server: ServerSide, signed: &FrontSigned) -> bool {
        let About { group, sender, .. } = self.share.about;
        signed.certificate.is_signed_by(server, group, sender, &self.servers[server.index()])
    }

    /// What is inside headers, under the key that their server shows as the sender's.
    fn signed_right(&self, server: ServerSide, head: &HeadersHead, signed: &FrontSigned) -> Result<(), Why> {
        let About { group, epoch, round, slot, sender, .. } = self.share.about;
        let key = &signed.certificate.key;
        let upload = UploadOf { group, epoch, round, sender, server, halves: &signed.halves };
        if !upload.verify(key, &signed.upload) {
            return Err(Why::BadUpload);
        }
        if !signed.dial.verify(key, group, epoch, sender, slot) {
            return Err(Why::BadDial);
        }
        if let Some(opening) = &signed.opening {
            let root = opening.root(MemberIndex(head.user.get()), head.members.get());
            if root != Some(signed.dial.roots[server.index()]) {
                return Err(Why::BadOpening);
            }
        }
        Ok(())
    }

    /// What both servers' headers say together, none of which has a fault of its own. An error is the sender's fault,
    /// else it is why nobody can be blamed.
    fn sender(&self, said: [Said; 2], doubts: &mut Vec<Doubt>) -> Result<Why, Why> {
        let (one, two) = match said {
            [Said::Present(one), Said::Present(two)] => (one, two),
            [Said::Absent, _] => return Ok(Why::Absent(ServerSide::One)),
            [_, Said::Absent] => return Ok(Why::Absent(ServerSide::Two)),
        };
        let both = [&*one, &*two];
        // Both servers' word that this was the sender's key in this round: a key that it gave up convicts nobody, neither
        // by its uploads nor by its dials.
        if one.signed.certificate.key != two.signed.certificate.key {
            return Ok(Why::TwoKeys);
        }
        if both.iter().any(|own| own.halves[0] == own.halves[1]) {
            return Err(Why::EqualHalves);
        }
        if let Some(side) = ServerSide::BOTH.into_iter().find(|side| !self.receipts[side.index()]) {
            return Ok(Why::NoReceipt(side));
        }
        let [sender, _] = self.members.expect("a receipt is looked at where these are members");
        let [dial1, dial2] = both.map(|own| &own.signed.dial);
        let decoded = self.decode(sender, both, doubts);
        if decoded == Some(None) {
            return Err(Why::DoesNotDecode);
        }
        if dial1.dial_id != dial2.dial_id {
            return Ok(Why::OtherDial);
        }
        if dial1.roots != dial2.roots {
            return Err(Why::TwoDials);
        }
        let [Some(opening1), Some(opening2)] = both.map(|own| own.signed.opening.as_ref()) else {
            return Ok(Why::NoOpening);
        };
        let About { group, epoch, slot, .. } = self.share.about;
        let tile = TileCells { count: 1, cells: [&opening1.part, &opening2.part], present: [1; 2] };
        const _: () = assert!(CONFIRMATION_BYTES == 64);
        let confirmed = open_confirmations(group, epoch, sender, slot, &tile);
        if confirmed.failed != 0 {
            return Err(Why::NoConfirmation);
        }
        if (confirmed.bits1 == 1, confirmed.bits2 == 1) != (opening1.bit, opening2.bit) {
            return Err(Why::LyingConfirmation);
        }
        match decoded {
            Some(Some(real)) if real != (confirmed.real == 1) => Err(Why::OtherKind),
            _ => Ok(Why::AllIsWell),
        }
    }

    /// What the two cells make: none if they are not both here, or not what the servers say that they gave; else whether
    /// they are a message or a dummy, or neither.
    fn decode(
        &self,
        sender: MemberIndex,
        both: [&Present; 2],
        doubts: &mut Vec<Doubt>,
    ) -> Option<Option<bool>> {
        let mut cells = [None, None];
        for side in ServerSide::BOTH {
            let cell = self.share.given[side.index()].cell.as_ref()?;
            if share_hash(&cell.0) != both[side.index()].share_hash {
                doubts.push(Doubt::Cell(side));
                return None;
            }
            cells[side.index()] = Some(cell.0.as_slice());
        }
        let [Some(cell1), Some(cell2)] = cells else { return None };
        let About { group, epoch, round, slot, .. } = self.share.about;
        let context = Context { group, epoch, round, sender, slot, purpose: Purpose::Message };
        // A sender that signs halves of no size, or of two sizes, signs what does not decode.
        let size = u32::try_from(cell1.len()).ok().and_then(|bytes| bytes.checked_sub(48));
        let Some(size) = size.and_then(|bytes| FrameBytes::new(bytes).ok()) else { return Some(None) };
        let mut scratch = vec![0; size.share_bytes()];
        let verdict =
            receive::open(size, &context, Some(cell1), Some(cell2), Expectation::Unconfirmed, &mut scratch);
        let kind = match verdict {
            receive::Verdict::Accept(_) => Some(true),
            receive::Verdict::Ignore => Some(false),
            _ => None,
        };
        zeroize::Zeroize::zeroize(&mut scratch);
        Some(kind)
    }
}
