//! The AND gate, and the conversion from sums to bits.

use super::network::PARTIES;
use super::session::{Session, unzip, zip};
use super::share::{Share, Shared, Sum, Xor};

/// Bitwise AND of two shared vectors of one shape: one round, one word a party for each word of the result.
///
/// The products of components that a party holds are its summand of the result. A sharing of zero, drawn from
/// the two keys that it holds, makes the summand uniform before it goes to the party before it (Araki et al.
/// 2016). Sharemind reshares its factors at this place instead, and sends more.
pub(super) fn and(session: &mut Session, left: Shared<Xor>, right: Shared<Xor>) -> Shared<Xor> {
    if left[0].own.is_empty() {
        return left;
    }
    let own = session.step(zip(left, right), |party, port, (left, right)| {
        assert_eq!(left.own.len(), right.own.len(), "both factors have one shape");
        let mut product = party.draw_own(left.own.len());
        let mask = party.draw_next(left.own.len());
        for (index, product) in product.iter_mut().enumerate() {
            let (a, b) = ((left.own[index], left.next[index]), (right.own[index], right.next[index]));
            *product = summand(a, b, (*product, mask[index]));
        }
        port.send_previous(product.clone());
        (left.width, product)
    });
    session.network.end_round();
    session.step(own, |_, port, (width, own)| Share::new(width, own, port.receive_from_next()))
}

/// Party i's summand of a product, from components i and i + 1 of both factors and the words drawn from keys
/// i and i + 1.
fn summand(a: (u64, u64), b: (u64, u64), drawn: (u64, u64)) -> u64 {
    (a.0 & b.0) ^ (a.0 & b.1) ^ (a.1 & b.0) ^ drawn.0 ^ drawn.1
}

/// Turns words shared as sums modulo 2^64 into the same words shared by exclusive or: 8 rounds, 14 words a
/// party each.
///
/// Each component is known to two parties, which makes it a sharing by exclusive or with two components of
/// zero. The three are added by a layer of full adders and a Kogge-Stone adder. It stands in for Sharemind's
/// share conversion.
pub(super) fn sums_to_bits(session: &mut Session, sums: &Shared<Sum>) -> Shared<Xor> {
    let addends: [_; PARTIES] = [0, 1, 2].map(|component| {
        session.local(sums.each_ref(), |party, share| {
            let held = |by: usize, words: &[u64]| {
                if by == component { words.to_vec() } else { vec![0; words.len()] }
            };
            Share::new(
                share.width,
                held(party.index, &share.own),
                held((party.index + 1) % PARTIES, &share.next),
            )
        })
    });
    let [a, b, c] = addends;
    let factors = session
        .local(zip(zip(a.each_ref(), b.each_ref()), c.each_ref()), |_, ((a, b), c)| (a.plus(c), b.plus(c)));
    let (left, right) = unzip(factors);
    let majority = and(session, left, right);
    // The carries count twice; the top one falls off, as it must modulo 2^64.
    let both = session.local(zip(zip(a, b), zip(c, majority)), |_, ((a, b), (c, majority))| {
        let carries = majority.plus(&c);
        (a.plus(&b).plus(&c), shift_up(&carries, 1))
    });
    let (sum, carries) = unzip(both);
    add(session, sum, carries)
}

/// The sum modulo 2^64 of two shared words: 7 rounds.
fn add(session: &mut Session, left: Shared<Xor>, right: Shared<Xor>) -> Shared<Xor> {
    let half = session.local(zip(left.each_ref(), right.each_ref()), |_, (left, right)| left.plus(right));
    let mut generate = and(session, left, right);
    let mut propagate = session.local(half.each_ref(), |_, half| half.linear(half.width, <[u64]>::to_vec));
    for distance in [1, 2, 4, 8, 16, 32] {
        let factors = session.local(zip(generate.each_ref(), propagate), |_, (generate, propagate)| {
            let shifted = shift_up(generate, distance).then(&shift_up(&propagate, distance));
            let twice = propagate.linear(propagate.width, |words| [words, words].concat());
            (twice, shifted)
        });
        let (left, right) = unzip(factors);
        let product = and(session, left, right);
        let parts = session.local(zip(generate, product), |_, (generate, product)| {
            let len = generate.own.len();
            let carried = product.linear(product.width, |words| words[..len].to_vec());
            (generate.plus(&carried), product.linear(product.width, |words| words[len..].to_vec()))
        });
        (generate, propagate) = unzip(parts);
    }
    session.local(zip(half, generate), |_, (half, generate)| half.plus(&shift_up(&generate, 1)))
}

fn shift_up(share: &Share<Xor>, distance: u32) -> Share<Xor> {
    share.linear(share.width, |words| words.iter().map(|word| word << distance).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::mcmix::share::{enter, leave, open, public};

    const EDGES: [u64; 6] = [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX];

    #[test]
    fn the_gate_is_and() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut session = Session::new(&mut rng);
        let (left, right): (Vec<u64>, Vec<u64>) =
            (0..500).map(|_| (rng.random::<u64>(), rng.random::<u64>())).unzip();
        let (a, b) = (public(&mut session, 1, &left), public(&mut session, 1, &right));
        let before = session.network.bytes();
        let product = and(&mut session, a, b);
        // One word for each word, to the party before.
        let after = session.network.bytes();
        for (party, (after, before)) in after.iter().zip(&before).enumerate() {
            let to = (party + 2) % PARTIES;
            assert_eq!(after[to] - before[to], 8 * 500);
        }
        let expected: Vec<u64> = left.iter().zip(&right).map(|(a, b)| a & b).collect();
        assert_eq!(open(&mut session, &product)[0], expected);
    }

    #[test]
    fn sums_become_the_same_words() {
        let mut rng = StdRng::seed_from_u64(6);
        let mut session = Session::new(&mut rng);
        let words: Vec<u64> = EDGES.into_iter().chain((0..200).map(|_| rng.random())).collect();
        let sums = enter(&mut session, 1, &words, &mut rng);
        let rounds = session.network.rounds();
        let before = session.network.bytes();
        let bits = sums_to_bits(&mut session, &sums);
        assert_eq!(session.network.rounds() - rounds, 8);
        assert_eq!(session.network.bytes()[1][0] - before[1][0], 8 * 14 * words.len() as u64);
        assert_eq!(leave(&mut session, bits), words);
    }

    /// One bit, every sharing and every draw: what a party sees of a gate has one distribution, whatever the
    /// factors are.
    #[test]
    fn a_party_sees_the_same_of_every_product() {
        for party in 0..PARTIES {
            let views = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(x, y)| {
                let mut seen: BTreeMap<Vec<u64>, u32> = BTreeMap::new();
                for coins in 0..1_u64 << 7 {
                    let bit = |index: u32| coins >> index & 1;
                    let a = [bit(0), bit(1), x ^ bit(0) ^ bit(1)];
                    let b = [bit(2), bit(3), y ^ bit(2) ^ bit(3)];
                    let drawn = [bit(4), bit(5), bit(6)];
                    let at = |words: [u64; 3], index: usize| (words[index % 3], words[(index + 1) % 3]);
                    let z = [0, 1, 2].map(|index| summand(at(a, index), at(b, index), at(drawn, index)));
                    assert_eq!(z[0] ^ z[1] ^ z[2], x & y);
                    let (a, b, drawn) = (at(a, party), at(b, party), at(drawn, party));
                    let received = z[(party + 1) % 3];
                    *seen.entry(vec![a.0, a.1, b.0, b.1, drawn.0, drawn.1, received]).or_default() += 1;
                }
                seen
            });
            assert!(views.iter().all(|view| *view == views[0]), "party {party} can tell the factors apart");
        }
    }
}
