//! `paper-xor` over a modulus that its arithmetic likes too much: the Mersenne primes.

use num_bigint::BigUint;
use num_traits::One;
use rand::{CryptoRng, Rng};
use twincast_protocol::compact::SplitBuffers;
use twincast_protocol::error::ProtocolError;
use twincast_protocol::format::{Profile, Scheme, ShareCode};
use twincast_protocol::ids::MemberIndex;
use twincast_protocol::paper::code::{PaperCode, Verifier};
use twincast_protocol::paper::protocol3;
use twincast_protocol::paper::sharing::{ShareGroup, SumBuffers};

use crate::common::Stream;
use crate::world::{Dialled, Read, Reader, TEXT, format};

/// `paper-xor` over any modulus.
struct XorCode {
    code: PaperCode,
    group: ShareGroup,
    message_bytes: usize,
}

impl XorCode {
    /// Over `2^k - 1`, with the flag as the highest of k bits and as many whole bytes of message as fit below it.
    fn mersenne(k: u64) -> XorCode {
        let code = PaperCode::new((BigUint::one() << k) - BigUint::one(), k - 1).expect("room for a flag");
        let group = ShareGroup::xor(code.codeword_bytes(), 0);
        XorCode { code, group, message_bytes: (k as usize - 1) / 8 }
    }
}

impl ShareCode for XorCode {
    fn share_bytes(&self) -> usize {
        self.group.share_bytes()
    }

    fn real(&self, message: &[u8], rng: &mut impl CryptoRng, out: &mut [u8]) -> Result<(), ProtocolError> {
        self.code.encode(true, message, rng, out);
        Ok(())
    }

    fn dummy(&self, rng: &mut impl CryptoRng, out: &mut [u8]) {
        let mut message = vec![0; self.message_bytes];
        rng.fill_bytes(&mut message);
        self.code.encode(false, &message, rng, out);
    }

    fn random(&self, rng: &mut impl CryptoRng, out: &mut [u8]) {
        self.group.random(rng, out);
    }

    fn add(&self, sum: &mut [u8], share: &[u8]) {
        assert!(self.group.add(&mut SumBuffers::default(), sum, share));
    }

    fn subtract(&self, difference: &mut [u8], share: &[u8]) {
        assert!(self.group.subtract(&mut SumBuffers::default(), difference, share));
    }
}

/// What takes a codeword's c and mhat to their complements of `bits` bits, by XOR.
fn complement(number_bytes: usize, bits: u64) -> Vec<u8> {
    let ones = ((BigUint::one() << bits) - BigUint::one()).to_bytes_be();
    let mut field = vec![0; number_bytes - ones.len()];
    field.extend(ones);
    [&field[..], &vec![0; number_bytes], &field].concat()
}

/// `(q - mhat) * r = q - mhat * r` modulo any q. Where q is `2^k - 1` the difference from q is the complement, and a
/// server flips bits by XOR: the flag among them, so that a message reads as a dummy and a dummy as a message.
#[test]
fn mersenne_modulus_forges() {
    const TRIALS: u32 = 10;
    for k in [521, 2203] {
        let shares = XorCode::mersenne(k);
        let mut verifier = Verifier::new(&shares.code);
        let mut rng = Stream::new(&[7; 32]);
        let mask = complement(shares.code.number_bytes(), k);
        let mut message = vec![0; shares.message_bytes];
        let (mut suppressed, mut invented) = (0, 0);
        for trial in 0..TRIALS {
            rng.fill_bytes(&mut message);
            let side = usize::from(trial % 2 == 1);
            let mut halves: [Vec<u8>; 4] = std::array::from_fn(|_| vec![0; shares.share_bytes()]);
            let [a, b, c, d] = halves.each_mut().map(Vec::as_mut_slice);
            protocol3::split(&shares, side == 1, &message, &mut rng, SplitBuffers { s1: [a, b], s2: [c, d] })
                .expect("it fits");
            // The recipient's bits differ; of the others one has bits 0, 0 and one has bits 1, 1.
            for [bit1, bit2] in [[side, 1 - side], [0, 0], [1, 1]] {
                let mut sum = halves[bit1].clone();
                shares.add(&mut sum, &halves[2 + bit2]);
                let honest = verifier.verify(&sum);
                assert_eq!(honest, Some(bit1 != bit2));
                let mut altered = halves[bit1].clone();
                shares.add(&mut altered, &mask);
                shares.add(&mut altered, &halves[2 + bit2]);
                match verifier.verify(&altered) {
                    Some(false) if bit1 != bit2 => suppressed += 1,
                    Some(true) if bit1 == bit2 => invented += 1,
                    other => panic!("{other:?}: not forged, trial {trial}"),
                }
            }
        }
        println!(
            "paper-xor, q = 2^{k} - 1: {suppressed} of {TRIALS} messages become dummies, {invented} of {} dummies messages",
            2 * TRIALS
        );
        assert_eq!((suppressed, invented), (TRIALS, 2 * TRIALS));
    }

    // Over the profile's q the same is noticed, whichever of its bits are taken for all of them.
    let format = format(Profile::PaperXor, Scheme::Plain);
    let mut reader = Reader::new(format);
    let mut rng = Stream::new(&[8; 32]);
    let mut tampered = 0;
    for bits in [2048, 2049, 2056] {
        let mask = complement(257, bits);
        let dialled = Dialled::new(format, 8, &[MemberIndex(2)], &mut rng);
        let round = dialled.send(TEXT, &mut rng);
        for member in dialled.members() {
            let [cell1, cell2] = round.cells(dialled.bits(member));
            let altered: Vec<_> = cell1.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect();
            tampered += u32::from(reader.read_unconfirmed([&altered, cell2]) == Read::Tampered);
        }
    }
    println!("paper-xor, the profile's q: {tampered} of 24 noticed");
    assert_eq!(tampered, 24);
}
