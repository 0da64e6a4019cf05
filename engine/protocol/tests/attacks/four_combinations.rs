//! Algorithm 4 as the paper prints it, over both codes: a receiver who tries every sum of what it got also tries one
//! that S1 alone decides.

use twincast_protocol::algorithm4::{Piece, Receiver};
use twincast_protocol::format::{CompactCode, Profile, Scheme, ShareCode};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::MemberIndex;
use twincast_protocol::paper::shares::{PaperFrame, PaperShares, PlaintextVerifier, Sharing};
use twincast_protocol::receive::{Expectation, Verdict, open};

use crate::common::Stream;
use crate::world::{CONTEXT, Dialled, Read, Reader, format};

const MEMBERS: u32 = 8;
const FORGED: &[u8] = b"I never wrote this";

/// Whether a sum decodes to [`FORGED`], to something else, or not at all.
type Decode<'a> = &'a mut dyn FnMut(&[u8]) -> Option<bool>;

/// What a receiver reads who tries these sums in order.
fn receive(receiver: Receiver, code: &impl ShareCode, cells: [&[u8]; 2], decode: Decode<'_>) -> Option<bool> {
    let (share, extra) = cells[0].split_at(code.share_bytes());
    receiver.sums().iter().find_map(|pieces| {
        let mut sum = vec![0; code.share_bytes()];
        for piece in *pieces {
            let piece = match piece {
                Piece::Share => share,
                Piece::Extra => extra,
                Piece::Other => cells[1],
            };
            code.add(&mut sum, piece);
        }
        decode(&sum)
    })
}

/// S1 forges for every member of some dials; returns how many of the printed receivers, and of the real openers,
/// took the forgery, of how many.
fn forge(profile: Profile, code: &impl ShareCode, decode: Decode<'_>) -> (u32, u32, u32) {
    let mut rng = Stream::new(&[profile.number(); 32]);
    let format = format(profile, Scheme::Algorithm4);
    let mut reader = Reader::new(format);
    let (mut printed, mut mended, mut tries) = (0, 0, 0);
    for recipients in [&[][..], &[MemberIndex(3)], &[MemberIndex(1), MemberIndex(5), MemberIndex(6)]] {
        let dialled = Dialled::new(format, MEMBERS, recipients, &mut rng);
        let round = dialled.send(b"what was really written", &mut rng);
        for member in dialled.members() {
            let [honest1, cell2] = round.cells(dialled.bits(member));
            // Untouched cells give both receivers what was sent: Mended reads as the opener does.
            let for_me = recipients.contains(&member);
            let read = reader.read([honest1, cell2], dialled.confirmed(member));
            assert_eq!(matches!(read, Read::Accept(_)), for_me, "{read:?}");
            assert!(receive(Receiver::Mended, code, [honest1, cell2], decode).is_some());

            // S1 draws a share and sends with it the extra that makes a message of the two.
            let mut pair = vec![0; 2 * code.share_bytes()];
            let (share, extra) = pair.split_at_mut(code.share_bytes());
            code.random(&mut rng, share);
            code.real(FORGED, &mut rng, extra).expect("it fits");
            code.subtract(extra, share);
            tries += 1;
            printed += u32::from(receive(Receiver::AsPrinted, code, [&pair, cell2], decode) == Some(true));
            mended += u32::from(receive(Receiver::Mended, code, [&pair, cell2], decode).is_some());
            assert_eq!(reader.read_unconfirmed([&pair, cell2]), Read::Tampered);
            assert_eq!(reader.read([&pair, cell2], dialled.confirmed(member)), Read::Tampered);
        }
    }
    (printed, mended, tries)
}

#[test]
fn four_combinations_forge() {
    for (profile, sharing) in [(Profile::PaperXor, Sharing::Xor), (Profile::PaperAdd, Sharing::Add)] {
        let code = PaperShares::new(sharing, PaperFrame::new(256).expect("the paper's frame"));
        let mut verifier = PlaintextVerifier::new(&code);
        let mut decode =
            |sum: &[u8]| verifier.verify(sum).map(|flag| flag && code.message(sum).starts_with(FORGED));
        let (printed, mended, tries) = forge(profile, &code, &mut decode);
        println!("{profile}: as printed S1 forges {printed} of {tries}, mended {mended} of {tries}");
        assert_eq!((printed, mended), (tries, 0));
    }

    let code = CompactCode { size: FrameBytes::DEFAULT, context: CONTEXT };
    let zeros = vec![0; code.share_bytes()];
    let mut scratch = zeros.clone();
    let mut decode = |sum: &[u8]| match open(
        code.size,
        &CONTEXT,
        Some(sum),
        Some(&zeros),
        Expectation::Unconfirmed,
        &mut scratch,
    ) {
        Verdict::Accept(text) => Some(text == FORGED),
        Verdict::Ignore => Some(false),
        _ => None,
    };
    let (printed, mended, tries) = forge(Profile::Compact, &code, &mut decode);
    println!("compact: as printed S1 forges {printed} of {tries}, mended {mended} of {tries}");
    assert_eq!((printed, mended), (tries, 0));
}
