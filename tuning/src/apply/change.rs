//! Changes: told, made in order, read back, and put back in the opposite order if one of them fails.

use super::setting::{Setting, Trouble, Way};
use super::words::{count, shown};
use serde::{Deserialize, Serialize};
use twincast_node::System;

/// One setting, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pub(super) setting: Setting,
    pub(super) before: String,
    pub(super) after: String,
    /// What a person should know of it.
    #[serde(skip)]
    pub(super) note: Option<String>,
}

/// What became of changes that did not all go well.
#[derive(Debug)]
pub(super) struct Failure {
    /// What happened.
    pub(super) why: String,
    /// What could not be put back; empty: everything is as it was.
    pub(super) stuck: Vec<String>,
}

/// One line for each change, `from` and `to` as the way goes. Cores that change alike share a line.
pub(super) fn lines(changes: &[&Change], way: Way) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = changes;
    while let [first, ..] = rest {
        let alike = |change: &&&Change| {
            matches!((&change.setting, &first.setting), (Setting::Governor { .. }, Setting::Governor { .. }))
                && (&change.before, &change.after) == (&first.before, &first.after)
        };
        let alike = rest.iter().take_while(alike).count().max(1);
        let what = match (&first.setting, &rest[alike - 1].setting) {
            (Setting::Governor { core }, Setting::Governor { core: last }) if last > core => {
                format!("governor of {alike} cores from {core} to {last}")
            }
            (Setting::Governor { core }, Setting::Governor { core: last }) if last < core => {
                format!("governor of {alike} cores from {last} to {core}")
            }
            _ => first.setting.what(),
        };
        let (from, to) = match way {
            Way::There => (&first.before, &first.after),
            Way::Back => (&first.after, &first.before),
        };
        if first.setting == Setting::LoginLimits {
            lines.push(format!("  {what}: {}", if to.is_empty() { "is removed" } else { "is written:" }));
            lines.extend(to.lines().map(|line| format!("    {}", shown(line))));
        } else {
            let note = first.note.as_ref().map_or(String::new(), |note| format!(" ({note})"));
            lines.push(format!("  {what}: {} -> {}{note}", shown(from), shown(to)));
        }
        rest = &rest[alike..];
    }
    lines
}

/// Sets one and reads it back.
pub(super) fn set(system: &System, change: &Change, way: Way) -> Result<(), Trouble> {
    let value = if way == Way::There { &change.after } else { &change.before };
    let what = change.setting.what();
    change.setting.check(value, way).map_err(Trouble::Failed)?;
    change.setting.write(system, value, way)?;
    match change.setting.read(system)? {
        now if now == *value => Ok(()),
        now => {
            let pages = matches!(&change.setting, Setting::Sysctl { key } if key == "vm.nr_hugepages");
            let hint = if pages {
                "; memory has no more pieces of this size: try again after \
                 `echo 3 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory`, or right after a restart"
            } else {
                "; the kernel or the driver takes no other: ask for a value that it takes"
            };
            Err(Trouble::Failed(format!(
                "{what}: {} was set, and it is {} now{hint}",
                shown(value),
                shown(&now)
            )))
        }
    }
}

/// Makes all, or none. Gives what the machine turned out not to have.
pub(super) fn make(
    system: &System,
    changes: &[Change],
    stop: &dyn Fn() -> bool,
) -> Result<Vec<String>, Failure> {
    let mut absent = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let done = if stop() {
            Err(format!("stopped by a signal after {}", count(index, "change")))
        } else {
            match set(system, change, Way::There) {
                Ok(()) => Ok(()),
                Err(Trouble::Absent(why)) => {
                    absent.push(format!("{} ({why})", change.setting.what()));
                    Ok(())
                }
                Err(Trouble::NoProgram(program)) => Err(format!("{program} is not there any more")),
                Err(Trouble::Failed(why)) => Err(why),
            }
        };
        if let Err(why) = done {
            return Err(Failure { why, stuck: put_back(system, &changes[..=index]) });
        }
    }
    // One that came during the last change.
    if stop() {
        let why = "stopped by a signal after the last change".into();
        return Err(Failure { why, stuck: put_back(system, changes) });
    }
    Ok(absent)
}

/// The last one first. Gives what is not as it was.
fn put_back(system: &System, changes: &[Change]) -> Vec<String> {
    let mut stuck = Vec::new();
    for change in changes.iter().rev() {
        // The one that failed may have done nothing.
        if change.setting.read(system).as_ref() == Ok(&change.before) {
            continue;
        }
        match set(system, change, Way::Back) {
            Ok(()) => {}
            Err(Trouble::Absent(why) | Trouble::Failed(why)) => {
                stuck.push(format!("{} (was {}): {why}", change.setting.what(), shown(&change.before)));
            }
            Err(Trouble::NoProgram(program)) => {
                stuck.push(format!("{}: no {program}", change.setting.what()))
            }
        }
    }
    stuck
}
