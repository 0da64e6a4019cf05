//! Replicated shares of vectors of 64-bit words.

use std::marker::PhantomData;

use rand::{CryptoRng, RngExt};

use super::network::PARTIES;
use super::session::{Session, zip};

/// How the three components of a shared word combine.
pub(super) trait Group {
    /// The group's operation.
    fn add(left: u64, right: u64) -> u64;
    /// Its inverse.
    fn subtract(left: u64, right: u64) -> u64;
}

/// Addition modulo 2^64.
pub(super) struct Sum;

impl Group for Sum {
    fn add(left: u64, right: u64) -> u64 {
        left.wrapping_add(right)
    }

    fn subtract(left: u64, right: u64) -> u64 {
        left.wrapping_sub(right)
    }
}

/// 64 bits, each shared by exclusive or.
pub(super) struct Xor;

impl Group for Xor {
    fn add(left: u64, right: u64) -> u64 {
        left ^ right
    }

    fn subtract(left: u64, right: u64) -> u64 {
        left ^ right
    }
}

/// One party's view of a shared matrix: a value is the combination of components 0, 1 and 2, and party i
/// holds components i (`own`) and i + 1 (`next`). Row-major, `width` words a row.
pub(super) struct Share<G> {
    /// Words in a row.
    pub(super) width: usize,
    /// Component i at party i.
    pub(super) own: Vec<u64>,
    /// Component i + 1 at party i.
    pub(super) next: Vec<u64>,
    group: PhantomData<G>,
}

/// What the three parties hold of one shared matrix.
pub(super) type Shared<G> = [Share<G>; PARTIES];

impl<G: Group> Share<G> {
    /// A view from its two components.
    pub(super) fn new(width: usize, own: Vec<u64>, next: Vec<u64>) -> Share<G> {
        assert_eq!(own.len(), next.len(), "both components have one shape");
        assert!(width == 0 || own.len().is_multiple_of(width), "a matrix has whole rows");
        Share { width, own, next, group: PhantomData }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.own.len().checked_div(self.width).unwrap_or(0)
    }

    /// Applies to both components what is linear in the group.
    pub(super) fn linear(&self, width: usize, f: impl Fn(&[u64]) -> Vec<u64>) -> Share<G> {
        Share::new(width, f(&self.own), f(&self.next))
    }

    /// Combines two shared matrices of one shape.
    pub(super) fn plus(&self, other: &Share<G>) -> Share<G> {
        let plus =
            |left: &[u64], right: &[u64]| left.iter().zip(right).map(|(&a, &b)| G::add(a, b)).collect();
        Share::new(self.width, plus(&self.own, &other.own), plus(&self.next, &other.next))
    }

    /// The named columns, in that order.
    pub(super) fn columns(&self, columns: std::ops::Range<usize>) -> Share<G> {
        let width = columns.len();
        self.linear(width, |words| {
            words.chunks_exact(self.width).flat_map(|row| &row[columns.clone()]).copied().collect()
        })
    }

    /// The rows in a public order: row `order[0]` comes first.
    pub(super) fn select(&self, order: &[u32]) -> Share<G> {
        self.linear(self.width, |words| select(words, self.width, order))
    }

    /// These rows followed by others.
    pub(super) fn then(mut self, other: &Share<G>) -> Share<G> {
        self.own.extend_from_slice(&other.own);
        self.next.extend_from_slice(&other.next);
        self
    }
}

impl Share<Xor> {
    /// Adds public words, as many as the matrix has: they go into component 0, which parties 0 and 2 hold.
    pub(super) fn plus_public(mut self, party: usize, public: impl Iterator<Item = u64>) -> Share<Xor> {
        let component = match party {
            0 => &mut self.own,
            2 => &mut self.next,
            _ => return self,
        };
        for (word, public) in component.iter_mut().zip(public) {
            *word ^= public;
        }
        self
    }

    /// Every bit turned over.
    pub(super) fn not(self, party: usize) -> Share<Xor> {
        self.plus_public(party, std::iter::repeat(u64::MAX))
    }
}

/// Rows of a matrix in a public order.
pub(super) fn select(words: &[u64], width: usize, order: &[u32]) -> Vec<u64> {
    let mut selected = Vec::with_capacity(words.len());
    for &row in order {
        selected.extend_from_slice(&words[row as usize * width..][..width]);
    }
    selected
}

/// A sharing of public words without any randomness: component 0 is the value.
pub(super) fn public(session: &mut Session, width: usize, words: &[u64]) -> Shared<Xor> {
    session.local([(); PARTIES], |party, ()| {
        let zero = || vec![0; words.len()];
        Share::new(width, zero(), zero()).plus_public(party.index, words.iter().copied())
    })
}

/// Columns of both matrices, row by row.
pub(super) fn side_by_side(session: &mut Session, left: Shared<Xor>, right: Shared<Xor>) -> Shared<Xor> {
    session.local(zip(left, right), |_, (left, right)| {
        let join = |a: &[u64], b: &[u64]| {
            a.chunks_exact(left.width)
                .zip(b.chunks_exact(right.width))
                .flat_map(|(a, b)| a.iter().chain(b))
                .copied()
                .collect()
        };
        let width = left.width + right.width;
        Share::new(width, join(&left.own, &right.own), join(&left.next, &right.next))
    })
}

/// Entry: the users share their words, each party gets one component from every user, and hands it to the
/// party before it. One round.
pub(super) fn enter(
    session: &mut Session,
    width: usize,
    words: &[u64],
    rng: &mut impl CryptoRng,
) -> Shared<Sum> {
    let mut components: [Vec<u64>; PARTIES] = [vec![0; words.len()], vec![0; words.len()], Vec::new()];
    rng.fill(&mut components[0][..]);
    rng.fill(&mut components[1][..]);
    components[2] = words
        .iter()
        .zip(&components[0])
        .zip(&components[1])
        .map(|((w, a), b)| w.wrapping_sub(*a).wrapping_sub(*b))
        .collect();
    for component in &components {
        session.network.count_client_in(component);
    }
    let own = session.step(components, |_, port, own| {
        port.send_previous(own.clone());
        own
    });
    session.network.end_round();
    session.step(own, |_, port, own| Share::new(width, own, port.receive_from_next()))
}

/// Exit: each party hands the users its own component, and they combine the three.
pub(super) fn leave<G: Group>(session: &mut Session, shared: Shared<G>) -> Vec<u64> {
    for share in &shared {
        session.network.count_client_out(&share.own);
    }
    let [first, second, third] = shared;
    let combine = |((&a, &b), &c)| G::add(G::add(a, b), c);
    first.own.iter().zip(&second.own).zip(&third.own).map(combine).collect()
}

/// Opens shared bits to all three parties: one round. The session counts nothing here; the caller says what
/// it opened.
pub(super) fn open(session: &mut Session, shared: &Shared<Xor>) -> [Vec<u64>; PARTIES] {
    session.step(shared.each_ref(), |_, port, share| port.send_next(share.own.clone()));
    session.network.end_round();
    let opened = session.step(shared.each_ref(), |_, port, share| {
        let missing = port.receive_from_previous();
        share.own.iter().zip(&share.next).zip(&missing).map(|((a, b), c)| a ^ b ^ c).collect::<Vec<u64>>()
    });
    assert!(opened[0] == opened[1] && opened[1] == opened[2], "the three parties open the same words");
    #[cfg(test)]
    session.opened.extend_from_slice(&opened[0]);
    opened
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn what_enters_leaves() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut session = Session::new(&mut rng);
        let words = [0, 1, u64::MAX, 1 << 63, 12345, 6];
        let shared = enter(&mut session, 2, &words, &mut rng);
        for index in 0..PARTIES {
            assert_eq!(shared[index].next, shared[(index + 1) % PARTIES].own);
            assert_eq!(shared[index].rows(), 3);
        }
        assert_eq!(leave(&mut session, shared), words);
        assert_eq!(session.network.client_bytes(), (3 * 48, 3 * 48));
        assert_eq!(session.network.rounds(), 2);
    }

    #[test]
    fn public_words_open_to_themselves() {
        let mut session = Session::new(&mut StdRng::seed_from_u64(4));
        let words = [5, 0, u64::MAX];
        let shared = public(&mut session, 1, &words);
        assert_eq!(open(&mut session, &shared)[1], words);
        let turned = session.local(shared, |party, share| share.not(party.index));
        assert_eq!(open(&mut session, &turned)[2], words.map(|word| !word));
    }
}
