//! What `ethtool` says of an interface. Nothing else does: the kernel has no files for it.

use super::keys;
use super::setting::Trouble;
use twincast_node::System;

/// Runs a program that has to succeed; its standard output.
pub(super) fn run(system: &System, program: &'static str, words: &[&str]) -> Result<String, Trouble> {
    let output = system.program(program, words).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Trouble::NoProgram(program),
        _ => Trouble::Failed(format!("{program}: {error}")),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let told = told.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says no more").trim();
    let sentence = format!("`{program} {}`: {}", words.join(" "), told.escape_debug());
    // What the kernel or the driver does not know at all, as against what it refuses.
    let unknown = ["not supported", "No data available", "unknown", "Unknown", "bad command line"];
    if unknown.iter().any(|word| told.contains(word)) {
        return Err(Trouble::Absent(sentence));
    }
    Err(Trouble::Failed(sentence))
}

/// A number of now and the most that the driver takes.
pub(super) struct Size {
    pub(super) now: u64,
    pub(super) most: u64,
}

/// A size out of the two tables of `ethtool -g` and `ethtool -l`: `RX`, `TX`, `Combined`.
pub(super) fn size(system: &System, flag: &str, interface: &str, name: &str) -> Result<Size, Trouble> {
    let text = run(system, "ethtool", &[flag, interface])?;
    let (most, now) = text
        .split_once("Current hardware settings:")
        .ok_or_else(|| Trouble::Failed(format!("`ethtool {flag} {interface}` prints something else here")))?;
    let number = |table: &str| value(table, name).and_then(|word| word.parse::<u64>().ok());
    match (number(now), number(most)) {
        (Some(now), Some(most)) if most > 0 => Ok(Size { now, most }),
        _ => Err(Trouble::Absent(format!("`ethtool {flag} {interface}` has no {name}"))),
    }
}

/// Whether an offload is on, and whether the driver leaves no choice.
pub(super) fn offload(system: &System, interface: &str, name: &str) -> Result<(bool, bool), Trouble> {
    let text = run(system, "ethtool", &["-k", interface])?;
    let long = keys::OFFLOADS.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long);
    let absent = || Trouble::Absent(format!("`ethtool -k {interface}` has no {long}"));
    let word = value(&text, long).ok_or_else(absent)?;
    Ok((word.starts_with("on"), word.contains("[fixed]")))
}

/// A parameter of interrupt moderation.
pub(super) fn coalesce(system: &System, interface: &str, name: &str) -> Result<String, Trouble> {
    let text = run(system, "ethtool", &["-c", interface])?;
    let absent = || Trouble::Absent(format!("`ethtool -c {interface}` has no {name}"));
    let word = match name {
        "adaptive-rx" | "adaptive-tx" => {
            let mut words = value(&text, "Adaptive RX").ok_or_else(absent)?.split_whitespace();
            // "off  TX: n/a"
            if name == "adaptive-rx" { words.next() } else { words.nth(2) }
        }
        _ => value(&text, name),
    };
    word.filter(|word| *word != "n/a").map(str::to_owned).ok_or_else(absent)
}

/// What stands behind `name:` in a line of its own.
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':').map(str::trim))
}
