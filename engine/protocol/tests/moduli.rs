//! q and p are what their definition says: the first primes from `E(label, bits)` on.

use num_bigint::BigUint;
use num_traits::{One, ToPrimitive};
use twincast_protocol::paper::moduli::{P_BITS, P_LABEL, Q_BITS, Q_LABEL, p, q, search_start};

/// Small factors are looked for up to here, before a test of primality.
const FACTOR_MAX: usize = 1 << 20;
/// Miller-Rabin to each of these bases. A composite that was not made to pass them does not.
const BASES: [u32; 8] = [2, 3, 5, 7, 11, 13, 17, 19];

/// Whether the odd `number` passes Miller-Rabin to `base`; a prime does.
fn passes(number: &BigUint, base: u32) -> bool {
    let one = BigUint::one();
    let less_one = number - &one;
    let twos = less_one.trailing_zeros().expect("an even number");
    let mut power = BigUint::from(base).modpow(&(&less_one >> twos), number);
    if power == one {
        return true;
    }
    for _ in 0..twos {
        if power == less_one {
            return true;
        }
        power = &power * &power % number;
    }
    false
}

fn primes(limit: usize) -> Vec<u32> {
    let mut composite = vec![false; limit];
    let mut primes = Vec::new();
    for number in 2..limit {
        if !composite[number] {
            primes.push(number as u32);
            (number * number..limit).step_by(number).for_each(|multiple| composite[multiple] = true);
        }
    }
    primes
}

fn check_is_first_prime(start: &BigUint, prime: &BigUint) {
    assert!(BASES.iter().all(|base| passes(prime, *base)), "it is prime");
    let gap = (prime - start).to_usize().expect("not below the start, and near it");
    let mut may_be_prime = vec![true; gap];
    for factor in primes(FACTOR_MAX) {
        let remainder = (start % factor).to_usize().expect("below the factor");
        let first = (factor as usize - remainder) % factor as usize;
        may_be_prime.iter_mut().skip(first).step_by(factor as usize).for_each(|candidate| *candidate = false);
    }
    let left: Vec<_> = (0..gap).filter(|offset| may_be_prime[*offset]).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for candidates in left.chunks(left.len().div_ceil(cores).max(1)) {
            scope.spawn(move || {
                for offset in candidates {
                    assert!(!passes(&(start + *offset), 2), "the prime at start + {offset} comes first");
                }
            });
        }
    });
}

#[test]
fn q_is_the_first_prime_from_its_start() {
    let start = search_start(Q_LABEL, Q_BITS);
    assert_eq!((start.bits(), q().bits()), (Q_BITS.into(), Q_BITS.into()));
    check_is_first_prime(&start, &q());
}

#[test]
fn p_is_the_first_prime_from_its_start() {
    let start = search_start(P_LABEL, P_BITS);
    assert_eq!((start.bits(), p().bits()), (P_BITS.into(), P_BITS.into()));
    check_is_first_prime(&start, &p());
}

#[test]
fn the_check_notices_a_composite_and_an_earlier_prime() {
    // A Mersenne prime, and what lies between it and the prime before.
    let prime = BigUint::from((1u64 << 61) - 1);
    let before = (1u32..).map(|less| &prime - 2 * less).find(|number| passes(number, 2)).expect("some prime");
    let refused = |start: &BigUint, number: &BigUint| {
        std::panic::catch_unwind(|| check_is_first_prime(start, number)).is_err()
    };
    check_is_first_prime(&(&before + 1u32), &prime);
    assert!(refused(&before, &prime), "an earlier prime");
    assert!(refused(&prime, &(&prime + 2u32)) && refused(&before, &(&prime - 2u32)), "no primes");
    assert!(refused(&(&prime + 1u32), &prime), "below the start");
}
