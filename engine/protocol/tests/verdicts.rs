//! The verdict table of PROTOCOL.md section 4, and what sizes may not show.

use twincast_protocol::codeword;
use twincast_protocol::compact::{SplitBuffers, split};
use twincast_protocol::confirm::{CONFIRMATION_BYTES, Confirmations, expand_seed, open_confirmations};
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::receive::{
    BatchOpener, Expectation, Expected, TILE_SENDERS, TileCells, Verdict, Verdicts, open,
};
use twincast_protocol::session_key::dial;

const SIZE: FrameBytes = FrameBytes::DEFAULT;
const TEXT: &[u8] = b"come to the window";

fn context(sender: u32) -> Context {
    Context {
        group: GroupId(1),
        epoch: Epoch(2),
        round: RoundNumber(3),
        sender: MemberIndex(sender),
        slot: SlotIndex(0),
        purpose: Purpose::Message,
    }
}

fn real_codeword() -> Vec<u8> {
    let mut codeword = vec![0; SIZE.share_bytes()];
    codeword::real(SIZE, &context(0), TEXT, &mut rand::rng(), &mut codeword).expect("it fits");
    codeword
}

fn dummy_codeword() -> Vec<u8> {
    let mut codeword = vec![0; SIZE.share_bytes()];
    codeword::dummy(SIZE, &context(0), &mut rand::rng(), &mut codeword);
    codeword
}

/// The verdict's name; an accepted message must be [`TEXT`].
fn verdict(shares: [Option<&[u8]>; 2], expectation: Expectation) -> &'static str {
    let mut scratch = vec![0; SIZE.share_bytes()];
    match open(SIZE, &context(0), shares[0], shares[1], expectation, &mut scratch) {
        Verdict::Accept(text) => {
            assert_eq!(text, TEXT);
            "accept"
        }
        Verdict::Ignore => "ignore",
        Verdict::Tampered => "tampered",
        Verdict::Absent => "absent",
        Verdict::Incomplete => "incomplete",
    }
}

#[test]
fn verdict_table() {
    use Expectation::{Dummy, Failed, Real, Unconfirmed};
    let (real, dummy) = (real_codeword(), dummy_codeword());
    let mut wrong_tag = real.clone();
    wrong_tag[SIZE.share_bytes() - 1] ^= 1;
    let zeros = vec![0; SIZE.share_bytes()];
    let table = [
        (&real, ["accept", "accept", "tampered", "tampered"]),
        (&dummy, ["ignore", "tampered", "ignore", "tampered"]),
        (&wrong_tag, ["tampered"; 4]),
        // x = 0 makes every tag 0, so that zeros are a dummy, to whoever knows that x is 0: its sender.
        (&zeros, ["ignore", "tampered", "ignore", "tampered"]),
    ];
    for (codeword, verdicts) in table {
        for (expectation, expected) in [Unconfirmed, Real, Dummy, Failed].into_iter().zip(verdicts) {
            let (here, zero) = (Some(codeword.as_slice()), Some(zeros.as_slice()));
            assert_eq!(verdict([here, zero], expectation), expected, "{expectation:?}");
            assert_eq!(verdict([zero, here], expectation), expected, "{expectation:?}, swapped");
            assert_eq!(verdict([None, here], expectation), "incomplete");
            assert_eq!(verdict([here, None], expectation), "incomplete");
            assert_eq!(verdict([None, None], expectation), "absent");
            for length in [0, 1, SIZE.share_bytes() - 1, SIZE.share_bytes() + 1] {
                let mut resized = codeword.clone();
                resized.resize(length, 0);
                assert_eq!(verdict([Some(&resized), zero], expectation), "tampered", "{length} bytes");
                assert_eq!(verdict([zero, Some(&resized)], expectation), "tampered", "{length} bytes");
            }
        }
    }
}

#[test]
fn another_context_is_tampered() {
    let codeword = real_codeword();
    let zeros = vec![0; SIZE.share_bytes()];
    let made = context(0);
    let others = [
        Context { group: GroupId(9), ..made },
        Context { epoch: Epoch(9), ..made },
        Context { round: RoundNumber(9), ..made },
        Context { sender: MemberIndex(9), ..made },
        Context { slot: SlotIndex(9), ..made },
        Context { purpose: Purpose::Key, ..made },
    ];
    let mut scratch = zeros.clone();
    for other in others {
        let verdict =
            open(SIZE, &other, Some(&codeword), Some(&zeros), Expectation::Unconfirmed, &mut scratch);
        assert_eq!(verdict, Verdict::Tampered, "{other:?}");
    }
}

#[test]
fn a_tile_of_the_wrong_size_is_tampered_and_its_confirmations_fail() {
    let mut opener = BatchOpener::new(SIZE);
    for bytes in [0, 335, 337, 3 * 336 - 1, 3 * 336 + 1, 64 * 336] {
        let (wrong, right) = (vec![0; bytes], vec![0; 3 * 336]);
        let tile = TileCells { count: 3, cells: [&right, &wrong], present: [0b011, 0b101] };
        let verdicts = opener.open(&context(0), &tile, Expected::UNCONFIRMED);
        let expected = Verdicts { tampered: 0b001, incomplete: 0b110, ..Verdicts::default() };
        assert_eq!(verdicts, expected, "{bytes} bytes");
        let Context { group, epoch, sender, slot, .. } = context(0);
        let opened = open_confirmations(group, epoch, sender, slot, &tile);
        assert_eq!((opened.failed, opened.real), (0b111, 0), "{bytes} bytes");
    }
}

#[test]
fn a_confirmation_is_two_bits_and_nothing_else() {
    let Context { group, epoch, sender, slot, .. } = context(0);
    let made = Context::confirmation(group, epoch, sender, slot);
    let zeros = [0; CONFIRMATION_BYTES];
    let mut cell = zeros;
    let open = |cell: &[u8]| {
        let tile = TileCells { count: 1, cells: [cell, &zeros], present: [1, 1] };
        open_confirmations(group, epoch, sender, slot, &tile)
    };
    for message in [&[][..], &[0], &[1], &[0, 2], &[2, 0], &[255, 0], &[0, 1, 0], &[1; 13]] {
        codeword::real(FrameBytes::CONFIRM, &made, message, &mut rand::rng(), &mut cell).expect("it fits");
        assert_eq!(open(&cell), Confirmations { failed: 1, ..Confirmations::default() }, "{message:?}");
    }
    codeword::dummy(FrameBytes::CONFIRM, &made, &mut rand::rng(), &mut cell);
    assert_eq!(open(&cell).failed, 1, "a dummy");
    for (bits1, bits2) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let message = [bits1 as u8, bits2 as u8];
        codeword::real(FrameBytes::CONFIRM, &made, &message, &mut rand::rng(), &mut cell).expect("it fits");
        let expected = Confirmations { real: bits1 ^ bits2, failed: 0, bits1, bits2 };
        assert!(open(&cell) == expected, "{message:?}");
    }
}

#[test]
#[should_panic(expected = "was not accepted")]
fn only_accepted_messages_are_handed_out() {
    let cells = vec![0; TILE_SENDERS * SIZE.share_bytes()];
    let mut opener = BatchOpener::new(SIZE);
    let tile = TileCells { count: TILE_SENDERS, cells: [&cells, &cells], present: [u64::MAX; 2] };
    assert_eq!(opener.open(&context(0), &tile, Expected::UNCONFIRMED).ignore, u64::MAX);
    let _ = opener.message(5);
}

#[test]
fn wrong_half_is_noticed() {
    let mut rng = rand::rng();
    for recipients in [&[][..], &[MemberIndex(3)], &[MemberIndex(0), MemberIndex(7)]] {
        let (p1, p2) = dial(8, recipients, &mut rng).expect("members");
        let mut halves: [[Vec<u8>; 2]; 2] = Default::default();
        halves.iter_mut().flatten().for_each(|half| half.resize(SIZE.share_bytes(), 0));
        let [s1, s2] = halves.each_mut().map(|halves| halves.each_mut().map(Vec::as_mut_slice));
        split(SIZE, &context(0), TEXT, &mut rng, SplitBuffers { s1, s2 }).expect("it fits");
        let mut scratch = vec![0; SIZE.share_bytes()];
        for member in (0..8).map(MemberIndex) {
            let (bit1, bit2) = (usize::from(p1.bit(member)), usize::from(p2.bit(member)));
            let expectation = if bit1 == bit2 { Expectation::Dummy } else { Expectation::Real };
            for (half1, half2, lies) in [(bit1, bit2, 0), (1 - bit1, bit2, 1), (bit1, 1 - bit2, 1)] {
                let (share1, share2) = (Some(&halves[0][half1][..]), Some(&halves[1][half2][..]));
                let verdict = open(SIZE, &context(0), share1, share2, expectation, &mut scratch);
                assert_eq!(verdict == Verdict::Tampered, lies == 1, "{verdict:?} for member {member}");
            }
        }
    }
}

#[test]
fn sizes_show_nothing() {
    let mut rng = rand::rng();
    for bytes in [16, 48, 288, 2048] {
        let size = FrameBytes::new(bytes).expect("a multiple of 16");
        assert_eq!(size.share_bytes(), bytes as usize + 48);
        // Whatever the message is, all four halves are written to the last byte.
        for length in [0, 1, size.message_bytes_max()] {
            let mut halves: [[Vec<u8>; 2]; 2] = Default::default();
            halves.iter_mut().flatten().for_each(|half| half.resize(size.share_bytes(), 0));
            let [s1, s2] = halves.each_mut().map(|halves| halves.each_mut().map(Vec::as_mut_slice));
            split(size, &context(0), &vec![0; length], &mut rng, SplitBuffers { s1, s2 }).expect("it fits");
            for half in halves.iter().flatten() {
                let longest_run = half.chunk_by(|a, b| a == b).map(<[u8]>::len).max();
                assert!(longest_run < Some(8), "a run of equal bytes in a uniform string");
            }
        }
    }
    for members in [0, 1, 8, 9, 1000] {
        let everybody: Vec<_> = (0..members).map(MemberIndex).collect();
        for recipients in [&[][..], &everybody] {
            let (p1, p2) = dial(members, recipients, &mut rng).expect("members");
            let bytes = members.div_ceil(8) as usize;
            assert_eq!((p1.as_bytes().len(), p2.as_bytes().len()), (bytes, bytes));
        }
    }
}

#[test]
fn debug_shows_no_message_and_no_dialled_bits() {
    let confirmations = Confirmations { real: 5, failed: 2, bits1: 4, bits2: 1 };
    assert_eq!(format!("{confirmations:?}"), "Confirmations { failed: 2, .. }");
    let expected = format!("{:?}", confirmations.expected());
    assert_eq!(expected, "Expected { confirmed: true, failed: 2, .. }");
    assert_eq!(format!("{:?}", Verdict::Accept(b"secret")), "Accept(..)");
    let tile = TileCells { count: 0, cells: [b"secret", b"secret"], present: [0; 2] };
    assert_eq!(format!("{tile:?}"), "TileCells { count: 0, present: [0, 0], .. }");
}

#[test]
fn a_seed_expands_to_the_rfc_8439_keystream() {
    // RFC 8439 appendix A.1, test vectors 1 and 2: key and nonce zero, counters 0 and 1.
    let starts = ["76b8e0ada0f13d90405d6ae55386bd28", "9f07e7be5551387a98ba977c732d080d"];
    let mut parts = [0; 2 * CONFIRMATION_BYTES];
    expand_seed(&[0; 32], 0, &mut parts);
    for (user, (part, start)) in (0..).zip(parts.chunks_exact(CONFIRMATION_BYTES).zip(starts)) {
        assert_eq!(hex::encode(&part[..16]), start);
        let mut alone = [0; CONFIRMATION_BYTES];
        expand_seed(&[0; 32], user, &mut alone);
        assert_eq!(part, alone);
    }
    let mut last = [0; CONFIRMATION_BYTES];
    expand_seed(&[0; 32], u32::MAX - 1, &mut last);
    assert_ne!(last, [0; CONFIRMATION_BYTES]);
}
