//! Words of sentences and commands: rates, sizes, sets of cores, and what a shell needs quoted.

use std::collections::BTreeSet;

/// The highest core number that is believed: no kernel is built for more. What is beyond is not a list of cores.
const CORES_MAX: usize = 8_192;

/// `25 Gb/s`.
pub(crate) fn rate(bits_per_s: u64) -> String {
    match bits_per_s {
        1_000_000_000.. => format!("{} Gb/s", bits_per_s as f64 / 1e9),
        _ => format!("{} Mb/s", bits_per_s as f64 / 1e6),
    }
}

/// `4 MiB`; what is no whole number of a unit is told in a smaller one.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".into(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// `1 core`, `2 cores`.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Reads the kernel's form of a set: `0-3,8`. None where it is not one.
pub(crate) fn cores(text: &str) -> Option<BTreeSet<usize>> {
    let mut set = BTreeSet::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= CORES_MAX || first > last {
            return None;
        }
        set.extend(first..=last);
    }
    Some(set)
}

/// Writes it in the same form.
pub(crate) fn core_list(set: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &core in set {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let words: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    words.join(",")
}

/// Reads the kernel's other form: words of 32 bits, the highest first, as in `00000001,0000000f`.
pub(crate) fn mask(text: &str) -> Option<BTreeSet<usize>> {
    let mut set = BTreeSet::new();
    let words: Vec<&str> = text.trim().split(',').collect();
    if words.len() * 32 > CORES_MAX {
        return None;
    }
    for (place, word) in words.iter().rev().enumerate() {
        let bits = u32::from_str_radix(word, 16).ok()?;
        set.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| place * 32 + bit));
    }
    Some(set)
}

/// Writes it in the same form; the empty set is `0`.
pub(crate) fn mask_of(set: &BTreeSet<usize>) -> String {
    let mut words = vec![0_u32; set.last().map_or(1, |last| last / 32 + 1)];
    for core in set {
        words[core / 32] |= 1 << (core % 32);
    }
    let mut text = format!("{:x}", words.pop().expect("there is one at the least"));
    for word in words.iter().rev() {
        text += &format!(",{word:08x}");
    }
    text
}

/// A word as a shell takes it: interfaces may have names that mean something there.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:@".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The choice in the kernel's form of a menu: `always [madvise] never`.
pub(crate) fn chosen(menu: &str) -> Option<&str> {
    menu.split_once('[')?.1.split_once(']').map(|(chosen, _)| chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_cores_are_read_and_written() {
        for text in ["", "0", "0-3", "0-3,8,10-11"] {
            assert_eq!(core_list(&cores(text).unwrap()), text);
        }
        for text in ["x", "3-1", "0-99999999999", "-1", "0-8192", "1-2-3"] {
            assert_eq!(cores(text), None, "{text}");
        }
        assert_eq!(mask("f"), cores("0-3"));
        assert_eq!(mask("00000001,00000003"), cores("0-1,32"));
        assert_eq!(mask("00000000"), cores(""));
        assert!(mask("").is_none() && mask("fffffffff").is_none() && mask("x,1").is_none());
        for text in ["", "0", "0-3,5", "31", "31-32", "0,70", "64-95"] {
            let set = cores(text).unwrap();
            assert_eq!(mask(&mask_of(&set)), Some(set), "{text}");
        }
        assert_eq!(
            (mask_of(&cores("").unwrap()), mask_of(&cores("1,64").unwrap())),
            ("0".into(), "1,00000000,00000002".into())
        );
    }

    #[test]
    fn words_read_as_people_write_them() {
        assert_eq!([2_500_000_000, 25_000_000_000].map(rate), ["2.5 Gb/s", "25 Gb/s"]);
        assert_eq!(rate(100_000_000), "100 Mb/s");
        assert_eq!(
            [4 << 20, 512 << 10, 1 << 30, 7, 0].map(size).join(" "),
            "4 MiB 512 KiB 1 GiB 7 bytes 0 bytes"
        );
        assert_eq!((count(1, "core"), count(0, "core")), ("1 core".into(), "0 cores".into()));
        assert_eq!(quoted("eth1.100@if3"), "eth1.100@if3");
        assert_eq!(quoted("a;rm -rf '/'"), r"'a;rm -rf '\''/'\'''");
        assert_eq!(chosen("always [madvise] never"), Some("madvise"));
        assert_eq!(chosen("] always ["), None);
    }
}
