//! Whether the clock is set by others: no latency depends on it, since each is taken on one machine; logs and figures of
//! machines that are put side by side do.

use crate::Finding;
use crate::machine::{Machine, Said};

/// Asks whichever of timedatectl and chrony knows.
pub(crate) fn clock(machine: &Machine) -> Finding {
    const NAME: &str = "clock";
    const WHY: &str = "latencies do not depend on it, times of several machines side by side do";
    let timedatectl = match machine.say("timedatectl", &["show", "-p", "NTPSynchronized"]) {
        Said::Text(text) => match text.trim() {
            "NTPSynchronized=yes" => return Finding::pass(NAME, "synchronised (timedatectl)"),
            "NTPSynchronized=no" => Some(()),
            _ => None,
        },
        _ => None,
    };
    if let Said::Text(text) = machine.say("chronyc", &["tracking"]) {
        let leap = text.lines().find_map(|line| line.strip_prefix("Leap status")?.trim().strip_prefix(':'));
        match leap.map(str::trim) {
            Some("Not synchronised") => {
                return Finding::warn(NAME, format!("chrony is not synchronised: {WHY}"), "chronyc makestep");
            }
            Some(_) => return Finding::pass(NAME, "synchronised (chrony)"),
            None => {}
        }
    }
    if timedatectl.is_some() {
        return Finding::warn(
            NAME,
            format!("not synchronised (timedatectl): {WHY}"),
            "timedatectl set-ntp true",
        );
    }
    let reason = format!("neither timedatectl nor chronyc says whether the clock is synchronised: {WHY}");
    Finding::warn(NAME, reason, machine.install("chrony", "chrony"))
}
