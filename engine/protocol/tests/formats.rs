//! Properties of every format: who reads what, what is noticed, and that no bytes of a peer's do harm.

use proptest::prelude::*;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::format::{Opener, Profile, Scheme, ShareFormat, dial, split, split_one_to_many};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::receive::{Expected, TileCells, Verdicts};
use twincast_protocol::session_key::SessionKey;

use common::Stream;

mod common;

/// What one sender of a tile does.
#[derive(Clone, Debug)]
struct Sender {
    recipients: Vec<usize>,
    message: Vec<u8>,
    present: [bool; 2],
}

/// A sender's dial and rows.
struct Sent {
    keys: [SessionKey; 2],
    rows: [Vec<u8>; 2],
}

fn context(sender: u32) -> Context {
    Context {
        group: GroupId(4),
        epoch: Epoch(3),
        round: RoundNumber(2),
        sender: MemberIndex(sender),
        slot: SlotIndex(1),
        purpose: Purpose::Message,
    }
}

fn format_of(profile: Profile, frame_bytes: u32, scheme: Scheme) -> ShareFormat {
    ShareFormat::new(profile, frame_bytes, scheme).expect("a format")
}

fn rows(format: &ShareFormat) -> [Vec<u8>; 2] {
    ServerSide::BOTH.map(|side| vec![0; format.row_bytes(side)])
}

/// A profile with a frame that it has: the usual one, or one of another size.
fn profile_and_frame() -> impl Strategy<Value = (Profile, u32)> {
    prop_oneof![
        Just((Profile::Compact, 288)),
        (1..9u32).prop_map(|blocks| (Profile::Compact, 16 * blocks)),
        Just((Profile::PaperXor, 256)),
        Just((Profile::PaperAdd, 256)),
        (257..700u32).prop_map(|bytes| (Profile::PaperXor, bytes)),
        (257..700u32).prop_map(|bytes| (Profile::PaperAdd, bytes)),
    ]
}

fn dialled_format() -> impl Strategy<Value = ShareFormat> {
    let scheme = prop_oneof![Just(Scheme::Plain), Just(Scheme::Algorithm4)];
    (profile_and_frame(), scheme).prop_map(|((profile, bytes), scheme)| format_of(profile, bytes, scheme))
}

fn sender() -> impl Strategy<Value = Sender> {
    let recipients = proptest::collection::vec(any::<prop::sample::Index>(), 0..6)
        .prop_map(|indices| indices.iter().map(|index| index.index(1 << 16)).collect());
    let message = proptest::collection::vec(any::<u8>(), 0..700);
    let present = prop_oneof![6 => Just([true, true]), 1 => any::<[bool; 2]>()];
    (recipients, message, present).prop_map(|(recipients, message, present)| Sender {
        recipients,
        message,
        present,
    })
}

/// The recipients that this format and group can reach.
fn recipients(format: &ShareFormat, members: u32, sender: &Sender) -> Vec<MemberIndex> {
    let mut recipients: Vec<_> =
        sender.recipients.iter().map(|index| MemberIndex(*index as u32 % members)).collect();
    recipients.sort_unstable();
    recipients.dedup();
    recipients.truncate(match (format.scheme(), format.profile()) {
        (Scheme::Algorithm4, _) => members as usize / 2,
        (_, Profile::Compact) => recipients.len(),
        _ => 1,
    });
    recipients
}

fn message<'a>(format: &ShareFormat, sender: &'a Sender) -> &'a [u8] {
    &sender.message[..sender.message.len().min(format.message_bytes_max())]
}

/// How the message comes back: the paper's frame has no length.
fn received(format: &ShareFormat, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    if format.profile().is_paper() {
        message.resize(format.frame_bytes(), 0);
    }
    message
}

fn send(format: &ShareFormat, index: u32, members: u32, sender: &Sender, rng: &mut Stream) -> Sent {
    let recipients = recipients(format, members, sender);
    let (p1, p2, aim) = dial(format, members, &recipients, rng).expect("as many as it reaches");
    let mut rows = rows(format);
    let out = rows.each_mut().map(Vec::as_mut_slice);
    split(format, &context(index), &aim, message(format, sender), rng, out).expect("it fits");
    Sent { keys: [p1, p2], rows }
}

impl Sent {
    fn bits(&self, member: MemberIndex) -> [usize; 2] {
        self.keys.each_ref().map(|key| key.bit(member).into())
    }

    fn cell(&self, format: &ShareFormat, side: ServerSide, half: usize) -> &[u8] {
        let bytes = format.cell_bytes(side);
        &self.rows[side.index()][half * bytes..][..bytes]
    }

    fn cells(&self, format: &ShareFormat, [half1, half2]: [usize; 2]) -> [&[u8]; 2] {
        [self.cell(format, ServerSide::One, half1), self.cell(format, ServerSide::Two, half2)]
    }
}

fn mask(bits: impl IntoIterator<Item = bool>) -> u64 {
    (0..).zip(bits).map(|(index, bit)| u64::from(bit) << index).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_member_gets_exactly_the_right_verdict(
        format in dialled_format(),
        half_members in 1..9u32,
        senders in proptest::collection::vec(sender(), 1..6),
        first in 0..10_000u32,
        seed: [u8; 32],
    ) {
        let members = 2 * half_members;
        format.check_members(members).expect("an even group");
        let mut rng = Stream::new(&seed);
        let sent: Vec<_> = (first..)
            .zip(&senders)
            .map(|(index, sender)| send(&format, index, members, sender, &mut rng))
            .collect();
        let present = [0, 1].map(|server| mask(senders.iter().map(|sender| sender.present[server])));
        let mut opener = Opener::new(format);
        for member in (0..members).map(MemberIndex) {
            let cells = ServerSide::BOTH.map(|side| {
                let cells = sent.iter().map(|sent| sent.cell(&format, side, sent.bits(member)[side.index()]));
                cells.flatten().copied().collect::<Vec<_>>()
            });
            let cells = cells.each_ref().map(Vec::as_slice);
            let tile = TileCells { count: senders.len(), cells, present };
            let recipients = senders.iter().map(|sender| recipients(&format, members, sender));
            let for_member = mask(recipients.map(|recipients| recipients.contains(&member)));
            let differ = mask(sent.iter().map(|sent| sent.bits(member)[0] != sent.bits(member)[1]));
            let (both, all) = (present[0] & present[1], mask(senders.iter().map(|_| true)));
            let right = Verdicts {
                accept: both & for_member,
                ignore: both & !for_member,
                tampered: 0,
                absent: all & !(present[0] | present[1]),
                incomplete: present[0] ^ present[1],
            };
            for failed in [0, 0b10] {
                let confirmed = Expected { confirmed: true, real: differ, failed };
                let verdicts = opener.open(&context(first), &tile, confirmed);
                let expected = Verdicts {
                    accept: right.accept & !failed,
                    ignore: right.ignore & !failed,
                    tampered: both & failed,
                    ..right
                };
                prop_assert_eq!(verdicts, expected, "member {}, confirmed", member);
            }
            let verdicts = opener.open(&context(first), &tile, Expected::UNCONFIRMED);
            prop_assert_eq!(verdicts, right, "member {}", member);
            for (index, sender) in senders.iter().enumerate() {
                if right.accept >> index & 1 == 1 {
                    prop_assert_eq!(opener.message(index), received(&format, message(&format, sender)));
                }
            }
        }
    }

    #[test]
    fn with_confirmation_a_wrong_half_is_tampered(
        format in dialled_format(),
        half_members in 1..5u32,
        sender in sender(),
        seed: [u8; 32],
    ) {
        let members = 2 * half_members;
        let sent = send(&format, 0, members, &sender, &mut Stream::new(&seed));
        let mut opener = Opener::new(format);
        for member in (0..members).map(MemberIndex) {
            let [bit1, bit2] = sent.bits(member);
            let expected = Expected { confirmed: true, real: u64::from(bit1 != bit2), failed: 0 };
            for halves in [[1 - bit1, bit2], [bit1, 1 - bit2]] {
                let tile = TileCells { count: 1, cells: sent.cells(&format, halves), present: [1, 1] };
                let verdicts = opener.open(&context(0), &tile, expected);
                prop_assert_eq!(verdicts.tampered, 1, "member {}, halves {:?}", member, halves);
            }
        }
    }

    #[test]
    fn an_altered_string_that_is_read_is_tampered(
        format in dialled_format(),
        sender in sender(),
        at: prop::sample::Index,
        bit in 0..8u32,
        seed: [u8; 32],
    ) {
        let sent = send(&format, 0, 6, &sender, &mut Stream::new(&seed));
        let mut opener = Opener::new(format);
        for member in (0..6).map(MemberIndex) {
            let bits = sent.bits(member);
            let reads_extra = bits[0] != bits[1] && !recipients(&format, 6, &sender).contains(&member);
            for side in ServerSide::BOTH {
                let mut cells = sent.cells(&format, bits).map(<[u8]>::to_vec);
                let byte = at.index(cells[side.index()].len());
                cells[side.index()][byte] ^= 1 << bit;
                let cells = cells.each_ref().map(Vec::as_slice);
                let tile = TileCells { count: 1, cells, present: [1, 1] };
                let tampered = opener.open(&context(0), &tile, Expected::UNCONFIRMED).tampered == 1;
                let read = byte < format.share_bytes() || reads_extra;
                prop_assert_eq!(tampered, read, "member {}, {}, byte {}", member, side, byte);
            }
        }
    }

    #[test]
    fn nonsense_is_tampered_and_never_panics(
        format in dialled_format(),
        count in 0..=64usize,
        lengths in [0..3usize, 0..3],
        present: [u64; 2],
        expected in (any::<bool>(), any::<u64>(), any::<u64>())
            .prop_map(|(confirmed, real, failed)| Expected { confirmed, real, failed }),
        seed: [u8; 32],
    ) {
        let mut rng = Stream::new(&seed);
        let cells = ServerSide::BOTH.map(|side| {
            let bytes = count * format.cell_bytes(side) + lengths[side.index()];
            let mut cells = vec![0; bytes.saturating_sub(1)];
            rand::Rng::fill_bytes(&mut rng, &mut cells);
            cells
        });
        let tile = TileCells { count, cells: cells.each_ref().map(Vec::as_slice), present };
        let verdicts = Opener::new(format).open(&context(0), &tile, expected);
        let senders = 1u64.checked_shl(count as u32).map_or(u64::MAX, |above| above - 1);
        let right = Verdicts {
            tampered: present[0] & present[1] & senders,
            absent: !(present[0] | present[1]) & senders,
            incomplete: (present[0] ^ present[1]) & senders,
            ..Verdicts::default()
        };
        prop_assert_eq!(verdicts, right);
    }

    #[test]
    fn one_to_many_reaches_everybody_once(
        (profile, frame_bytes) in profile_and_frame(),
        senders in proptest::collection::vec(sender(), 0..6),
        noise in 0..4u16,
        more_members in 0..20u32,
        unused in 0..3u16,
        seed: [u8; 32],
    ) {
        let kappa = senders.len() as u16;
        let members = u32::from(kappa + noise).max(1) + more_members;
        let noise = if kappa + noise == 0 { 1 } else { noise };
        let scheme = Scheme::OneToMany { subgroups_max: kappa + noise + unused };
        let format = format_of(profile, frame_bytes, scheme);
        // From the last member down, so that all are different.
        let messages: Vec<_> = senders.iter().enumerate()
            .map(|(index, sender)| (MemberIndex(members - 1 - index as u32), message(&format, sender)))
            .collect();
        let mut choices = [(); 2].map(|()| vec![u16::MAX; members as usize]);
        let mut rows = rows(&format);
        let [choices1, choices2] = choices.each_mut().map(Vec::as_mut_slice);
        let out = rows.each_mut().map(Vec::as_mut_slice);
        let mut rng = Stream::new(&seed);
        let choices_out = [choices1, choices2];
        split_one_to_many(&format, members, &context(0), &messages, noise, &mut rng, choices_out, out)
            .expect("it fits");

        let mut opener = Opener::new(format);
        for member in 0..members {
            let words = choices.each_ref().map(|words| usize::from(words[member as usize]));
            prop_assert!(words.iter().all(|word| *word < format.halves()));
            prop_assert_eq!(words[0] / 2, words[1] / 2, "both servers have the same subgroups");
            prop_assert!(words[0] / 2 < usize::from(kappa + noise), "only subgroups of the round");
            let cells = ServerSide::BOTH.map(|side| {
                let bytes = format.cell_bytes(side);
                &rows[side.index()][words[side.index()] * bytes..][..bytes]
            });
            let tile = TileCells { count: 1, cells, present: [1, 1] };
            let verdicts = opener.open(&context(0), &tile, Expected::UNCONFIRMED);
            match messages.iter().find(|(recipient, _)| recipient.0 == member) {
                Some((_, text)) => prop_assert_eq!(opener.message(0), received(&format, text)),
                None => prop_assert_eq!(verdicts.ignore, 1, "member {}", member),
            }
        }
        // The rows are written to the last byte, used or not.
        for row in &rows {
            let longest_run = row.chunk_by(|a, b| a == b).map(<[u8]>::len).max();
            prop_assert!(longest_run < Some(8), "a run of equal bytes in uniform shares");
        }
    }
}
