//! The file of limits that logins get, by `pam_limits`. Services have theirs from their units.

use super::profile::Limits;
use super::setting::Trouble;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use twincast_node::System;

/// Where it is.
pub(super) const FILE: &str = "/etc/security/limits.d/60-twincast.conf";

/// Its first line, by which it is known as ours.
const HEAD: &str =
    "# Written by twincast-tune: limits of logins. `twincast-tune apply --undo FILE` takes it away.";

/// The file in bytes, at the most.
const BYTES_MAX: usize = 4_096;

/// A limit of this process: what a login has now.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    soft: u64,
    hard: u64,
}

fn now(system: &System, name: &str) -> Now {
    let text = system.read("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = |word: &str| if word == "unlimited" { u64::MAX } else { word.parse().unwrap_or(0) };
    let mut numbers = line.unwrap_or_default().split_whitespace().map(number);
    Now { soft: numbers.next().unwrap_or(0), hard: numbers.next().unwrap_or(0) }
}

/// Files that the kernel lets a process have open, whatever its limit.
fn files_max(system: &System) -> u64 {
    system.number("/proc/sys/fs/nr_open").and_then(|most| u64::try_from(most).ok()).unwrap_or(u64::MAX)
}

/// Why logins would be refused with what a profile asks for, if they would be.
pub(super) fn refused(system: &System, asked: &Limits) -> Option<String> {
    let (asked, most) = (asked.nofile?.0, files_max(system));
    (asked > most).then(|| {
        format!(
            "`nofile` of the profile is {asked}, and the kernel lets a process have {most} open files (fs.nr_open), and \
             nobody log in with a higher limit: `sysctl -w fs.nr_open={asked}` first, and at each start, or give a lower \
             `nofile` in a copy of the profile"
        )
    })
}

/// The file that gives logins what a profile asks for and takes nothing from them; none where they have that already.
pub(super) fn text(system: &System, asked: &Limits, there: &str) -> Option<String> {
    let asked_memlock = asked.memlock.map_or(0, |memlock| memlock.0);
    let asked_nofile = asked.nofile.map_or(0, |nofile| nofile.0);
    let (memlock, nofile) = (now(system, "Max locked memory"), now(system, "Max open files"));
    if memlock.soft >= asked_memlock && nofile.hard >= asked_nofile {
        return None;
    }
    let mut lines = vec![HEAD.to_owned()];
    // What the file has already counts as what logins have: this one may be older than it.
    let value = |name: &str| {
        let words = there.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mut ours = words.filter(|words| words.get(1..3) == Some(&["hard", name]));
        ours.next().map_or(0, |words| match words.get(3) {
            Some(&"unlimited") => u64::MAX,
            word => word.and_then(|word| word.parse().ok()).unwrap_or(0),
        })
    };
    // limits.conf counts locked memory in KiB.
    let in_kib = |bytes: u64| if bytes == u64::MAX { bytes } else { bytes.div_ceil(1_024) };
    let mut limit = |name: &str, kinds: &[&str], asked: u64, now: u64, most: u64| {
        let there = value(name);
        if asked > 0 || there > 0 {
            let number = asked.max(now).max(there).min(most);
            let word = if number == u64::MAX { "unlimited".to_owned() } else { number.to_string() };
            // The star does not count for root.
            for who in ["*", "root"] {
                lines.extend(kinds.iter().map(|kind| format!("{who} {kind} {name} {word}")));
            }
        }
    };
    limit("memlock", &["soft", "hard"], in_kib(asked_memlock), in_kib(memlock.hard), u64::MAX);
    // Servers and hosts raise the soft one themselves; in every other program more than 1,024 breaks select().
    limit("nofile", &["hard"], asked_nofile, nofile.hard, files_max(system));
    Some(lines.join("\n") + "\n")
}

/// Whether a text is one that this module writes, or none at all.
pub(super) fn is_ours(text: &str) -> bool {
    let number = |word: &str| word == "unlimited" || word.parse::<u64>().is_ok();
    let line = |line: &str| match line.split(' ').collect::<Vec<_>>().as_slice() {
        [who, kind, name, value] => {
            ["*", "root"].contains(who)
                && ["soft", "hard"].contains(kind)
                && ["memlock", "nofile"].contains(name)
                && number(value)
        }
        _ => false,
    };
    text.is_empty()
        || text.len() <= BYTES_MAX
            && text.ends_with('\n')
            && text.lines().next() == Some(HEAD)
            && text.lines().skip(1).all(line)
}

/// The file's text; empty if there is none.
pub(super) fn read(system: &System) -> Result<String, Trouble> {
    let path = system.path(FILE);
    if !path.parent().is_some_and(Path::is_dir) {
        return Err(Trouble::Absent("/etc/security/limits.d is not there: logins have no pam_limits".into()));
    }
    let text = match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => Err(error),
        Ok(kind) if kind.is_file() && kind.len() <= BYTES_MAX as u64 => std::fs::read_to_string(&path),
        Ok(_) => Ok("something else".into()),
    };
    let text = text.map_err(|error| Trouble::Failed(format!("{FILE}: {error}")))?;
    if is_ours(&text) {
        return Ok(text);
    }
    Err(Trouble::Failed(format!("{FILE} is there and was not written by twincast-tune: move it away first")))
}

/// Puts the file in the place of what was there, whole; removes it for an empty text.
pub(super) fn write(system: &System, text: &str) -> Result<(), Trouble> {
    let path = system.path(FILE);
    let done = if text.is_empty() { std::fs::remove_file(&path) } else { replace(&path, text) };
    done.map_err(|error| Trouble::Failed(format!("{FILE}: {error}")))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().expect("a file in a folder"))?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_its_own_kind_are_its_own() {
        assert!(is_ours("") && is_ours(&format!("{HEAD}\n* hard memlock unlimited\nroot soft nofile 9\n")));
        for line in ["@wheel hard nofile 9", "* hard nproc 9", "* hard nofile x", "* - nofile 9", "#"] {
            assert!(!is_ours(&format!("{HEAD}\n{line}\n")), "{line}");
        }
        assert!(!is_ours("* hard nofile 9\n") && !is_ours("x"));
    }
}
