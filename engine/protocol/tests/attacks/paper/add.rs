//! What one server computes from `paper-add`: shares that are differences of numbers keep the signs of what they
//! hide, and make the code's one secret the solution of a linear equation.

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::{One, Signed};
use twincast_protocol::format::{Profile, Scheme, ShareCode, ShareFormat};
use twincast_protocol::ids::MemberIndex;
use twincast_protocol::paper::code::Codeword;
use twincast_protocol::paper::moduli::{self, Q_BITS};
use twincast_protocol::paper::shares::{PaperFrame, PaperShares, Sharing};

use crate::common::Stream;
use crate::world::{Dialled, Read, Reader, format};

fn additive() -> (ShareFormat, PaperShares) {
    let frame = PaperFrame::new(256).expect("the paper's frame");
    (format(Profile::PaperAdd, Scheme::Plain), PaperShares::new(Sharing::Add, frame))
}

/// The difference of a server's two halves, lifted to the integer of least magnitude. With T at bit 0 of S1 it is
/// M - D of some dummy D, at bit 1 it is D - M: codewords are far below p, so that nothing is lost.
fn difference([half0, half1]: [&[u8]; 2]) -> BigInt {
    let p = BigInt::from(moduli::p());
    let [half0, half1] = [half0, half1].map(|half| BigInt::from_bytes_be(Sign::Plus, half));
    let difference = (half0 - half1).mod_floor(&p);
    if &difference + &difference > p { difference - p } else { difference }
}

/// The recipient's bit at S1, from S1's halves: the difference ends in `mhat - mhat'`, where the message's flag
/// outweighs anything that a dummy holds.
fn side(halves: [&[u8]; 2]) -> bool {
    difference(halves).mod_floor(&(BigInt::one() << Q_BITS)) >= BigInt::one() << (Q_BITS - 1)
}

/// S1 watches dials of one sender to one recipient until one candidate is left; `side_of` is what it computes of a
/// round's halves. Returns whom it names, and after how many dials.
fn hunt(
    format: ShareFormat,
    members: u32,
    recipient: MemberIndex,
    side_of: impl Fn([&[u8]; 2]) -> bool,
    rng: &mut Stream,
) -> (Option<MemberIndex>, u32) {
    let mut candidates: Vec<_> = (0..members).map(MemberIndex).collect();
    for dials in 1..=64 {
        let dialled = Dialled::new(format, members, &[recipient], rng);
        let round = dialled.send(b"good morning", rng);
        let side = side_of(round.halves[0].each_ref().map(Vec::as_slice));
        candidates.retain(|member| dialled.keys[0].bit(*member) == side);
        if candidates.len() <= 1 {
            return (candidates.first().copied(), dials);
        }
    }
    (None, 64)
}

#[test]
fn sign_of_difference_shows_side() {
    const MEMBERS: u32 = 64;
    const TRIALS: u32 = 40;
    let (add, _) = additive();
    let mut rng = Stream::new(&[1; 32]);
    let mut dials_in_all = 0;
    for trial in 0..TRIALS {
        let recipient = MemberIndex(trial * 13 % MEMBERS);
        let (named, dials) = hunt(add, MEMBERS, recipient, side, &mut rng);
        assert_eq!(named, Some(recipient), "trial {trial}");
        dials_in_all += dials;
    }
    let mean = f64::from(dials_in_all) / f64::from(TRIALS);
    println!(
        "paper-add: recipient of {MEMBERS} named in {TRIALS} of {TRIALS} trials, after {mean:.1} dials (log2 is 6)"
    );
    assert!((6.0..9.0).contains(&mean), "{mean}");

    // XOR has no sign: the same sight of paper-xor and of compact names the recipient no more than a guess does.
    for profile in [Profile::PaperXor, Profile::Compact] {
        let top_bit =
            |[half0, half1]: [&[u8]; 2]| (half0[half0.len() - 257] ^ half1[half1.len() - 257]) >> 7 == 1;
        let named = (0..TRIALS).filter(|trial| {
            let recipient = MemberIndex(trial * 13 % MEMBERS);
            hunt(format(profile, Scheme::Plain), MEMBERS, recipient, top_bit, &mut rng).0 == Some(recipient)
        });
        let named = named.count();
        println!("{profile}: the same names {named} of {TRIALS}");
        assert!(named <= 4, "{profile}: {named} of {TRIALS} by chance");
    }
}

/// The message's whole codeword, from one server's halves and the message: with `M - D` known, its three parts are,
/// and `c - c' = mhat r - mhat' r'` is one linear equation for r modulo q. None where no codeword of this message
/// fits what is seen.
fn solve(halves: [&[u8]; 2], message: &[u8]) -> Option<Codeword> {
    let q = BigInt::from(moduli::q());
    let place = BigInt::one() << Q_BITS;
    let real_minus_dummy = match side(halves) {
        false => difference(halves),
        true => -difference(halves),
    };
    let (rest, mhat_difference) = real_minus_dummy.div_mod_floor(&place);
    let mut padded = message.to_vec();
    padded.resize(256, 0);
    let mhat = BigInt::from(PaperShares::code().mhat(true, &padded));
    let dummy_mhat = &mhat - &mhat_difference;
    let inverse = mhat_difference.modpow(&(&q - 2), &q);
    let low = rest.mod_floor(&place);
    [low.clone(), low - &place].into_iter().find_map(|r_difference| {
        let c_difference = (&rest - &r_difference) / &place;
        let r = ((&c_difference - &dummy_mhat * &r_difference) * &inverse).mod_floor(&q);
        let dummy_r = &r - &r_difference;
        let [c, dummy_c] = [(&mhat, &r), (&dummy_mhat, &dummy_r)].map(|(mhat, r)| (mhat * r).mod_floor(&q));
        let in_range = [&r, &dummy_r].iter().all(|r| r.is_positive() && **r < q);
        let [c_out, r, mhat] = [c.clone(), r, mhat.clone()].map(|number| number.to_biguint());
        let found = Codeword { c: c_out?, r: r?, mhat: mhat? };
        (in_range && c - dummy_c == c_difference && !dummy_mhat.is_negative()).then_some(found)
    })
}

/// A plaintext as an element of the share group.
fn element(shares: &PaperShares, codeword: &Codeword) -> Vec<u8> {
    let mut element = vec![0; shares.share_bytes()];
    let at = shares.group().codeword_at();
    PaperShares::code().write(&codeword.mhat, &codeword.r, &mut element[at..]);
    element
}

#[test]
fn known_message_lets_server_forge() {
    const KNOWN: &[u8] = b"attack at dawn";
    const FORGED: &[u8] = b"stay where you are";
    let (format, shares) = additive();
    let mut reader = Reader::new(format);
    let mut rng = Stream::new(&[2; 32]);
    let (mut forged, mut ruled_out) = (0, 0);
    for trial in 0..10u32 {
        let recipient = MemberIndex(trial % 8);
        let dialled = Dialled::new(format, 8, &[recipient], &mut rng);
        let round = dialled.send(KNOWN, &mut rng);
        let halves = round.halves[0].each_ref().map(Vec::as_slice);
        let codeword = solve(halves, KNOWN).expect("the message that was sent fits");

        // S1 adds M' - M to the half at the side that it computed.
        let mut replacement = vec![0; shares.share_bytes()];
        shares.real(FORGED, &mut rng, &mut replacement).expect("it fits");
        shares.subtract(&mut replacement, &element(&shares, &codeword));
        let mut altered = halves[usize::from(side(halves))].to_vec();
        shares.add(&mut altered, &replacement);
        let [_, cell2] = round.cells(dialled.bits(recipient));
        for read in [
            reader.read([&altered, cell2], dialled.confirmed(recipient)),
            reader.read_unconfirmed([&altered, cell2]),
        ] {
            forged += u32::from(read.accepts(FORGED));
        }

        // A message that was not sent often fits no key at all: the server can test what it suspects.
        ruled_out += u32::from(solve(halves, b"attack at noon").is_none());
        // Any other alteration, as one that guesses the key, is noticed.
        let mut guess = codeword.clone();
        guess.r += BigUint::one();
        let mut replacement = element(&shares, &guess);
        shares.subtract(&mut replacement, &element(&shares, &codeword));
        let mut altered = halves[usize::from(side(halves))].to_vec();
        replacement[shares.share_bytes() - 1] ^= 1;
        shares.add(&mut altered, &replacement);
        assert_eq!(reader.read_unconfirmed([&altered, cell2]), Read::Tampered);
    }
    println!(
        "paper-add: S1, knowing the message, forges {} of 10; a wrong guess is ruled out by {ruled_out} of 10",
        forged / 2
    );
    assert_eq!(forged, 20, "with and without confirmation");
    assert!(ruled_out > 0);
}
