//! What is run at which scale.

use super::*;
use crate::net::LinkRate;
use crate::plan::ChannelName;
use clap::Parser as _;

fn experiments(scale: Scale, rate: &str) -> Experiments {
    let link = Link { rate: rate.parse().unwrap(), mtu: 1_500 };
    Experiments::of(scale, link, &FigureName::ALL).unwrap()
}

const RATES: [&str; 5] = ["loopback", "off", "10gbit", "1gbit", "250mbit"];

#[test]
fn each_scale_fits_its_time_over_every_link_by_the_model() {
    for scale in [Scale::Quick, Scale::Small] {
        for rate in RATES {
            let all = experiments(scale, rate);
            let (estimate, budget) = (all.estimate_s(), scale.budget_s().unwrap());
            assert!(estimate <= budget, "{scale} at {rate}: about {estimate:.0} s of {budget:.0}");
        }
    }
}

#[test]
fn the_opening_table_comes_first_and_is_never_left_out() {
    for rate in RATES {
        for only in [&[][..], &[FigureName::Fig5]] {
            let link = Link { rate: rate.parse().unwrap(), mtu: 1_500 };
            let all = Experiments::of(Scale::Small, link, only).unwrap();
            let headline = all.jobs.iter().take_while(|job| job.headline).count();
            assert_eq!(headline, 6, "two profiles and four rivals at {rate}");
            assert!(all.jobs[headline..].iter().all(|job| !job.headline && !only.is_empty()));
        }
    }
}

#[test]
fn every_figure_has_runs_and_only_those_asked_for_are_made() {
    let all = experiments(Scale::Small, "10gbit");
    for figure in FigureName::ALL {
        let of = |jobs: &[Job]| jobs.iter().filter(|job| job.figures.contains(&figure)).count();
        assert!(of(&all.jobs) > 3, "{figure:?}");
        let link = Link { rate: LinkRate::Loopback, mtu: 1_500 };
        let one = Experiments::of(Scale::Small, link, &[figure]).unwrap();
        assert!(one.jobs.iter().all(|job| job.headline || job.figures.contains(&figure)));
    }
}

#[test]
fn what_is_played_by_hand_is_what_was_played() {
    for scale in [Scale::Quick, Scale::Small, Scale::Full] {
        for job in experiments(scale, "1gbit").jobs {
            let Work::Twincast { words, plan, .. } = job.work else { continue };
            assert_eq!(plan.channel, ChannelName::Plain, "{words}");
            assert_eq!(*plan, plan_of(&words).unwrap(), "{words}");
            let local = ["twincast-loadgen", "local"].into_iter().chain(words.split_whitespace());
            crate::cli::Cli::try_parse_from(local).unwrap_or_else(|error| panic!("{words}: {error}"));
            assert!(words.contains("--channel plain"), "{words}");
        }
    }
}

#[test]
fn rivals_are_sampled_above_a_thousand_and_never_below() {
    for job in experiments(Scale::Full, "loopback").jobs {
        if let Work::Rival { setup, .. } = job.work {
            assert_eq!(is_sampled(&setup), setup.members > SAMPLED_ABOVE, "{setup:?}");
            assert!((5..=setup.members).contains(&setup.senders), "one sender on each host: {setup:?}");
        }
    }
}

#[test]
fn full_scale_is_a_million_users_and_small_scale_plays_all_that_fits() {
    let full = experiments(Scale::Full, "10gbit");
    assert_eq!(full.population, 1_000_000);
    let population = |all: &Experiments| -> Vec<(ProfileName, u32, u64, u64)> {
        let of = |job: &Job| match &job.work {
            Work::Twincast { variant: Variant::Population { groups }, plan, .. } => {
                Some((plan.profile, plan.group, u64::from(plan.groups), *groups))
            }
            _ => None,
        };
        all.jobs.iter().filter_map(of).collect()
    };
    assert!(population(&full).iter().all(|(_, group, _, groups)| u64::from(*group) * groups == 1_000_000));
    let small = population(&experiments(Scale::Small, "10gbit"));
    let whole = |of: ProfileName| {
        small.iter().filter(|(profile, _, played, all)| *profile == of && played == all).count()
    };
    assert!(whole(ProfileName::Compact) >= 4, "{small:?}");
    assert!(whole(ProfileName::PaperXor) >= 2, "{small:?}");
}

#[test]
fn a_slow_link_leaves_out_what_does_not_fit_and_says_so() {
    let slow = experiments(Scale::Small, "250mbit");
    assert!(slow.jobs.len() < experiments(Scale::Small, "loopback").jobs.len());
    assert!(slow.left_out.iter().any(|left| left.what.contains("n = 5,000") && left.why.contains(" s")));
}

#[test]
fn the_words_of_a_run_make_its_plan() {
    for job in experiments(Scale::Small, "1gbit").jobs {
        if let Work::Twincast { words, plan, .. } = &job.work {
            assert_eq!(&plan_of(words).unwrap(), plan.as_ref());
            assert!(job.title().contains(&plan.profile.to_string()));
        }
    }
}
