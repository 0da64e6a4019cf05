//! Whether a server's egress is called line rate: it fills its link, and every machine was looked at and told that there
//! is such a link.

use super::RunResult;
use crate::units::{bits_per_s, thousands};
use twincast_node::{Report, Role, Verdict};

impl RunResult {
    /// Whether what holds the rate of servers' links is a queue of this machine, and no card: what fills such a link is
    /// told by another name.
    #[must_use]
    pub fn has_emulated_links(&self) -> bool {
        self.link.medium == "namespaces"
    }

    /// Why a server's egress is not called line rate (of emulated links: line rate of these), however much of its link it
    /// fills, as the rest of a sentence. None: the run did not fail, every machine was checked and no check failed; and
    /// between machines the server's own check has seen a link of the plan's rate and MTU, and that packets get through.
    #[must_use]
    pub fn why_not_line_rate(&self, side: usize) -> Option<String> {
        if !self.failures.is_empty() {
            return Some("the run failed".into());
        }
        crate::check::fault(&self.checks)
            .or_else(|| if self.has_emulated_links() { None } else { self.link_fault(side) })
    }

    /// What was not seen of a server's link on its machine.
    fn link_fault(&self, side: usize) -> Option<String> {
        let server = format!("server {}", side + 1);
        // They are in the order of servers and hosts.
        let report = self.checks.get(side).and_then(|check| check.report.as_ref());
        let Some(report) = report.filter(|report| report.role == Role::Server) else {
            return Some(format!("no check is that of {server}"));
        };
        match report.interface.as_deref() {
            None => return Some(format!("nothing told which interface {server} sends over")),
            Some("lo") => return Some(format!("what {server} sends stays on its machine (lo)")),
            Some(_) => {}
        }
        let (rate, mtu) = (self.link.rate_bits_per_s, self.link.mtu);
        match (report.link_bits_per_s, rate) {
            (None, _) => return Some(format!("nothing told the speed of {server}'s link")),
            (Some(speed), Some(rate)) if speed != rate => {
                let [speed, rate] = [speed, rate].map(|bits| bits_per_s(bits as f64));
                return Some(format!("{server}'s link has {speed}, and the plan says {rate}"));
            }
            _ => {}
        }
        match report.mtu_bytes {
            None => return Some(format!("nothing told the MTU of {server}'s interface")),
            Some(own) if own != mtu => {
                let [own, mtu] = [own, mtu].map(thousands);
                return Some(format!("{server}'s interface has an MTU of {own}, and the plan says {mtu}"));
            }
            Some(_) => {}
        }
        // What an MTU that costs work warns of does not keep a link from being full.
        let missing =
            ["interface", "link_speed", "path_mtu"].into_iter().find(|name| !has_passed(report, name))?;
        Some(format!("the check of {missing} at {server} did not pass"))
    }

    /// Says of every server whether its egress is line rate, of whichever kind its link is.
    pub(super) fn judge_line_rate(&mut self) {
        let emulated = self.has_emulated_links();
        for side in 0..self.link.servers.len() {
            let good = self.why_not_line_rate(side).is_none();
            let server = &mut self.link.servers[side];
            let verdict = server.goodput_fraction.map(|_| good && server.fills_its_link());
            (server.line_rate, server.emulated_line_rate) =
                if emulated { (None, verdict) } else { (verdict, None) };
        }
    }
}

fn has_passed(report: &Report, name: &str) -> bool {
    report.findings.iter().any(|finding| finding.name == name && finding.verdict == Verdict::Pass)
}
