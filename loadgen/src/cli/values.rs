//! Values of flags: each refusal says what would be right.

use crate::fault::{Fault, FaultKind, HOLD_MS};
use crate::limits::{BOX_MIB_MAX, ROUND_TIMEOUT_MS_MAX};
use crate::net::LinkRate;
use crate::plan::{Many, Peers, Verify};
use crate::units::thousands;

/// A parser for whole numbers from `least` to `most`.
pub(super) fn within(least: u32, most: u32) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "give a whole number from {} to {}",
            thousands(u64::from(least)),
            thousands(u64::from(most))
        )),
    }
}

/// Whom everybody writes to. The rounds and noise of [`Peers::Many`] have flags of their own.
pub(super) fn peers(text: &str) -> Result<Peers, String> {
    let remedy = "give self, random, subset:K (one message to K random members), subgroup:P% (one message to P percent \
                  of the group) or many:K (different messages to K members), as in subset:3, subgroup:25% or many:4";
    let number = |text: &str| text.parse::<u32>().map_err(|_| remedy.to_owned());
    match text.split_once(':') {
        None if text == "self" => Ok(Peers::Own),
        None if text == "random" => Ok(Peers::Random),
        Some(("subset", recipients)) => number(recipients).map(Peers::Subset),
        Some(("subgroup", part)) => match part.strip_suffix('%').map(number) {
            Some(Ok(percent @ 1..=100)) => Ok(Peers::Subgroup(percent)),
            _ => Err("give subgroup:P% with a whole number P from 1 to 100, as in subgroup:25%".into()),
        },
        Some(("many", recipients)) => match number(recipients)? {
            recipients @ 1.. => Ok(Peers::Many(Many { recipients, spread: 1, noise_min: 0, noise_max: 0 })),
            0 => Err("give many:K with at least one recipient, as in many:4".into()),
        },
        _ => Err(remedy.into()),
    }
}

/// The least and the most noise subgroups of a round.
pub(super) fn noise(text: &str) -> Result<(u32, u32), String> {
    let remedy =
        "give MIN..MAX, two whole numbers of noise subgroups, the first not above the second, as in 1..4";
    let (least, most) = text.split_once("..").ok_or(remedy)?;
    match (least.parse(), most.parse()) {
        (Ok(least), Ok(most)) if least <= most => Ok((least, most)),
        _ => Err(remedy.into()),
    }
}

/// S2's box, in MiB; 0 for none.
pub(super) fn parts_box(text: &str) -> Result<u32, String> {
    match text {
        "off" => Ok(0),
        _ => within(1, BOX_MIB_MAX)(text).map_err(|remedy| format!("{remedy} (in MiB), or off")),
    }
}

/// A link's rate.
pub(super) fn link(text: &str) -> Result<LinkRate, String> {
    text.parse()
}

/// Rounds per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("give rounds per second, from 0.001 to 100000, as in 2.5".into()),
    }
}

/// A fault, and the round that it is done in.
pub(super) fn fault(text: &str) -> Result<Fault, String> {
    let names: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
    let remedy = || {
        format!(
            "give KIND@ROUND with a round from 1 and a kind of {}, as in flip@2; delay:MS@ROUND says for how long",
            names.join(", ")
        )
    };
    let (kind, round) = text.split_once('@').ok_or_else(remedy)?;
    let (name, time) = kind.split_once(':').map_or((kind, None), |(name, time)| (name, Some(time)));
    let round = round.parse().ok().filter(|round| *round > 0).ok_or_else(remedy)?;
    let kind = FaultKind::named(name).ok_or_else(remedy)?;
    let hold_ms = match (kind, time.map(str::parse)) {
        (FaultKind::Delay, None) => HOLD_MS,
        (FaultKind::Delay, Some(Ok(time @ 1..=ROUND_TIMEOUT_MS_MAX))) => time,
        (_, None) => 0,
        _ => return Err(remedy()),
    };
    Ok(Fault { kind, round, hold_ms })
}

pub(super) fn verify(text: &str) -> Result<Verify, String> {
    let remedy = "give all, count, or sample:P with a probability P above 0 and at most 1, as in sample:0.1";
    match (text, text.strip_prefix("sample:").map(str::parse::<f64>)) {
        ("all", _) => Ok(Verify::All),
        ("count", _) => Ok(Verify::Count),
        (_, Some(Ok(probability))) if probability > 0.0 && probability <= 1.0 => {
            Ok(Verify::Sample(probability))
        }
        _ => Err(remedy.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_values_are_taken() {
        assert_eq!(within(1, 5)("5"), Ok(5));
        assert_eq!(peers("self"), Ok(Peers::Own));
        assert_eq!(peers("random"), Ok(Peers::Random));
        assert_eq!(peers("subset:0"), Ok(Peers::Subset(0)));
        assert_eq!(peers("subgroup:25%"), Ok(Peers::Subgroup(25)));
        let many = Many { recipients: 4, spread: 1, noise_min: 0, noise_max: 0 };
        assert_eq!(peers("many:4"), Ok(Peers::Many(many)));
        assert_eq!((noise("0..0"), noise("1..4")), (Ok((0, 0)), Ok((1, 4))));
        assert_eq!((parts_box("off"), parts_box("16")), (Ok(0), Ok(16)));
        let hold = |kind, hold_ms| Ok(Fault { kind, round: 2, hold_ms });
        assert_eq!(fault("flip@2"), hold(FaultKind::Flip, 0));
        assert_eq!(fault("delay@2"), hold(FaultKind::Delay, HOLD_MS));
        assert_eq!(fault("delay:70@2"), hold(FaultKind::Delay, 70));
        assert_eq!(verify("all"), Ok(Verify::All));
        assert_eq!(verify("count"), Ok(Verify::Count));
        assert_eq!(verify("sample:0.25"), Ok(Verify::Sample(0.25)));
    }

    #[test]
    fn bad_values_are_refused_with_the_remedy() {
        for text in ["0", "6", "-1", "1.5", "many", ""] {
            assert_eq!(within(1, 5)(text), Err("give a whole number from 1 to 5".into()));
        }
        for text in ["", "Self", "subset", "subset:", "subset:-1", "random:2", "many:x", "some:3"] {
            assert!(peers(text).unwrap_err().contains("subset:K"), "{text}");
        }
        for text in ["subgroup:0%", "subgroup:101%", "subgroup:25", "subgroup:x%", "subgroup:"] {
            assert!(peers(text).unwrap_err().contains("from 1 to 100"), "{text}");
        }
        assert!(peers("many:0").unwrap_err().contains("at least one"));
        for text in ["", "3", "4..1", "a..b", "1..", "..3", "-1..2"] {
            assert!(noise(text).unwrap_err().contains("MIN..MAX"), "{text}");
        }
        for text in ["0", "on", "-1", ""] {
            assert!(parts_box(text).unwrap_err().ends_with("(in MiB), or off"), "{text}");
        }
        for text in ["", "flip", "flip@0", "flip@x", "melt@1", "flip:3@1", "delay:0@1", "delay:x@1", "@1"] {
            let remedy = fault(text).unwrap_err();
            assert!(remedy.contains("KIND@ROUND") && remedy.contains("kill-host"), "{text}: {remedy}");
        }
        for text in ["", "sample", "sample:0", "sample:1.1", "sample:NaN", "sample:x", "none"] {
            assert!(verify(text).unwrap_err().contains("sample:P"), "{text}");
        }
    }
}
