//! Sets of cores, as the kernel writes them: lists such as `0-3,8`, and masks such as `ff,00000001`.

use std::collections::BTreeSet;

/// Cores that a machine may have at the most; a longer list is no list of cores.
const CORES_MAX: usize = 8_192;

/// A set of cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CoreSet(BTreeSet<usize>);

impl CoreSet {
    /// Reads a list. Nothing, or `none`, is no core.
    pub(super) fn from_list(text: &str) -> Option<CoreSet> {
        let text = text.trim();
        if text.is_empty() || text == "none" {
            return Some(CoreSet::default());
        }
        let mut cores = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            if first > last || last >= CORES_MAX {
                return None;
            }
            cores.extend(first..=last);
        }
        Some(CoreSet(cores))
    }

    /// Reads a mask: words of 32 bits, the highest first.
    pub(super) fn from_mask(text: &str) -> Option<CoreSet> {
        let words: Vec<&str> = text.trim().split(',').collect();
        let mut cores = BTreeSet::new();
        for (index, word) in words.iter().rev().enumerate() {
            let bits = u32::from_str_radix(word, 16).ok()?;
            cores.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| 32 * index + bit));
        }
        Some(CoreSet(cores))
    }

    /// The list; `none` where there is no core.
    pub(super) fn list(&self) -> String {
        let mut parts: Vec<(usize, usize)> = Vec::new();
        for &core in &self.0 {
            match parts.last_mut() {
                Some((_, last)) if *last + 1 == core => *last = core,
                _ => parts.push((core, core)),
            }
        }
        let part = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
        let text = parts.into_iter().map(part).collect::<Vec<_>>().join(",");
        if text.is_empty() { "none".into() } else { text }
    }

    /// The mask.
    pub(super) fn mask(&self) -> String {
        let words = self.0.last().map_or(1, |core| core / 32 + 1);
        let word = |index: usize| {
            let bits = self.0.iter().filter(|&&core| core / 32 == index).map(|core| 1u32 << (core % 32));
            format!("{:08x}", bits.sum::<u32>())
        };
        (0..words).rev().map(word).collect::<Vec<_>>().join(",")
    }

    /// Ascending.
    pub(super) fn to_vec(&self) -> Vec<usize> {
        self.0.iter().copied().collect()
    }

    /// Those that are not in `other`.
    pub(super) fn without(&self, other: &[usize]) -> CoreSet {
        self.0.iter().copied().filter(|core| !other.contains(core)).collect()
    }

    /// Those that are in `other` too.
    pub(super) fn within(&self, other: &CoreSet) -> CoreSet {
        self.0.intersection(&other.0).copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<usize> for CoreSet {
    fn from_iter<I: IntoIterator<Item = usize>>(cores: I) -> CoreSet {
        CoreSet(cores.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_masks_say_the_same() {
        for (list, mask) in
            [("0", "00000001"), ("0-3,8", "0000010f"), ("none", "00000000"), ("31-32", "00000001,80000000")]
        {
            let cores = CoreSet::from_list(list).unwrap();
            assert_eq!((cores.list().as_str(), cores.mask().as_str()), (list, mask));
            assert_eq!(CoreSet::from_mask(mask), Some(cores));
        }
        assert_eq!(CoreSet::from_mask("3"), CoreSet::from_list("0-1"));
        for text in ["3-1", "a", "1,", "0-99999999", "-1", "0;1"] {
            assert_eq!(CoreSet::from_list(text), None, "{text}");
        }
    }
}
