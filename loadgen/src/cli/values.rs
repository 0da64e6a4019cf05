//! Values of flags: each refusal says what would be right.

use crate::plan::{Peers, Verify};
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

pub(super) fn peers(text: &str) -> Result<Peers, String> {
    let remedy = "give self, random, or subset:K with a whole number K of recipients, as in subset:3";
    match (text, text.strip_prefix("subset:")) {
        ("self", _) => Ok(Peers::Own),
        ("random", _) => Ok(Peers::Random),
        (_, Some(recipients)) => recipients.parse().map(Peers::Subset).map_err(|_| remedy.into()),
        _ => Err(remedy.into()),
    }
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
        assert_eq!(verify("all"), Ok(Verify::All));
        assert_eq!(verify("count"), Ok(Verify::Count));
        assert_eq!(verify("sample:0.25"), Ok(Verify::Sample(0.25)));
    }

    #[test]
    fn bad_values_are_refused_with_the_remedy() {
        for text in ["0", "6", "-1", "1.5", "many", ""] {
            assert_eq!(within(1, 5)(text), Err("give a whole number from 1 to 5".into()));
        }
        for text in ["", "Self", "subset", "subset:", "subset:-1", "random:2"] {
            assert!(peers(text).unwrap_err().contains("subset:K"), "{text}");
        }
        for text in ["", "sample", "sample:0", "sample:1.1", "sample:NaN", "sample:x", "none"] {
            assert!(verify(text).unwrap_err().contains("sample:P"), "{text}");
        }
    }
}
