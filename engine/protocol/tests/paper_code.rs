//! The paper's code at its edges: ranges, bounds, long messages, cover.

use std::convert::Infallible;

use common::Stream;
use num_bigint::BigUint;
use num_traits::One;
use rand::{Rng, TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::error::ProtocolError;
use twincast_protocol::format::{Profile, Scheme, ShareCode, ShareFormat, dial, split};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::paper::code::{MODULUS_BITS_MAX, PaperCode, Verifier};
use twincast_protocol::paper::moduli;
use twincast_protocol::paper::shares::{
    ADDITIVE_BYTES, CODEWORD_BYTES, PaperFrame, PaperShares, PlaintextVerifier, Sharing,
};
use twincast_protocol::paper::sharing::{PRIME_BITS_MAX, ShareGroup, SumBuffers};

mod common;

const CONTEXT: Context = Context {
    group: GroupId(1),
    epoch: Epoch(1),
    round: RoundNumber(1),
    sender: MemberIndex(0),
    slot: SlotIndex(0),
    purpose: Purpose::Message,
};

fn shares(sharing: Sharing, frame_bytes: u32) -> PaperShares {
    PaperShares::new(sharing, PaperFrame::new(frame_bytes).expect("a frame size"))
}

/// A codeword of these three numbers, whatever they are.
fn codeword(c: &BigUint, r: &BigUint, mhat: &BigUint) -> Vec<u8> {
    let mut codeword = Vec::new();
    for number in [c, r, mhat] {
        let bytes = number.to_bytes_be();
        codeword.resize(codeword.len() + 257 - bytes.len(), 0);
        codeword.extend(bytes);
    }
    codeword
}

#[test]
fn numbers_out_of_range_are_no_codeword() {
    let code = PaperShares::code();
    let (q, one) = (moduli::q(), BigUint::one());
    let mut verifier = Verifier::new(code);
    let mut check = |c: &BigUint, r: &BigUint, mhat: &BigUint| verifier.verify(&codeword(c, r, mhat));
    let message = code.mhat(true, &[0xee; 256]);
    let r = &q - 5u32;
    let c = &message * &r % &q;
    assert_eq!(check(&c, &r, &message), Some(true));
    assert_eq!(check(&(&c + &one), &r, &message), None, "another tag");

    // Each of these satisfies the equation, and only its range is wrong.
    let zero = BigUint::ZERO;
    assert_eq!(check(&zero, &zero, &message), None, "r = 0");
    assert_eq!(check(&zero, &r, &zero), None, "mhat = 0");
    assert_eq!(check(&zero, &q, &message), None, "r = q");
    assert_eq!(check(&zero, &r, &q), None, "mhat = q");
    let above = &one << 2049;
    assert_eq!(check(&(&above * &r % &q), &r, &above), None, "a bit above the flag");
    let small = BigUint::from(3u32);
    assert_eq!(check(&BigUint::from(6u32), &BigUint::from(2u32), &small), Some(false));
    assert_eq!(check(&(BigUint::from(6u32) + &q), &BigUint::from(2u32), &small), None, "c >= q");
    assert_eq!(check(&BigUint::from(6u32), &(BigUint::from(2u32) + &q), &small), None, "r > q");

    for bytes in [0, 1, CODEWORD_BYTES - 1, CODEWORD_BYTES + 1] {
        assert_eq!(Verifier::new(code).verify(&vec![1; bytes]), None, "{bytes} bytes");
        assert!(code.parse(&vec![1; bytes]).is_none());
    }
    let parts = code.parse(&codeword(&c, &r, &message)).expect("the right length");
    assert!((parts.c, parts.r, parts.mhat) == (c, r, message));
}

#[test]
fn every_small_code_verifies_exactly_its_equation() {
    // The definition written out, over every triple of numbers of one byte.
    for (q, message_bits) in [(61u32, 4u64), (31, 4), (251, 5)] {
        let code = PaperCode::new(BigUint::from(q), message_bits).expect("it has room");
        let mut verifier = Verifier::new(&code);
        for c in 0..=255u32 {
            for (r, mhat) in (0..=255u32).step_by(3).flat_map(|r| (0..=255).map(move |mhat| (r, mhat))) {
                let in_range = c < q && (1..q).contains(&r) && (1..q).contains(&mhat);
                let right = in_range && mhat >> message_bits <= 1 && mhat * r % q == c;
                let flag = right.then_some(mhat >> message_bits == 1);
                assert_eq!(verifier.verify(&[c as u8, r as u8, mhat as u8]), flag, "{c} {r} {mhat} mod {q}");
            }
        }
    }
}

#[test]
fn moduli_out_of_bounds_are_refused() {
    let one = BigUint::one();
    for (q, bits) in [
        (BigUint::ZERO, 0),
        (BigUint::from(255u32), 8),
        (&one << 2048, 2049),
        ((&one << 2049) - 2u32, 2049),
        (&one << MODULUS_BITS_MAX, MODULUS_BITS_MAX + 1),
    ] {
        let refused = PaperCode::new(q, 2048).map(drop);
        assert_eq!(refused, Err(ProtocolError::PaperModulus { bits, bits_min: 2049, bits_max: 4096 }));
    }
    assert!(PaperCode::new((&one << 2049) - 1u32, 2048).is_ok(), "2^k - 1 with room for the flag alone");
    assert!(PaperCode::new(BigUint::ZERO, 0).is_err() && PaperCode::new(one.clone(), u64::MAX).is_err());

    for (p, bits) in [
        (BigUint::ZERO, 0),
        ((&one << (8 * CODEWORD_BYTES)) - 1u32, 6168),
        (&one << PRIME_BITS_MAX, PRIME_BITS_MAX + 1),
    ] {
        let refused = ShareGroup::additive(p, CODEWORD_BYTES, 0).map(drop);
        let error = ProtocolError::PaperPrime { bits, bits_min: 6169, bits_max: PRIME_BITS_MAX };
        assert_eq!(refused, Err(error));
    }
}

#[test]
fn shares_in_z_p_add_up_and_stay_below_p() {
    let (p, shares) = (moduli::p(), shares(Sharing::Add, 256));
    let mut rng = rand::rng();
    let bytes = |number: &BigUint| {
        let digits = number.to_bytes_be();
        [vec![0; ADDITIVE_BYTES - digits.len()], digits].concat()
    };
    for _ in 0..32 {
        let [mut a, mut b] = [(); 2].map(|()| vec![0; ADDITIVE_BYTES]);
        shares.random(&mut rng, &mut a);
        shares.random(&mut rng, &mut b);
        let (number_a, number_b) = (BigUint::from_bytes_be(&a), BigUint::from_bytes_be(&b));
        assert!(number_a < p && number_b < p);
        let start = a.clone();
        shares.add(&mut a, &b);
        assert_eq!(a, bytes(&((&number_a + &number_b) % &p)));
        shares.subtract(&mut a, &b);
        assert_eq!(a, start);
        shares.subtract(&mut b, &start);
        assert_eq!(b, bytes(&((&p + &number_b - &number_a) % &p)));
    }
    let mut buffers = SumBuffers::default();
    let (zero, largest, above) = (bytes(&BigUint::ZERO), bytes(&(&p - 1u32)), bytes(&p));
    for (a, b, in_group) in [(&zero, &largest, true), (&zero, &above, false), (&above, &zero, false)] {
        assert_eq!(shares.group().add(&mut buffers, &mut a.clone(), b), in_group);
        assert_eq!(shares.group().subtract(&mut buffers, &mut a.clone(), b), in_group);
    }
    assert!(!shares.group().add(&mut buffers, &mut zero.clone(), &zero[1..]), "a short share");
}

#[test]
fn a_long_message_is_bound_by_its_hash() {
    let mut rng = rand::rng();
    for (sharing, frame_bytes) in [(Sharing::Xor, 257), (Sharing::Add, 1000), (Sharing::Add, 65536)] {
        let shares = shares(sharing, frame_bytes);
        let mut verifier = PlaintextVerifier::new(&shares);
        let mut text = vec![0; frame_bytes as usize];
        rng.fill_bytes(&mut text);
        let mut plaintext = vec![0xff; shares.share_bytes()];
        shares.real(&text, &mut rng, &mut plaintext).expect("it fits");
        assert_eq!((verifier.verify(&plaintext), shares.message(&plaintext)), (Some(true), &text[..]));
        let mut dummy = vec![0xff; shares.share_bytes()];
        shares.dummy(&mut rng, &mut dummy);
        assert_eq!(verifier.verify(&dummy), Some(false));

        // What is authenticated is the hash as documented, and zeros.
        let body_at = plaintext.len() - text.len();
        let hash = Sha256::new()
            .chain_update("twincast/paper/long/v1")
            .chain_update(u64::from(frame_bytes).to_be_bytes())
            .chain_update(&text)
            .finalize();
        assert_eq!(&plaintext[body_at - 256..body_at - 224], &hash[..]);
        assert!(plaintext[body_at - 224..body_at].iter().all(|byte| *byte == 0));

        for element in [&plaintext, &dummy] {
            for at in [body_at, body_at + 100, element.len() - 1] {
                let mut altered = element.clone();
                altered[at] ^= 0x10;
                assert_eq!(verifier.verify(&altered), None, "byte {at}");
            }
        }
        let swapped = [&plaintext[..body_at], &dummy[body_at..]].concat();
        assert_eq!(verifier.verify(&swapped), None, "another's body");

        // A codeword that verifies over the hash and something behind it.
        let mut field = [0; 256];
        field[..32].copy_from_slice(&hash);
        for (last, flag) in [(0, Some(true)), (1, None)] {
            field[255] = last;
            let mut made = plaintext.clone();
            let codeword = &mut made[body_at - CODEWORD_BYTES..body_at];
            PaperShares::code().encode(true, &field, &mut rng, codeword);
            assert_eq!(verifier.verify(&made), flag);
        }
    }
}

#[test]
fn what_stands_before_a_codeword_in_z_p_is_zero() {
    let shares = shares(Sharing::Add, 256);
    let mut verifier = PlaintextVerifier::new(&shares);
    let mut plaintext = vec![0; ADDITIVE_BYTES];
    shares.real(b"text", &mut rand::rng(), &mut plaintext).expect("it fits");
    assert_eq!(verifier.verify(&plaintext), Some(true));
    plaintext[0] = 1;
    assert_eq!(verifier.verify(&plaintext), None);
    assert_eq!(verifier.verify(&plaintext[1..]), None, "without it, not a share long");
}

#[test]
fn cover_takes_either_side() {
    let format = ShareFormat::new(Profile::PaperXor, 256, Scheme::Plain).expect("the paper's frame");
    let shares = shares(Sharing::Xor, 256);
    let mut rng = Stream::new(&[6; 32]);
    let mut seen = [0; 2];
    for _ in 0..64 {
        let (p1, p2, aim) = dial(&format, 8, &[], &mut rng).expect("cover");
        assert_eq!(p1, p2);
        let mut rows = [(); 2].map(|()| vec![0; 2 * CODEWORD_BYTES]);
        let [row1, row2] = &mut rows;
        split(&format, &CONTEXT, &aim, b"text", &mut rng, [row1, row2]).expect("it fits");
        for (side, seen) in seen.iter_mut().enumerate() {
            let [mut sum, other] = [(0, side), (1, 1 - side)]
                .map(|(server, half)| rows[server][half * CODEWORD_BYTES..][..CODEWORD_BYTES].to_vec());
            shares.add(&mut sum, &other);
            *seen += u32::from(PlaintextVerifier::new(&shares).verify(&sum) == Some(true));
        }
    }
    assert_eq!(seen.iter().sum::<u32>(), 64);
    assert!(seen.iter().all(|count| (12..52).contains(count)), "a coin: {seen:?}");
}

/// A generator whose first 256 bytes are zeros.
struct ZerosFirst {
    zeros: usize,
    rest: Stream,
}

impl TryRng for ZerosFirst {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.rest.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.rest.try_next_u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let zeros = self.zeros.min(out.len());
        self.zeros -= zeros;
        out[..zeros].fill(0);
        self.rest.try_fill_bytes(&mut out[zeros..])
    }
}

impl TryCryptoRng for ZerosFirst {}

#[test]
fn a_dummy_of_zeros_is_drawn_again() {
    let shares = shares(Sharing::Xor, 256);
    let mut dummy = vec![0; CODEWORD_BYTES];
    let mut rng = ZerosFirst { zeros: 256, rest: Stream::new(&[9; 32]) };
    shares.dummy(&mut rng, &mut dummy);
    assert_eq!(PlaintextVerifier::new(&shares).verify(&dummy), Some(false));
    assert!(shares.message(&dummy).iter().any(|byte| *byte != 0));
}
