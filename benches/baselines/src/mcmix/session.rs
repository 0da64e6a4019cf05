//! The three parties and the clock that runs while each of them computes.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{CryptoRng, RngExt, SeedableRng};
use rustix::time::{ClockId, clock_gettime};
use zeroize::{Zeroize, Zeroizing};

use super::network::{Network, PARTIES, Port};

/// One party's state: which one it is, and two generators.
///
/// Generator j runs at party j (its `own`) and at party j - 1 (its `next`), from a key that only these two
/// hold. Both must draw the same amounts in the same order; every protocol here does so by construction.
pub(super) struct Party {
    /// 0, 1 or 2.
    pub(super) index: usize,
    own: StdRng,
    next: StdRng,
    cpu_seconds: f64,
}

impl Party {
    /// Words that this party and the one before it both draw.
    pub(super) fn draw_own(&mut self, len: usize) -> Vec<u64> {
        draw(&mut self.own, len)
    }

    /// Words that this party and the one after it both draw.
    pub(super) fn draw_next(&mut self, len: usize) -> Vec<u64> {
        draw(&mut self.next, len)
    }

    /// A permutation that this party and the one before it both draw.
    pub(super) fn permutation_own(&mut self, len: usize) -> Vec<u32> {
        permutation(&mut self.own, len)
    }

    /// A permutation that this party and the one after it both draw.
    pub(super) fn permutation_next(&mut self, len: usize) -> Vec<u32> {
        permutation(&mut self.next, len)
    }
}

fn draw(rng: &mut StdRng, len: usize) -> Vec<u64> {
    let mut words = vec![0; len];
    rng.fill(&mut words[..]);
    words
}

fn permutation(rng: &mut StdRng, len: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(len).expect("the number of users is limited")).collect();
    order.shuffle(rng);
    order
}

/// Three parties and the network between them.
pub(super) struct Session {
    parties: [Party; PARTIES],
    /// What passes between them.
    pub(super) network: Network,
    /// Comparisons whose result was opened.
    pub(super) comparisons: u64,
    /// Levels of quicksort so far.
    pub(super) sort_levels: u64,
    /// Every word opened, in order, as party 0 saw it.
    #[cfg(test)]
    pub(super) opened: Vec<u64>,
}

impl Session {
    /// Each party draws a key and hands it to the party before it: one round.
    pub(super) fn new(rng: &mut impl CryptoRng) -> Session {
        let mut network = Network::default();
        let keys: [Zeroizing<[u64; 4]>; PARTIES] = std::array::from_fn(|_| Zeroizing::new(rng.random()));
        for (index, key) in keys.iter().enumerate() {
            network.port(index).send_previous(key.to_vec());
        }
        network.end_round();
        let parties = std::array::from_fn(|index| {
            let mut received = network.port(index).receive_from_next();
            let next = generator(&received);
            received.zeroize();
            Party { index, own: generator(&keys[index][..]), next, cpu_seconds: 0.0 }
        });
        Session {
            parties,
            network,
            comparisons: 0,
            sort_levels: 0,
            #[cfg(test)]
            opened: Vec::new(),
        }
    }

    /// Lets each party compute on its own input, with its own end of the network, and adds the CPU time of
    /// this thread to that party's account. The closure sees nothing of the other two.
    pub(super) fn step<I, O>(
        &mut self,
        inputs: [I; PARTIES],
        local: impl Fn(&mut Party, &mut Port<'_>, I) -> O,
    ) -> [O; PARTIES] {
        let mut inputs = inputs.into_iter();
        std::array::from_fn(|index| {
            let input = inputs.next().expect("there is one input a party");
            let start = thread_cpu_seconds();
            let output = local(&mut self.parties[index], &mut self.network.port(index), input);
            self.parties[index].cpu_seconds += thread_cpu_seconds() - start;
            output
        })
    }

    /// A [`Session::step`] that neither sends nor receives.
    pub(super) fn local<I, O>(
        &mut self,
        inputs: [I; PARTIES],
        compute: impl Fn(&Party, I) -> O,
    ) -> [O; PARTIES] {
        self.step(inputs, |party, _, input| compute(party, input))
    }

    /// CPU seconds of each party's steps so far.
    pub(super) fn cpu_seconds(&self) -> [f64; PARTIES] {
        std::array::from_fn(|index| self.parties[index].cpu_seconds)
    }
}

fn generator(key: &[u64]) -> StdRng {
    let mut seed = Zeroizing::new([0; 32]);
    for (bytes, word) in seed.chunks_exact_mut(8).zip(key) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    StdRng::from_seed(*seed)
}

fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Puts two values of each party side by side.
pub(super) fn zip<A, B>(left: [A; PARTIES], right: [B; PARTIES]) -> [(A, B); PARTIES] {
    let mut right = right.into_iter();
    left.map(|left| (left, right.next().expect("both have one value a party")))
}

/// The inverse of [`zip`].
pub(super) fn unzip<A, B>(pairs: [(A, B); PARTIES]) -> ([A; PARTIES], [B; PARTIES]) {
    let mut right = Vec::with_capacity(PARTIES);
    let left = pairs.map(|(a, b)| {
        right.push(b);
        a
    });
    (left, right.try_into().unwrap_or_else(|_| unreachable!("three were pushed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_draw_alike_and_strangers_do_not() {
        let mut session = Session::new(&mut StdRng::seed_from_u64(1));
        let drawn = session.step([(); 3], |party, _, ()| (party.draw_own(9), party.draw_next(9)));
        for index in 0..PARTIES {
            assert_eq!(drawn[index].1, drawn[(index + 1) % PARTIES].0);
            assert_ne!(drawn[index].0, drawn[index].1);
            assert_ne!(drawn[index].0, drawn[(index + 1) % PARTIES].0);
        }
        assert_eq!(session.network.bytes(), [[0, 0, 32], [32, 0, 0], [0, 32, 0]]);
    }

    /// The CPU clock of the thread is compared with itself: a busy machine does not shift it.
    #[test]
    fn each_party_is_charged_for_its_own_work() {
        let mut session = Session::new(&mut StdRng::seed_from_u64(2));
        session.local([0_u64, 0, 40_000_000], |_, steps| {
            (0..steps).fold(1_u64, |a, b| std::hint::black_box(a ^ b))
        });
        let [first, second, third] = session.cpu_seconds();
        assert!(third > first && third > second, "{first} {second} {third}");
    }
}
