//! Namespaces whose makers died before they could remove them.

use super::links::remove;
use crate::maker::Maker;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// What every name begins with; its maker follows.
const PREFIX: &str = "twincast-";

/// Sets of links that this process has begun to make.
static SETS: AtomicU32 = AtomicU32::new(0);

/// What the names of one more set of this process begin with.
pub(super) fn next_set() -> String {
    format!("{PREFIX}{}-{}", Maker::this(), SETS.fetch_add(1, Ordering::SeqCst))
}

/// Where the names are.
pub(super) fn folder() -> &'static Path {
    Path::new("/run/netns")
}

/// Removes what runs made that were killed. What belongs to a process that lives stays.
pub fn clean_up_stale() {
    let Ok(entries) = std::fs::read_dir(folder()) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let stale: Vec<String> = names.filter(|name| maker(name).is_some_and(|maker| !maker.lives())).collect();
    if !stale.is_empty() {
        remove(&stale);
    }
}

/// Whose a name is, if it is one of ours.
fn maker(name: &str) -> Option<Maker> {
    let (maker, rest) = Maker::of(name.strip_prefix(PREFIX)?)?;
    let (set, end) = rest.split_once('-')?;
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    let is_end = end == "switch" || end.strip_prefix(['s', 'h']).is_some_and(is_number);
    (is_number(set) && is_end).then_some(maker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_kind_have_a_maker() {
        for name in ["twincast-7-99-0-s1", "twincast-7-99-3-h63", "twincast-7-99-0-switch"] {
            assert_eq!(maker(name).map(|maker| maker.to_string()).as_deref(), Some("7-99"), "{name}");
        }
        for name in ["docker0", "twincast-", "twincast-7", "twincast-7-99-0", "twincast-x-99-0-s1"] {
            assert_eq!(maker(name), None, "{name}");
        }
        for name in
            ["twincast-7-99-0-ägypten", "twincast-7-99-0-sx", "twincast-7-99-0-", "twincast-7-99-x-s1"]
        {
            assert_eq!(maker(name), None, "{name}");
        }
    }

    #[test]
    fn sets_of_this_process_are_its_own_and_differ() {
        let (one, other) = (next_set(), next_set());
        assert_ne!(one, other);
        assert_eq!(maker(&format!("{one}-s1")), Some(Maker::this()));
    }
}
