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
    /// Seconds that this thread has worked.
    clock: fn() -> f64,
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
        Session::with_clock(rng, thread_cpu_seconds)
    }

    /// The same with another clock than this thread's.
    fn with_clock(rng: &mut impl CryptoRng, clock: fn() -> f64) -> Session {
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
            clock,
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
            let start = (self.clock)();
            let output = local(&mut self.parties[index], &mut self.network.port(index), input);
            self.parties[index].cpu_seconds += (self.clock)() - start;
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

    thread_local! {
        /// What the clock of a test says; work moves it on.
        static NOW: std::cell::Cell<f64> = const { std::cell::Cell::new(100.0) };
    }

    #[test]
    fn each_party_is_charged_for_its_own_work() {
        let mut session = Session::with_clock(&mut StdRng::seed_from_u64(2), || NOW.get());
        for work in [[1.0, 2.0, 4.0], [8.0, 0.0, 16.0]] {
            session.local(work, |_, seconds| NOW.set(NOW.get() + seconds));
            // Between steps nobody works: sharing and combining are the users'.
            NOW.set(NOW.get() + 1_000.0);
        }
        assert_eq!(session.cpu_seconds(), [9.0, 2.0, 20.0]);
    }

    #[test]
    fn a_session_counts_the_time_that_its_thread_works() {
        let before = thread_cpu_seconds();
        let session = Session::new(&mut StdRng::seed_from_u64(3));
        assert!((session.clock)() >= before && before > 0.0);
    }
}
