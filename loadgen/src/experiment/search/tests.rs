//! The search against made-up limits.

use super::*;

fn tried(rate: f64, length: Length, passed: bool) -> Trial {
    Trial {
        rounds_per_s: rate,
        rounds: if length == Length::Confirming { 40 } else { 20 },
        confirms: length == Length::Confirming,
        passed,
        achieved_rounds_per_s: Some(rate),
        first_third_seconds: Some(0.5 / rate),
        last_third_seconds: Some(0.5 / rate),
        longest_seconds: Some(0.7 / rate),
        missed_slots: u64::from(!passed),
        why: if passed { String::new() } else { "1 slots were missed".into() },
        ..Trial::default()
    }
}

/// Where short trials pass up to one limit and longer ones up to another, from a lockstep rate.
fn search(lockstep: f64, short: f64, longer: f64) -> HighestRate {
    let limit = |length| if length == Length::Confirming { longer } else { short };
    highest_rate(lockstep, |rate, length| Ok(tried(rate, length, rate <= limit(length)))).unwrap()
}

pub(crate) fn found() -> HighestRate {
    search(20.0, 33.0, 33.0)
}

fn is_below_every_failure(found: &HighestRate) {
    let failed = found.trials.iter().filter(|trial| !trial.passed).map(|trial| trial.rounds_per_s);
    let least = failed.fold(f64::INFINITY, f64::min);
    assert!(found.rounds_per_s.is_none_or(|rate| rate < least), "{found:?}");
    assert_eq!(found.fails_at.unwrap_or(f64::INFINITY), least, "{found:?}");
    assert!(found.trials.len() <= TRIALS_MAX as usize);
}

#[test]
fn the_limit_is_between_its_bounds_wherever_it_begins() {
    for lockstep in [5.0, 20.0, 32.9, 33.1, 60.0, 200.0] {
        let found = search(lockstep, 33.0, 33.0);
        is_below_every_failure(&found);
        let (passes, fails) = (found.rounds_per_s.unwrap(), found.fails_at.unwrap());
        assert!(passes <= 33.0 && fails > 33.0, "from {lockstep}: {passes} {fails}");
        assert!(fails / passes < 1.6, "from {lockstep}: {passes} {fails}");
    }
    let near = search(33.0, 33.0, 33.0);
    assert!(near.fails_at.unwrap() / near.rounds_per_s.unwrap() <= NEAR, "{near:?}");
    assert_eq!(near.trials[0].rounds_per_s, FIRST * 33.0);
}

#[test]
fn a_rate_is_found_only_if_a_longer_run_bears_it() {
    let found = search(20.0, 20.0, 18.0);
    is_below_every_failure(&found);
    assert!(found.rounds_per_s.unwrap() <= 18.0, "{found:?}");
    let last = found.trials.last().unwrap();
    assert!(last.confirms && last.passed && Some(last.rounds_per_s) == found.rounds_per_s);
    let text = found.in_words(130);
    assert!(text.contains("did not hold for longer; lower ones were tried"), "{text}");
    assert!(text.contains("held for 40 rounds; the lowest that failed was"), "{text}");
    let never = search(20.0, 20.0, 1.0);
    is_below_every_failure(&never);
    assert_eq!(never.rounds_per_s, None);
    assert!(never.in_words(130).contains("was not confirmed by a longer run"), "{}", never.in_words(130));
    assert!(!search(20.0, 20.0, 20.0).in_words(130).contains("did not hold"));
}

#[test]
fn a_search_that_finds_one_side_only_says_so() {
    let never = search(10.0, 0.0, 0.0);
    assert_eq!((never.rounds_per_s, never.trials.len()), (None, TRIALS_MAX as usize));
    assert!(never.in_words(130).contains("no trial passed"));
    let always = search(10.0, f64::INFINITY, f64::INFINITY);
    is_below_every_failure(&always);
    assert_eq!(always.fails_at, None);
    let text = always.in_words(130);
    assert!(text.contains("at least") && text.contains("no trial failed"), "{text}");
}

#[test]
fn a_failure_ends_the_search() {
    assert!(highest_rate(1.0, |_, _| Err(RunError::Interrupted)).is_err());
}
