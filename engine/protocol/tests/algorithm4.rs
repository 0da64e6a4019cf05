//! Algorithm 4 over every code: what its receiver reads, and that S1 cannot tell its two pairs apart by their
//! making.

use num_bigint::BigUint;
use num_traits::One;
use rand::rngs::ThreadRng;
use twincast_protocol::algorithm4::{self, Side};
use twincast_protocol::compact::SplitBuffers;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::format::{CompactCode, Opener, Profile, Scheme, ShareCode, ShareFormat};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::paper::moduli;
use twincast_protocol::paper::shares::{PaperFrame, PaperShares, Sharing};
use twincast_protocol::receive::{Expected, TileCells, Verdicts};

const CONTEXT: Context = Context {
    group: GroupId(1),
    epoch: Epoch(1),
    round: RoundNumber(1),
    sender: MemberIndex(0),
    slot: SlotIndex(0),
    purpose: Purpose::Message,
};

fn shares(sharing: Sharing) -> PaperShares {
    PaperShares::new(sharing, PaperFrame::new(256).expect("the paper's frame"))
}

fn format(profile: Profile) -> ShareFormat {
    ShareFormat::new(profile, 256, Scheme::Algorithm4).expect("a frame size")
}

#[test]
fn share_and_extra_of_one_server_are_never_added_up_alone() {
    for profile in [Profile::PaperXor, Profile::PaperAdd] {
        let sharing = if profile == Profile::PaperXor { Sharing::Xor } else { Sharing::Add };
        let shares = shares(sharing);
        let mut rng = rand::rng();
        let [mut share, mut extra] = [(); 2].map(|()| vec![0; shares.share_bytes()]);
        shares.random(&mut rng, &mut share);
        for flag in [true, false] {
            if flag {
                shares.real(b"forged", &mut rng, &mut extra).expect("it fits");
            } else {
                shares.dummy(&mut rng, &mut extra);
            }
            shares.subtract(&mut extra, &share);
            let pair = [&share[..], &extra].concat();
            let mut other = vec![0; shares.share_bytes()];
            shares.random(&mut rng, &mut other);
            // Bytes that are no element of Z_p must not be left out of the sum instead.
            for other in [other, vec![0xff; shares.share_bytes()]] {
                let tile = TileCells { count: 1, cells: [&pair, &other], present: [1, 1] };
                for expected in [
                    Expected::UNCONFIRMED,
                    Expected { confirmed: true, real: 1, failed: 0 },
                    Expected { confirmed: true, real: 0, failed: 0 },
                ] {
                    let verdicts = Opener::new(format(profile)).open(&CONTEXT, &tile, expected);
                    assert_eq!(verdicts, Verdicts { tampered: 1, ..Verdicts::default() }, "{profile}");
                }
            }
        }
    }
}

/// The extra is for dummies alone, and only where share and other are no codeword.
#[test]
fn what_decodes_without_the_extra_is_not_looked_at_with_it() {
    fn check(format: ShareFormat, code: &impl ShareCode) {
        let mut rng = rand::rng();
        let noise = |rng: &mut ThreadRng, out: &mut [u8]| code.random(rng, out);
        let dummy = |rng: &mut ThreadRng, out: &mut [u8]| code.dummy(rng, out);
        let real = |rng: &mut ThreadRng, out: &mut [u8]| code.real(b"text", rng, out).expect("it fits");
        type Make<'a> = &'a dyn Fn(&mut ThreadRng, &mut [u8]);
        // Share and other; all three; the verdicts unconfirmed, with bits that differ, with equal ones.
        let table: [(Make<'_>, Make<'_>, [char; 3]); 6] = [
            (&noise, &dummy, ['.', '.', 'T']),
            (&noise, &real, ['T', 'T', 'T']),
            (&dummy, &dummy, ['.', 'T', '.']),
            (&dummy, &real, ['.', 'T', '.']),
            (&real, &dummy, ['A', 'A', 'T']),
            (&real, &real, ['A', 'A', 'T']),
        ];
        for (row, (first, second, verdicts)) in table.into_iter().enumerate() {
            let [mut share, mut extra, mut other, mut sum] = [(); 4].map(|()| vec![0; code.share_bytes()]);
            code.random(&mut rng, &mut share);
            first(&mut rng, &mut sum);
            other.copy_from_slice(&sum);
            code.subtract(&mut other, &share);
            second(&mut rng, &mut extra);
            code.subtract(&mut extra, &sum);
            let pair = [share, extra].concat();
            let tile = TileCells { count: 1, cells: [&pair, &other], present: [1, 1] };
            let confirmed = |real| Expected { confirmed: true, real, failed: 0 };
            let expectations = [Expected::UNCONFIRMED, confirmed(1), confirmed(0)];
            for (expected, verdict) in expectations.into_iter().zip(verdicts) {
                let opened = Opener::new(format).open(&CONTEXT, &tile, expected);
                let masks = [('A', opened.accept), ('.', opened.ignore), ('T', opened.tampered)];
                assert!(masks.iter().all(|(name, mask)| *mask == u64::from(*name == verdict)), "row {row}");
            }
        }
    }
    check(format(Profile::PaperXor), &shares(Sharing::Xor));
    check(format(Profile::PaperAdd), &shares(Sharing::Add));
    let size = FrameBytes::new(256).expect("a frame size");
    check(format(Profile::Compact), &CompactCode { size, context: CONTEXT });
}

/// To S1 both pairs are made alike: extra and share less the other share are a difference of two dummies.
#[test]
fn the_pairs_of_algorithm_4_are_alike() {
    let (p, one) = (moduli::p(), BigUint::one());
    for sharing in [Sharing::Xor, Sharing::Add] {
        let shares = shares(sharing);
        let bytes = shares.share_bytes();
        for (side, at) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
            let mut rng = rand::rng();
            let mut pairs = [(); 2].map(|()| vec![0; 2 * bytes]);
            let [mut other0, mut other1] = [(); 2].map(|()| vec![0; bytes]);
            let [pair0, pair1] = &mut pairs;
            let out = SplitBuffers { s1: [pair0, pair1], s2: [&mut other0, &mut other1] };
            algorithm4::split(&shares, Side(side), b"text", &mut rng, out).expect("it fits");
            let (share, extra) = pairs[at].split_at(bytes);
            let mut difference = extra.to_vec();
            shares.add(&mut difference, share);
            shares.subtract(&mut difference, &pairs[1 - at][..bytes]);
            let difference = BigUint::from_bytes_be(&difference);
            match sharing {
                Sharing::Xor => assert!(!difference.bit(2048), "side {side}, pair {at}: two flags of 0"),
                Sharing::Add => {
                    let smaller = difference.clone().min(&p - &difference);
                    let low = smaller % (&one << 2056);
                    let near_0 = low < &one << 2048 || low > (&one << 2056) - (&one << 2048);
                    assert!(near_0, "side {side}, pair {at}: two flags of 0");
                }
            }
        }
    }
}
