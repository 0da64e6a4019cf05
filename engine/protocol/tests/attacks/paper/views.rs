//! What one server sees of the paper's code, exhaustively for a message of five bits and a flag.

use num_bigint::BigUint;
use twincast_protocol::compact::SplitBuffers;
use twincast_protocol::error::ProtocolError;
use twincast_protocol::format::ShareCode;
use twincast_protocol::paper::code::PaperCode;
use twincast_protocol::paper::draw::below;
use twincast_protocol::paper::protocol3;
use twincast_protocol::paper::sharing::{ShareGroup, SumBuffers};

use crate::common::Stream;

/// The first prime that holds flag and message, 6 bits.
const Q: u32 = 67;
const MESSAGE_BITS: u32 = 5;
const MESSAGES: u32 = 1 << MESSAGE_BITS;
/// A prime above every codeword of three bytes.
const P: u32 = (1 << 24) + 43;

/// The paper's profiles over [`Q`].
pub(crate) struct SmallCode {
    code: PaperCode,
    group: ShareGroup,
}

impl SmallCode {
    fn new(additive: bool) -> SmallCode {
        let code = PaperCode::new(BigUint::from(Q), MESSAGE_BITS.into()).expect("room for a flag");
        let bytes = code.codeword_bytes();
        let group = match additive {
            true => ShareGroup::additive(BigUint::from(P), bytes, 0).expect("above every codeword"),
            false => ShareGroup::xor(bytes, 0),
        };
        SmallCode { code, group }
    }

    fn number(&self, element: &[u8]) -> u32 {
        element.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    /// The codewords of one flag and message, one for each key.
    fn codewords(&self, flag: bool, message: u32) -> Vec<u32> {
        let mut out = vec![0; self.code.codeword_bytes()];
        let mhat = self.code.mhat(flag, &[message as u8]);
        let write = |r: u32| {
            self.code.write(&mhat, &BigUint::from(r), &mut out);
            self.number(&out)
        };
        (1..Q).map(write).collect()
    }

    /// The dummies: all messages but 0, all keys.
    fn dummies(&self) -> Vec<u32> {
        (1..MESSAGES).flat_map(|message| self.codewords(false, message)).collect()
    }

    /// Every difference of its two halves that a server sees when `message` is sent, sorted: over the coins of
    /// M and of the dummy, and over the side. One half alone is uniform whatever was sent.
    fn views(&self, additive: bool, message: u32, dummies: &[u32]) -> Vec<u32> {
        let mut views = Vec::with_capacity(2 * (Q as usize - 1) * dummies.len());
        for real in self.codewords(true, message) {
            for dummy in dummies {
                match additive {
                    true => views.extend([(P + real - dummy) % P, (P + dummy - real) % P]),
                    false => views.extend([real ^ dummy; 2]),
                }
            }
        }
        views.sort_unstable();
        views
    }
}

impl ShareCode for SmallCode {
    fn share_bytes(&self) -> usize {
        self.group.share_bytes()
    }

    fn real(
        &self,
        message: &[u8],
        rng: &mut impl rand::CryptoRng,
        out: &mut [u8],
    ) -> Result<(), ProtocolError> {
        let at = self.group.codeword_at();
        out[..at].fill(0);
        self.code.encode(true, message, rng, &mut out[at..]);
        Ok(())
    }

    fn dummy(&self, rng: &mut impl rand::CryptoRng, out: &mut [u8]) {
        let message = 1 + below(MESSAGES - 1, rng) as u8;
        let at = self.group.codeword_at();
        out[..at].fill(0);
        self.code.encode(false, &[message], rng, &mut out[at..]);
    }

    fn random(&self, rng: &mut impl rand::CryptoRng, out: &mut [u8]) {
        self.group.random(rng, out);
    }

    fn add(&self, sum: &mut [u8], share: &[u8]) {
        assert!(self.group.add(&mut SumBuffers::default(), sum, share));
    }

    fn subtract(&self, difference: &mut [u8], share: &[u8]) {
        assert!(self.group.subtract(&mut SumBuffers::default(), difference, share));
    }
}

/// The statistical distance of two equally long sorted lists, each of its entries equally likely.
fn distance(a: &[u32], b: &[u32]) -> f64 {
    let (mut rest_a, mut rest_b, mut common) = (a, b, 0usize);
    while let ([first_a, after_a @ ..], [first_b, after_b @ ..]) = (rest_a, rest_b) {
        match first_a.cmp(first_b) {
            std::cmp::Ordering::Less => rest_a = after_a,
            std::cmp::Ordering::Greater => rest_b = after_b,
            std::cmp::Ordering::Equal => {
                (rest_a, rest_b, common) = (after_a, after_b, common + 1);
            }
        }
    }
    1.0 - common as f64 / a.len() as f64
}

#[test]
fn one_server_view_is_independent_of_message() {
    for (name, additive) in [("paper-xor", false), ("paper-add", true)] {
        let code = SmallCode::new(additive);
        let dummies = code.dummies();
        let views: Vec<_> = (0..MESSAGES).map(|message| code.views(additive, message, &dummies)).collect();

        // The halves that are really sent show these views and no others, at either server and side.
        let mut rng = Stream::new(&[6; 32]);
        for trial in 0..400u32 {
            let message = trial % MESSAGES;
            let mut halves: [Vec<u8>; 4] = std::array::from_fn(|_| vec![0; code.share_bytes()]);
            let [a, b, c, d] = halves.each_mut().map(Vec::as_mut_slice);
            let out = SplitBuffers { s1: [a, b], s2: [c, d] };
            protocol3::split(&code, trial % 3 == 0, &[message as u8], &mut rng, out).expect("it fits");
            for pair in halves.chunks_exact(2) {
                let mut difference = pair[0].clone();
                code.subtract(&mut difference, &pair[1]);
                let seen = code.number(&difference);
                assert!(views[message as usize].binary_search(&seen).is_ok(), "{name}, message {message}");
            }
        }

        let (mut least, mut most) = (1.0f64, 0.0f64);
        for (index, view) in views.iter().enumerate() {
            for other in &views[..index] {
                let distance = distance(view, other);
                (least, most) = (least.min(distance), most.max(distance));
            }
        }
        println!("{name}, 6 bits: statistical distance of one server's views {least:.3} to {most:.3}");
        assert!(least > 0.5, "{name}: {least}");
    }
}
