//! A server that knows the message, against the compact code at its real size.
//!
//! S1 sees `W = M ^ D`. With the message known, so is M's frame, and with W the dummy's; W also gives the differences
//! of rho, x and tag. That leaves rho and x, and one equation: for every x exactly one rho. So the server can do no
//! better than guess x, and `tests/tiny_field.rs` goes through everything it could do instead
//! (`one_server_forges_with_chance_at_most_t_minus_2`: `(t - 2) / 2^128` at most, here 25 in 2^128).

use polyval::universal_hash::UniversalHash;
use polyval::{Block, Polyval};
use rand::Rng;
use twincast_protocol::codeword;
use twincast_protocol::format::{Profile, Scheme};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::MemberIndex;

use crate::common::Stream;
use crate::script::Script;
use crate::world::{CONTEXT, Dialled, Read, Reader, Round, format};

const KNOWN: &[u8] = b"attack at dawn";
const FORGED: &[u8] = b"stay where you are";
const SIZE: FrameBytes = FrameBytes::DEFAULT;

type Element = [u8; 16];

/// POLYVAL's product of two field elements.
fn dot(a: Element, b: Element) -> Element {
    let mut polyval = Polyval::new(&b.into());
    polyval.update(&[Block::from(a)]);
    polyval.finalize().into()
}

/// The y with `dot(y, divisor) = dividend`: the divisor to the power of 2^128 - 2, under `dot`.
fn quotient(dividend: Element, divisor: Element) -> Element {
    assert_ne!(divisor, [0; 16], "a divisor");
    // divisor^(2 + 4 + .. + 2^127), times the dividend.
    (1..128)
        .fold((dividend, divisor), |(product, power), _| {
            let power = dot(power, power);
            (dot(product, power), power)
        })
        .0
}

fn sum<const N: usize>(parts: [&[u8]; N]) -> Vec<u8> {
    let mut sum = vec![0; parts[0].len()];
    parts.iter().for_each(|part| sum.iter_mut().zip(*part).for_each(|(sum, byte)| *sum ^= byte));
    sum
}

fn element(bytes: &[u8]) -> Element {
    bytes.try_into().expect("16 bytes")
}

/// What a codeword holds, in order, but for the frame: rho, x, tag.
fn code(codeword: &[u8]) -> [Element; 3] {
    [0, 1, 2].map(|index| element(&codeword[SIZE.bytes() + 16 * index..][..16]))
}

fn real_codeword(message: &[u8], rho: Element, x: Element) -> Vec<u8> {
    let mut codeword = vec![0; SIZE.share_bytes()];
    codeword::real(SIZE, &CONTEXT, message, &mut Script::new(&[&rho, &x]), &mut codeword).expect("it fits");
    codeword
}

fn dummy_codeword(frame: &[u8], rho: Element, x: Element) -> Vec<u8> {
    let mut codeword = vec![0; SIZE.share_bytes()];
    codeword::dummy(SIZE, &CONTEXT, &mut Script::new(&[&frame[1..], &rho, &x]), &mut codeword);
    codeword
}

/// The codeword that M was if its key was x, from what S1 sees and the message.
fn solve(seen: &[u8], message: &[u8], x: Element) -> Vec<u8> {
    let [rho_difference, x_difference, tag_difference] = code(seen);
    let dummy_x = element(&sum([&x, &x_difference]));
    let real = real_codeword(message, [0; 16], x);
    let dummy_frame = sum([&seen[..SIZE.bytes()], &real[..SIZE.bytes()]]);
    let dummy = dummy_codeword(&dummy_frame, rho_difference, dummy_x);
    // The tags with rho left out; rho enters both, as `dot(rho, x)` and `dot(rho, x')`.
    let rest = sum([&tag_difference, &code(&real)[2], &code(&dummy)[2]]);
    real_codeword(message, quotient(element(&rest), x_difference), x)
}

/// S1 replaces M by a message of its own in the cell that it hands out, on the assumption that M was `assumed`.
fn forge(cell1: &[u8], assumed: &[u8], rng: &mut Stream) -> Vec<u8> {
    let mut replacement = vec![0; SIZE.share_bytes()];
    codeword::real(SIZE, &CONTEXT, FORGED, rng, &mut replacement).expect("it fits");
    sum([cell1, assumed, &replacement])
}

fn sent(round: &Round) -> Vec<u8> {
    let [s1, s2] = &round.halves;
    sum([&s1[0], &s2[1]])
}

#[test]
fn known_message_lets_server_forge() {
    const TRIALS: u32 = 300;
    let format = format(Profile::Compact, Scheme::Plain);
    let mut reader = Reader::new(format);
    let mut rng = Stream::new(&[3; 32]);
    let (mut forged, mut with_the_key) = (0, 0);
    for trial in 0..TRIALS {
        let recipient = MemberIndex(trial % 8);
        let dialled = Dialled::new(format, 8, &[recipient], &mut rng);
        let round = dialled.send(KNOWN, &mut rng);
        let [half0, half1] = &round.halves[0];
        let seen = sum([half0, half1]);
        let [cell1, cell2] = round.cells(dialled.bits(recipient));

        let mut guess = [0; 16];
        rng.fill_bytes(&mut guess);
        let assumed = solve(&seen, KNOWN, guess);
        // Whatever was guessed explains all that the server sees: it cannot tell a right guess from a wrong one.
        let dummy = sum([&assumed, &seen]);
        assert_eq!(dummy_codeword(&dummy[..SIZE.bytes()], code(&dummy)[0], code(&dummy)[1]), dummy);
        let altered = forge(cell1, &assumed, &mut rng);
        for read in [
            reader.read([&altered, cell2], dialled.confirmed(recipient)),
            reader.read_unconfirmed([&altered, cell2]),
        ] {
            forged += u32::from(read != Read::Tampered);
        }

        // The same attack, told the key: what keeps the server out is that it has to guess it.
        let real = sent(&round);
        let assumed = solve(&seen, KNOWN, code(&real)[1]);
        assert_eq!(assumed, real, "the equation is the right one");
        let altered = forge(cell1, &assumed, &mut rng);
        let read = reader.read([&altered, cell2], dialled.confirmed(recipient));
        with_the_key += u32::from(read.accepts(FORGED));
    }
    println!(
        "compact: S1, knowing the message, forges {forged} of {TRIALS} (at most {} in 2^128 each); told x as well, {with_the_key}",
        SIZE.degree() - 2
    );
    assert_eq!((forged, with_the_key), (0, TRIALS));
}
