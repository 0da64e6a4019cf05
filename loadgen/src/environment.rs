//! The machine that a run was made on: that of the coordinator, which is all that it can tell of.

use serde::{Deserialize, Serialize};
use std::fs::read_to_string;

/// What figures depend on besides the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Kernel name and release.
    pub kernel: String,
    /// The processor's name for itself.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: u64,
    /// MTU of the interfaces between servers and hosts; 0 where the kernel does not say.
    pub mtu: u64,
    /// How hosts were made.
    pub hosts: String,
    /// What TCP goes by when servers and hosts send; none where it is not known.
    pub congestion_control: Option<String>,
    /// What was measured.
    pub versions: Versions,
    /// The commit of the source tree that the binary was built from, recorded by `build.rs`; `-dirty` with changes,
    /// `unknown` without git.
    pub git_commit: String,
}

/// Versions of what was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// Of the workspace.
    pub twincast: String,
    /// Of the frames between clients and servers.
    pub wire: u64,
}

impl Environment {
    /// This machine, now, with hosts made in this way and joined by interfaces of this MTU.
    pub fn of_this_machine(hosts: &str, mtu: u64) -> Environment {
        let uname = rustix::system::uname();
        Environment {
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            cpu: cpu_model(&read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cores: cores(),
            mtu,
            hosts: hosts.into(),
            congestion_control: None,
            versions: Versions { twincast: env!("CARGO_PKG_VERSION").into(), wire: u64::from(WIRE_VERSION) },
            git_commit: env!("TWINCAST_COMMIT").into(),
        }
    }
}

/// Version of the frames, `engine/docs/WIRE.md`.
const WIRE_VERSION: u8 = twincast_protocol::wire::VERSION;

/// Cores that this process may use.
pub fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

/// Bytes sent over the loopback interface since the machine's start.
pub fn loopback_bytes() -> u64 {
    number_in("/sys/class/net/lo/statistics/tx_bytes")
}

fn number_in(path: &str) -> u64 {
    read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn cpu_model(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name.trim()).into()
}

/// How much all cores together have worked since the machine's start.
#[derive(Clone, Copy, Debug)]
pub struct MachineTime {
    idle: u64,
    all: u64,
}

impl MachineTime {
    /// Now.
    pub fn now() -> MachineTime {
        MachineTime::of(&read_to_string("/proc/stat").unwrap_or_default())
    }

    /// The part of the cores' time since then in which they were not idle.
    pub fn busy_since(self) -> f64 {
        MachineTime::now().busy_from(self)
    }

    fn of(stat: &str) -> MachineTime {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
        // user nice system idle iowait irq softirq steal; guest time is in user already.
        let times: Vec<u64> = line.split_whitespace().take(8).filter_map(|time| time.parse().ok()).collect();
        MachineTime { idle: times.iter().skip(3).take(2).sum(), all: times.iter().sum() }
    }

    fn busy_from(self, earlier: MachineTime) -> f64 {
        let all = self.all.saturating_sub(earlier.all);
        let idle = self.idle.saturating_sub(earlier.idle);
        if all == 0 { 0.0 } else { 1.0 - idle as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_name_is_found_or_unknown() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n"), "Some CPU @ 2.0GHz");
        assert_eq!(cpu_model("processor : 0\n"), "unknown");
    }

    #[test]
    fn idle_and_waiting_for_disks_is_not_busy() {
        let early = MachineTime::of("cpu  10 0 10 100 0 0 0 0 0 0\ncpu0 1 1 1 1\n");
        let late = MachineTime::of("cpu  60 0 30 115 5 0 10 0 0 0\n");
        assert!((late.busy_from(early) - 0.8).abs() < 1e-9, "{}", late.busy_from(early));
        assert!(early.busy_from(early).abs() < 1e-9, "no time has passed");
    }

    #[test]
    fn this_machine_has_a_kernel_and_cores() {
        let environment =
            Environment::of_this_machine("processes on loopback", crate::net::mtu_of_loopback());
        assert!(environment.kernel.starts_with("Linux "));
        assert!(environment.cores > 0 && environment.mtu > 0);
    }
}
