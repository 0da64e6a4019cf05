//! What a server does to what it hands out, exhaustively in a group of four: the confirmed bits give a wrong half
//! away, and no mischief makes recipients and others complain differently.

use twincast_protocol::confirm::{CONFIRMATION_BYTES, ConfirmationMaker, expand_seed, open_confirmations};
use twincast_protocol::format::{Profile, Scheme};
use twincast_protocol::ids::{MemberIndex, ServerSide};
use twincast_protocol::receive::{Expected, TileCells};
use twincast_protocol::sealed::{Associated, SEAL_OVERHEAD_BYTES, SealKey, open, seal};

use crate::common::Stream;
use crate::script::Script;
use crate::world::{CONTEXT, Dialled, Read, Reader, Round, TEXT, format};

/// The most members of which every subset, every key and every set of victims is gone through.
const MEMBERS: u32 = 4;
const SUBSETS: u8 = 1 << MEMBERS;

fn members_of(subset: u8) -> Vec<MemberIndex> {
    (0..MEMBERS).map(MemberIndex).filter(|member| subset >> member.0 & 1 == 1).collect()
}

/// A dial of which S1's key is this, with its confirmations as the servers hold them: `parts[server][member]`.
struct Confirmed {
    dialled: Dialled,
    parts: [Vec<u8>; 2],
}

impl Confirmed {
    fn new(p1: u8, recipients: u8, rng: &mut Stream) -> Confirmed {
        let format = format(Profile::Compact, Scheme::Plain);
        let dialled = Dialled::new(format, MEMBERS, &members_of(recipients), &mut Script::new(&[&[p1]]));
        let [key1, key2] = &dialled.keys;
        let mut parts = [(); 2].map(|()| vec![0; MEMBERS as usize * CONFIRMATION_BYTES]);
        let [parts1, parts2] = &mut parts;
        let seed = [p1; 32];
        expand_seed(&seed, 0, parts1);
        ConfirmationMaker::new(CONTEXT.group, CONTEXT.epoch, CONTEXT.sender, CONTEXT.slot, key1, key2).parts(
            &seed,
            MemberIndex(0),
            rng,
            parts2,
        );
        Confirmed { dialled, parts }
    }

    fn part(&self, server: usize, member: MemberIndex) -> &[u8] {
        &self.parts[server][member.0 as usize * CONFIRMATION_BYTES..][..CONFIRMATION_BYTES]
    }

    fn expected(&self, parts: [&[u8]; 2], present: [u64; 2]) -> Expected {
        let tile = TileCells { count: 1, cells: parts, present };
        open_confirmations(CONTEXT.group, CONTEXT.epoch, CONTEXT.sender, CONTEXT.slot, &tile).expected()
    }
}

#[test]
fn wrong_half_is_noticed() {
    let mut reader = Reader::new(format(Profile::Compact, Scheme::Plain));
    let mut rng = Stream::new(&[1; 32]);
    let (mut noticed, mut tries, mut silent_without, mut recipients_in_all) = (0, 0, 0, 0);
    for (p1, recipients) in (0..SUBSETS).flat_map(|p1| (0..SUBSETS).map(move |subset| (p1, subset))) {
        let confirmed = Confirmed::new(p1, recipients, &mut rng);
        let dialled = &confirmed.dialled;
        let round = dialled.send(TEXT, &mut rng);
        for member in dialled.members() {
            let for_me = members_of(recipients).contains(&member);
            let expected = confirmed.expected([0, 1].map(|server| confirmed.part(server, member)), [1, 1]);
            let honest = reader.read(round.cells(dialled.bits(member)), expected);
            assert_eq!((honest.accepts(TEXT), honest.alarms()), (for_me, false));
            recipients_in_all += 2 * u32::from(for_me);
            for server in 0..2 {
                let mut bits = dialled.bits(member);
                bits[server] ^= 1;
                tries += 1;
                noticed += u32::from(reader.read(round.cells(bits), expected) == Read::Tampered);
                let without = reader.read_unconfirmed(round.cells(bits));
                silent_without += u32::from(for_me && without == Read::Ignore);
            }
        }
    }
    println!(
        "compact: {noticed} of {tries} wrong halves noticed, over every key, set and member of {MEMBERS}"
    );
    println!(
        "compact without confirmation: {silent_without} of {recipients_in_all} recipients miss theirs in silence"
    );
    assert_eq!(noticed, tries);
    assert_eq!(silent_without, recipients_in_all, "it is the confirmation that notices");
}

/// What a server does to its victims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mischief {
    Flip,
    SwapHalf,
    Zeros,
    /// The cell of an earlier round.
    Replay,
    Withhold,
    FlipConfirmation,
    /// The confirmation part of the next member.
    SwapConfirmation,
    WithholdConfirmation,
}

const MISCHIEFS: [Mischief; 8] = [
    Mischief::Flip,
    Mischief::SwapHalf,
    Mischief::Zeros,
    Mischief::Replay,
    Mischief::Withhold,
    Mischief::FlipConfirmation,
    Mischief::SwapConfirmation,
    Mischief::WithholdConfirmation,
];

/// By what a member decides whether to raise its alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// As this protocol has it.
    Confirmed,
    /// In a group without bit confirmation.
    Unconfirmed,
    /// There, and if the member were to complain about a message that does not open, which this protocol forbids.
    UnconfirmedAndLoud,
}

/// One set of recipients under one key of the server in question, with two rounds. Each message is sealed for the
/// recipients.
struct World {
    confirmed: Confirmed,
    recipients: Vec<MemberIndex>,
    earlier: Round,
    round: Round,
}

impl World {
    /// Whether `member` raises its alarm when `server` does this to it, or when nobody does anything.
    fn alarms(
        &self,
        mischief: Option<Mischief>,
        server: usize,
        member: MemberIndex,
        policy: Policy,
        reader: &mut Reader,
    ) -> bool {
        let mut bits = self.confirmed.dialled.bits(member);
        let copied = |round: &Round, bits| round.cells(bits).map(<[u8]>::to_vec);
        let mut cells = copied(&self.round, bits);
        let mut parts = [0, 1].map(|server| self.confirmed.part(server, member).to_vec());
        let (mut present, mut confirmation_present) = ([1, 1], [1, 1]);
        match mischief {
            None => {}
            Some(Mischief::Flip) => cells[server][20] ^= 4,
            Some(Mischief::SwapHalf) => {
                bits[server] ^= 1;
                cells = copied(&self.round, bits);
            }
            Some(Mischief::Zeros) => cells[server].fill(0),
            Some(Mischief::Replay) => cells[server] = self.earlier.cells(bits)[server].to_vec(),
            Some(Mischief::Withhold) => present[server] = 0,
            Some(Mischief::FlipConfirmation) => parts[server][3] ^= 1,
            Some(Mischief::SwapConfirmation) => {
                let next = MemberIndex((member.0 + 1) % MEMBERS);
                parts[server] = self.confirmed.part(server, next).to_vec();
            }
            Some(Mischief::WithholdConfirmation) => confirmation_present[server] = 0,
        }
        let expected = match policy {
            Policy::Confirmed => {
                self.confirmed.expected(parts.each_ref().map(Vec::as_slice), confirmation_present)
            }
            Policy::Unconfirmed | Policy::UnconfirmedAndLoud => Expected::UNCONFIRMED,
        };
        let read = reader.read_present(cells.each_ref().map(Vec::as_slice), present, expected);
        let closed = match &read {
            Read::Accept(sealed) => {
                let key = if self.recipients.contains(&member) { &RECIPIENTS_KEY } else { &OTHERS_KEY };
                let mut out = vec![0; sealed.len()];
                open(&SealKey::from_bytes(key), &ASSOCIATED, sealed, &mut out).is_none()
            }
            _ => false,
        };
        read.alarms() || policy == Policy::UnconfirmedAndLoud && closed
    }
}

const RECIPIENTS_KEY: [u8; 32] = [1; 32];
const OTHERS_KEY: [u8; 32] = [2; 32];
const ASSOCIATED: Associated = Associated {
    group: CONTEXT.group,
    epoch: CONTEXT.epoch,
    round: CONTEXT.round,
    sender: CONTEXT.sender,
    recipient_set: 0,
    sequence: 0,
};

/// Every set of recipients under this key of this server.
fn worlds(server: usize, key: u8, rng: &mut Stream) -> Vec<World> {
    let mut sealed = vec![0; TEXT.len() + SEAL_OVERHEAD_BYTES];
    seal(&SealKey::from_bytes(&RECIPIENTS_KEY), &ASSOCIATED, TEXT, &mut sealed);
    let world = |recipients| {
        // S2's key is S1's with the recipients flipped.
        let p1 = if ServerSide::BOTH[server] == ServerSide::One { key } else { key ^ recipients };
        let confirmed = Confirmed::new(p1, recipients, rng);
        assert_eq!(confirmed.dialled.keys[server].as_bytes(), [key]);
        let [earlier, round] = [(); 2].map(|()| confirmed.dialled.send(&sealed, rng));
        World { confirmed, recipients: members_of(recipients), earlier, round }
    };
    (0..SUBSETS).map(world).collect()
}

/// For every server, its key, its mischief and its victims: who alarms is the same whoever the recipients are.
#[test]
fn complaints_do_not_show_recipients() {
    let mut reader = Reader::new(format(Profile::Compact, Scheme::Plain));
    let mut rng = Stream::new(&[2; 32]);
    let (mut cases, mut shown_by_the_loud) = (0, 0);
    for (server, key) in (0..2).flat_map(|server| (0..SUBSETS).map(move |key| (server, key))) {
        let worlds = worlds(server, key, &mut rng);
        for (mischief, victims) in MISCHIEFS.into_iter().flat_map(|it| (0..SUBSETS).map(move |set| (it, set)))
        {
            let mut seen = |policy| -> Vec<u8> {
                let mut alarms_of = |world: &World| {
                    (0..MEMBERS).fold(0, |alarms, member| {
                        let done = (victims >> member & 1 == 1).then_some(mischief);
                        let alarm = world.alarms(done, server, MemberIndex(member), policy, &mut reader);
                        alarms | u8::from(alarm) << member
                    })
                };
                worlds.iter().map(&mut alarms_of).collect()
            };
            let alike = |seen: &[u8]| seen.iter().all(|alarms| *alarms == seen[0]);
            let confirmed = seen(Policy::Confirmed);
            assert!(alike(&confirmed) && confirmed[0] == victims, "{mischief:?} by {server} to {victims:b}");
            assert!(
                alike(&seen(Policy::Unconfirmed)),
                "{mischief:?} by {server} to {victims:b}, unconfirmed"
            );
            cases += 2 * worlds.len();
            if mischief == Mischief::SwapHalf {
                let loud = seen(Policy::UnconfirmedAndLoud);
                // Exactly the victims who are no recipients: the set, given away in one round.
                shown_by_the_loud +=
                    usize::from((0..SUBSETS).zip(&loud).all(|(set, seen)| *seen == victims & !set));
            }
        }
    }
    println!(
        "compact: who alarms is the same for every set of recipients: {cases} cases, {} kinds of mischief",
        MISCHIEFS.len()
    );
    println!(
        "compact, if messages that do not open were complained about: swapped halves show the set among their victims in {shown_by_the_loud} of {} cases",
        2 * 16 * 16
    );
    assert_eq!(shown_by_the_loud, 2 * 16 * 16, "it is silence that hides them");
}
