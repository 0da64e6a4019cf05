//! Whether the clock is set by others: no latency depends on it, since each is taken on one machine; logs and figures of
//! machines that are put side by side do.

use crate::Finding;
use crate::machine::{Machine, Said};

/// Asks whichever of timedatectl and chrony knows.
pub(crate) fn clock(machine: &Machine) -> Finding {
    const NAME: &str = "clock";
    const WHY: &str = "latencies do not depend on it, times of several machines side by side do";
    let words = ["show", "-p", "NTPSynchronized", "-p", "CanNTP", "-p", "NTP"];
    let timedatectl = match machine.say("timedatectl", &words) {
        Said::Text(text) => text,
        Said::Refused(_) | Said::Missing => String::new(),
    };
    let says = |line: &str| timedatectl.lines().any(|told| told.trim() == line);
    if says("NTPSynchronized=yes") {
        return Finding::pass(NAME, "synchronised (timedatectl)");
    }
    if let Said::Text(text) = machine.say("chronyc", &["tracking"]) {
        let leap = text.lines().find_map(|line| line.strip_prefix("Leap status")?.trim().strip_prefix(':'));
        match leap.map(str::trim) {
            Some("Not synchronised") => {
                let reason = format!(
                    "chrony is not synchronised (`chronyc sources` says whom it asks, and whether they answer): {WHY}"
                );
                // Asks them at once instead of waiting, and waits a minute at the most for the clock to be theirs.
                return Finding::warn(NAME, reason, "chronyc online; chronyc burst 4/8; chronyc waitsync 6");
            }
            Some(_) => return Finding::pass(NAME, "synchronised (chrony)"),
            None => {}
        }
    }
    if says("NTPSynchronized=no") {
        let (more, remedy) = match (says("CanNTP=no"), says("NTP=yes")) {
            (true, _) => (", and no service that would is installed", machine.install("chrony", "chrony")),
            (_, true) => (
                ", and its service is on: no server has answered it (`timedatectl timesync-status`)",
                String::new(),
            ),
            _ => ("", "timedatectl set-ntp true".into()),
        };
        return Finding::warn(NAME, format!("not synchronised (timedatectl){more}: {WHY}"), remedy);
    }
    let reason = format!("neither timedatectl nor chronyc says whether the clock is synchronised: {WHY}");
    Finding::warn(NAME, reason, machine.install("chrony", "chrony"))
}
