//! The security claims of the code, exhaustively in GF(2^4): four coefficients and t = 7, which are the counts
//! of a bit confirmation's codeword.
//!
//! One server sees one uniform string and `W = M ^ D`, the difference of the message's codeword and a dummy's.
//! It may know the message. It can add anything to what a member decodes.

use twincast_protocol::frame::FrameBytes;

/// e.
const COEFFICIENTS: usize = 4;
const ORDER: usize = 16;

/// GF(2^4) modulo `z^4 + z + 1`, and powers in it.
struct Field {
    products: [[usize; ORDER]; ORDER],
}

impl Field {
    fn new() -> Field {
        let multiply = |a: usize, b: usize| {
            let mut product = (0..4).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| sum ^ a << bit);
            for bit in (4..7).rev() {
                if product >> bit & 1 == 1 {
                    product ^= 0b10011 << (bit - 4);
                }
            }
            product
        };
        Field { products: std::array::from_fn(|a| std::array::from_fn(|b| multiply(a, b))) }
    }

    fn power(&self, base: usize, exponent: usize) -> usize {
        (0..exponent).fold(1, |power, _| self.products[power][base])
    }

    fn quotient(&self, a: usize, b: usize) -> usize {
        (0..ORDER).find(|&quotient| self.products[quotient][b] == a).expect("b is not 0")
    }

    /// `h^t + sum s_i h^i`.
    fn tag(&self, t: usize, coefficients: [usize; COEFFICIENTS], h: usize) -> usize {
        let horner = coefficients.iter().rev().fold(0, |sum, s| self.products[sum ^ s][h]);
        self.power(h, t) ^ horner
    }

    /// `h^t + (h + shift)^t`: what moving the key does to the leading term.
    fn leading(&self, t: usize, h: usize, shift: usize) -> usize {
        self.power(h, t) ^ self.power(h ^ shift, t)
    }
}

/// How often each `W = (frame, rho, x, tag)` is seen when `message` is sent, over all coins of both codewords.
/// Coefficients: rho, the frame (a kind bit and three bits of message), two blocks of context.
fn views(field: &Field, t: usize, message: usize, context: [usize; 2], rhos: usize) -> Vec<u32> {
    let tag_of = |frame, rho, h| field.tag(t, [rho, frame, context[0], context[1]], h);
    let real = message << 1 | 1;
    let mut counts = vec![0; ORDER.pow(4)];
    for (rho, x) in (0..rhos).flat_map(|rho| (0..ORDER).map(move |x| (rho, x))) {
        let tag = tag_of(real, rho, x);
        for dummy in (0..ORDER).step_by(2) {
            for (dummy_rho, dummy_x) in (0..rhos).flat_map(|rho| (0..ORDER).map(move |x| (rho, x))) {
                let dummy_tag = tag_of(dummy, dummy_rho, dummy_x);
                let view = [real ^ dummy, rho ^ dummy_rho, x ^ dummy_x, tag ^ dummy_tag];
                counts[view.iter().fold(0, |index, part| index * ORDER + part)] += 1;
            }
        }
    }
    counts
}

/// The largest statistical distance between the views of two messages.
fn distance(field: &Field, t: usize, rhos: usize) -> f64 {
    let mut largest: f64 = 0.0;
    for context in [[0, 0], [3, 9], [15, 1]] {
        let first = views(field, t, 0, context, rhos);
        let total: u32 = first.iter().sum();
        for message in 1..8 {
            let other = views(field, t, message, context, rhos);
            let differences: u32 = first.iter().zip(&other).map(|(a, b)| a.abs_diff(*b)).sum();
            largest = largest.max(f64::from(differences) / f64::from(2 * total));
        }
    }
    largest
}

/// How many of the 16 keys that a view leaves open the best alteration decodes under, for a view whose two
/// keys differ by `x_difference`.
///
/// All four coefficients are the server's to alter. Such a view leaves every key x possible, each with one rho,
/// `rho(x) = leading(x, x_difference) / x_difference` plus a polynomial of degree 4 that the server knows; an
/// alteration that moves the key by `shift` decodes where
/// `leading(x, shift) + shift * rho(x) + (any polynomial of degree 4)` is 0. `forgeries_of_a_view` checks this.
/// Not counted: no alteration at all, and adding W, which is handing out the other half.
fn most_keys_forged(field: &Field, t: usize, x_difference: usize) -> usize {
    let mut most = 0;
    for shift in 0..ORDER {
        let scale = field.quotient(shift, x_difference);
        let base: [usize; ORDER] = std::array::from_fn(|h| {
            field.leading(t, h, shift) ^ field.products[scale][field.leading(t, h, x_difference)]
        });
        let no_forgery = shift == 0 || shift == x_difference;
        for polynomial in 0..ORDER.pow(4) {
            if no_forgery && polynomial == 0 {
                continue;
            }
            let coefficients: [_; COEFFICIENTS] = std::array::from_fn(|i| polynomial >> (4 * i) & 15);
            let mut keys_of_value = [0; ORDER];
            for (h, base) in base.iter().enumerate() {
                let horner = coefficients.iter().rev().fold(0, |sum, d: &usize| field.products[sum ^ d][h]);
                keys_of_value[base ^ horner] += 1;
            }
            most = most.max(keys_of_value.into_iter().max().expect("sixteen values"));
        }
    }
    most
}

/// The same for one view, by trying every alteration: the largest share of the coins that it leaves open.
fn forgeries_of_a_view(
    field: &Field,
    t: usize,
    message: [usize; 3],
    view: [usize; COEFFICIENTS + 2],
) -> (usize, usize) {
    let with_rho = |rho: usize| [rho, message[0], message[1], message[2]];
    let alter = |s: [usize; COEFFICIENTS], by: &[usize]| std::array::from_fn(|i| s[i] ^ by[i]);
    let coins: Vec<_> = (0..ORDER)
        .flat_map(|rho| (0..ORDER).map(move |x| (rho, x)))
        .filter(|&(rho, x)| {
            let [.., x_difference, tag_difference] = view;
            let dummy = field.tag(t, alter(with_rho(rho), &view[..COEFFICIENTS]), x ^ x_difference);
            field.tag(t, with_rho(rho), x) ^ dummy == tag_difference
        })
        .collect();
    let mut most = 0;
    for alteration in 1..ORDER.pow(5) {
        let by: [usize; COEFFICIENTS + 1] = std::array::from_fn(|i| alteration >> (4 * i) & 15);
        if by == view[..=COEFFICIENTS] {
            continue;
        }
        let mut coins_of_value = [0; ORDER];
        for &(rho, x) in &coins {
            let altered = field.tag(t, alter(with_rho(rho), &by), x ^ by[COEFFICIENTS]);
            coins_of_value[altered ^ field.tag(t, with_rho(rho), x)] += 1;
        }
        most = most.max(coins_of_value.into_iter().max().expect("sixteen values"));
    }
    (most, coins.len())
}

#[test]
fn one_server_view_is_independent_of_message() {
    assert_eq!(FrameBytes::CONFIRM.coefficients(), COEFFICIENTS);
    let (field, t) = (Field::new(), FrameBytes::CONFIRM.degree());
    let with_rho = distance(&field, t, ORDER);
    let without_rho = distance(&field, t, 1);
    println!(
        "statistical distance of one server's views: {with_rho} (without rho it would be {without_rho})"
    );
    assert_eq!(with_rho, 0.0);
    assert!(without_rho > 0.1, "the measure sees a code that leaks");
}

#[test]
fn one_server_forges_with_chance_at_most_t_minus_2() {
    let (field, t) = (Field::new(), FrameBytes::CONFIRM.degree());
    for (degree, expected) in [(5, ORDER), (6, ORDER), (t, t - 2)] {
        let most = (1..ORDER).map(|difference| most_keys_forged(&field, degree, difference)).max();
        let most = most.expect("fifteen differences");
        println!("t = {degree}: the best alteration decodes under {most} of {ORDER} keys");
        assert_eq!(most, expected, "t = {degree}");
    }
}

#[test]
fn forging_one_view_by_trial_agrees() {
    let (field, t) = (Field::new(), FrameBytes::CONFIRM.degree());
    for (message, view) in [([1, 0, 0], [3, 2, 0, 0, 1, 5]), ([9, 4, 14], [7, 12, 3, 8, 6, 0])] {
        let (most, coins) = forgeries_of_a_view(&field, t, message, view);
        assert_eq!((most, coins), (most_keys_forged(&field, t, view[COEFFICIENTS]), ORDER));
    }
    // Equal keys, one view in 16 here and one in 2^128 in the field that is used, give the key away.
    let (most, coins) = forgeries_of_a_view(&field, t, [1, 0, 0], [3, 2, 0, 0, 0, 4]);
    println!("two codewords under one key: the best alteration decodes for {most} of {coins} coins");
    assert!(2 * most > coins);
}
