//! What was found on the machines, as far as there is something to mend.

use super::Table;
use crate::check::MachineCheck;
use crate::result::RunResult;
use crate::units::thousands;
use twincast_node::Verdict;

/// A line if there is nothing to mend; else each machine with its counts, and what failed there with what mends it.
pub(super) fn checks(table: &mut Table, result: &RunResult) {
    let checks = &result.checks;
    if checks.is_empty() {
        return;
    }
    let is_good =
        |check: &MachineCheck| check.report.as_ref().is_some_and(|report| report.worst() < Verdict::Warn);
    if checks.iter().all(is_good) {
        let whose = match checks.as_slice() {
            [one] => one.name.clone(),
            all => format!("all {} machines", thousands(all.len() as u64)),
        };
        table.line(&format!("\nMachine checks, {whose}: nothing to mend."));
        return;
    }
    table.section("Machine checks", &["failed", "warnings", "passed", "absent"]);
    for check in checks {
        match &check.not_checked {
            Some(why) => table.line(&format!("{} was not checked: {why}", check.name)),
            None => {
                let counts = [Verdict::Fail, Verdict::Warn, Verdict::Pass, Verdict::Absent];
                let counts = counts.map(|verdict| thousands(check.found(verdict).count() as u64));
                table.row(&check.name, &counts);
            }
        }
    }
    // What is wrong in the same words at several is told once.
    let failed =
        checks.iter().flat_map(|check| check.found(Verdict::Fail).map(move |finding| (finding, &check.name)));
    for (failed, names) in grouped(failed) {
        table.line(&format!("FAIL {}, {names}: {}", failed.name, failed.reason));
        if !failed.remedy.is_empty() {
            table.line(&format!("  {}", failed.remedy));
        }
    }
    let warnings = checks.iter().map(|check| {
        let names: Vec<&str> = check.found(Verdict::Warn).map(|finding| finding.name.as_str()).collect();
        (names.join(", "), &check.name)
    });
    let warnings = grouped(warnings.filter(|(warnings, _)| !warnings.is_empty()));
    let warnings: Vec<String> =
        warnings.into_iter().map(|(warnings, names)| format!("{names}: {warnings}")).collect();
    if !warnings.is_empty() {
        table.line(&format!("(warnings at {}; `twincast-tune check` there says why)", warnings.join("; ")));
    }
}

/// Each thing once, in the order in which they come, with all names that come with it.
fn grouped<'a, T: PartialEq>(all: impl Iterator<Item = (T, &'a String)>) -> Vec<(T, String)> {
    let mut groups: Vec<(T, String)> = Vec::new();
    for (thing, name) in all {
        match groups.iter_mut().find(|(other, _)| *other == thing) {
            Some((_, names)) => *names += &format!(", {name}"),
            None => groups.push((thing, name.clone())),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::machine;
    use crate::result::tests::sample;

    fn told(checks: Vec<MachineCheck>) -> String {
        let mut table = Table::default();
        super::checks(&mut table, &RunResult { checks, ..sample() });
        table.text
    }

    #[test]
    fn nothing_to_mend_is_one_line_and_an_older_result_has_none() {
        let good = machine("this machine", &[("mtu", Verdict::Pass), ("smt", Verdict::Absent)]);
        assert_eq!(told(vec![good.clone()]), "\nMachine checks, this machine: nothing to mend.\n");
        assert_eq!(told(vec![good.clone(), good]), "\nMachine checks, all 2 machines: nothing to mend.\n");
        assert_eq!(told(Vec::new()), "");
    }

    #[test]
    fn what_failed_is_told_with_its_remedy_and_what_warns_by_name() {
        let text = told(vec![
            machine("server 1", &[("mtu", Verdict::Fail), ("rings", Verdict::Warn), ("smt", Verdict::Pass)]),
            MachineCheck::of("host 0".into(), Err("refused: it serves another run".into())),
        ]);
        for line in [
            "server 1                                1              1              1              0",
            "host 0 was not checked: refused: it serves another run",
            "FAIL mtu, server 1: mtu is as it is",
            "  mend mtu",
            "(warnings at server 1: rings; `twincast-tune check` there says why)",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
    }
    #[test]
    fn what_is_the_same_at_several_is_told_once() {
        let bad = |name: &str| machine(name, &[("mtu", Verdict::Fail), ("rings", Verdict::Warn)]);
        let text = told(vec![bad("server 1"), machine("server 2", &[("smt", Verdict::Warn)]), bad("host 0")]);
        for line in [
            "FAIL mtu, server 1, host 0: mtu is as it is",
            "(warnings at server 1, host 0: rings; server 2: smt; `twincast-tune check` there says why)",
        ] {
            assert_eq!(text.lines().filter(|one| *one == line).count(), 1, "{line}: {text}");
        }
        assert_eq!(text.matches("mend mtu").count(), 1, "{text}");
    }
}
