//! Machines in folders: files as a kernel has them, and programs that print what they are told to.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use twincast_node::{Asked, CheckError, Finding, Report, Role, System, check_with};
use twincast_ring::Support;

/// A program that was just written cannot be started while a process that another test forks still has it open for
/// writing: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Prints the file beside it that is named after its first word, and fails where there is none.
const PROGRAM: &str = "#!/bin/sh\nexec cat \"$0.${1#-}\"\n";

pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    pub(crate) asked: Asked,
    _alone: MutexGuard<'static, ()>,
}

impl Fixture {
    fn empty(asked: Asked) -> Fixture {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let fixture = Fixture { folder: tempfile::tempdir().unwrap(), asked, _alone: alone };
        std::fs::create_dir(fixture.path("programs")).unwrap();
        fixture
    }

    /// A server of 25 Gb/s: two NUMA nodes of 8 cores with two threads each, the card at the second one.
    pub(crate) fn server() -> Fixture {
        let asked = Asked {
            interface: Some("eth1".into()),
            peers: vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            link_bits_per_s: Some(25_000_000_000),
            fan_out_threads: 4,
            fan_out_cores: vec![8, 9, 10, 11],
            slab_pool_bytes: 16 << 20,
            ..Asked::new(Role::Server)
        };
        let fixture = Fixture::empty(asked);
        fixture.common();
        for core in 0..32 {
            let cpu = format!("/sys/devices/system/cpu/cpu{core}");
            fixture.write(&format!("{cpu}/cpufreq/scaling_governor"), "performance");
            fixture.write(&format!("{cpu}/cpufreq/scaling_driver"), "acpi-cpufreq");
            let siblings = format!("{},{}", core % 16, core % 16 + 16);
            fixture.write(&format!("{cpu}/topology/thread_siblings_list"), &siblings);
        }
        let mut interrupts =
            "           CPU0 CPU1\n 90: 7 7 IR-PCI-MSI 0-edge mlx5_async0@pci:0000:81:00.0\n".to_owned();
        for queue in 0..4 {
            let number = 91 + queue;
            interrupts += &format!(" {number}: 7 7 IR-PCI-MSI 1-edge mlx5_comp{queue}@pci:0000:81:00.0\n");
            fixture.write(&format!("/sys/class/net/eth1/device/msi_irqs/{number}"), "msix");
            fixture.write(&format!("/proc/irq/{number}/effective_affinity_list"), &(12 + queue).to_string());
            let xps = format!("/sys/class/net/eth1/queues/tx-{queue}/xps_cpus");
            fixture.write(&xps, &format!("{:08x}", 1 << (8 + queue)));
        }
        fixture.write("/sys/class/net/eth1/device/msi_irqs/90", "msix");
        fixture.write("/proc/irq/90/effective_affinity_list", "0");
        for (path, text) in [
            ("/proc/interrupts", interrupts.as_str()),
            ("/sys/devices/system/cpu/online", "0-31"),
            ("/sys/devices/system/cpu/present", "0-47"),
            ("/sys/devices/system/cpu/smt/control", "on"),
            ("/sys/devices/system/cpu/isolated", "8-11"),
            ("/sys/devices/system/cpu/smt/active", "1"),
            ("/sys/devices/system/node/online", "0-1"),
            ("/sys/devices/system/node/node0/cpulist", "0-7,16-23"),
            ("/sys/devices/system/node/node1/cpulist", "8-15,24-31"),
            ("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "0"),
            ("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "0"),
            ("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "16"),
            ("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "10"),
            ("/sys/class/net/eth1/device/numa_node", "1"),
            ("/sys/class/net/eth1/speed", "25000"),
            ("/sys/class/net/eth1/mtu", "9000"),
            ("/proc/sys/net/netfilter/nf_conntrack_count", "10"),
            ("/proc/sys/net/netfilter/nf_conntrack_max", "262144"),
            ("/proc/sys/net/ipv4/tcp_wmem", "4096\t65536\t16777216"),
            ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t16777216"),
        ] {
            fixture.write(path, text);
        }
        fixture.print("ethtool.g", RINGS);
        fixture.print("ethtool.k", OFFLOADS);
        fixture.print("tc.j", r#"[{"kind":"mq","root":true},{"kind":"fq_codel","parent":":1"}]"#);
        fixture.print("ping.M", "3 packets transmitted, 3 received");
        fixture.print("ip.j", r#"[{"dst":"10.0.0.2","dev":"eth1"}]"#);
        fixture.print("ip.d", r#"[{"ifname":"eth1","max_mtu":9978}]"#);
        fixture.print("ethtool.eth1", "Supported link modes: 10000baseKR/Full\n 25000baseCR/Full");
        fixture.print("timedatectl.show", "NTPSynchronized=yes");
        fixture
    }

    /// A host in a virtual machine, which has next to nothing of all that.
    pub(crate) fn virtual_host() -> Fixture {
        let asked = Asked { peers: vec!["10.0.0.2".parse().unwrap()], ..Asked::new(Role::Host) };
        let fixture = Fixture::empty(asked);
        fixture.common();
        for (path, text) in [
            (
                "/proc/net/route",
                "Iface Destination Gateway Flags RefCnt Use Metric Mask\neth1 00000000 0100000A 3 0 0 0 00000000",
            ),
            ("/proc/interrupts", "           CPU0\n 41: 7 PCI-MSIX 1-edge virtio3-rx\n"),
            ("/sys/devices/system/cpu/online", "0-1"),
            ("/sys/devices/system/cpu/isolated", ""),
            ("/sys/devices/system/cpu/smt/active", "0"),
            ("/sys/devices/system/node/online", "0"),
            ("/sys/class/net/eth1/speed", "-1"),
            ("/sys/class/net/eth1/mtu", "1500"),
            ("/sys/class/net/eth1/queues/tx-0/traffic_class", "x"),
            ("/proc/sys/net/ipv4/tcp_rmem", "4096 131072 6291456"),
        ] {
            fixture.write(path, text);
        }
        fixture.script("ethtool", "#!/bin/sh\n[ $1 = -k ] && exec cat $0.k\necho netlink error: Operation not supported >&2\nexit 95\n");
        fixture.print("ethtool.k", OFFLOADS);
        fixture.print("tc.j", r#"[{"kind":"pfifo_fast","root":true}]"#);
        fixture.print("ping.M", "1 received");
        fixture.print("chronyc.tracking", "Reference ID    : A9FEA97B\nLeap status     : Normal");
        fixture
    }

    fn common(&self) {
        for (path, text) in [
            ("/proc/sys/kernel/hostname", "node-1"),
            ("/proc/sys/kernel/osrelease", "6.8.0-51-generic"),
            ("/proc/sys/kernel/io_uring_disabled", "0"),
            (
                "/proc/self/limits",
                "Limit Soft Hard Units\nMax open files 1024 1048576 files\nMax locked memory unlimited unlimited bytes",
            ),
            // CAP_SYS_RESOURCE alone.
            ("/proc/self/status", "Name: x\nUid:\t0\t0\t0\t0\nCapEff:\t0000000001000000"),
            ("/proc/sys/fs/nr_open", "1048576"),
            (
                "/proc/meminfo",
                "MemTotal: 9 kB\nHugePages_Total:      16\nHugePages_Free:       10\nHugepagesize:       2048 kB",
            ),
            ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
            ("/proc/net/dev", "Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth1: 0 0"),
            ("/sys/class/net/eth1/operstate", "up"),
            ("/sys/class/net/lo/operstate", "unknown"),
            ("/proc/sys/net/core/wmem_max", "212992"),
            ("/proc/sys/net/ipv4/tcp_congestion_control", "cubic"),
            ("/etc/os-release", "ID=debian"),
        ] {
            self.write(path, text);
        }
        for program in ["ethtool", "tc", "ping", "timedatectl", "chronyc", "ip"] {
            self.script(program, PROGRAM);
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// A file of the machine, at a path that begins with a slash.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Has a shell do what a remedy says, with the files of this machine.
    pub(crate) fn mend(&self, remedy: &str) {
        let root = self.folder.path().display();
        let remedy =
            remedy.replace(" /sys/", &format!(" {root}/sys/")).replace(" /proc/", &format!(" {root}/proc/"));
        let output = std::process::Command::new("sh").args(["-ec", &remedy]).output().unwrap();
        assert!(output.status.success(), "{remedy}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a program prints: `ethtool.g` is of `ethtool -g`.
    pub(crate) fn print(&self, name: &str, text: &str) {
        std::fs::write(self.path("programs").join(name), text).unwrap();
    }

    /// A program of its own.
    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = self.path("programs").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Every file of the machine and everything that programs print, but not the programs.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut folders) = (Vec::new(), vec![self.folder.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if path.parent().unwrap().ends_with("programs") && path.extension().is_none() => {}
                    false => files.push(path),
                }
            }
        }
        files.sort();
        files
    }

    pub(crate) fn try_check(&self) -> Result<Report, CheckError> {
        check_with(&System::at(self.folder.path(), &self.path("programs")), &self.asked, &Ok(whole_ring()))
    }

    pub(crate) fn check(&self) -> Report {
        self.try_check().unwrap()
    }

    pub(crate) fn system(&self) -> System {
        System::at(self.folder.path(), &self.path("programs"))
    }
}

/// What a new kernel has.
pub(crate) fn whole_ring() -> Support {
    Support { setup_lacks: None, zero_copy: true, register_refused: None }
}

pub(crate) const RINGS: &str = "Ring parameters for eth1:\nPre-set maximums:\nRX:\t\t8192\nRX Mini:\tn/a\nTX:\t\t8192\n\
    Current hardware settings:\nRX:\t\t4096\nRX Mini:\tn/a\nTX:\t\t4096\n";

pub(crate) const OFFLOADS: &str = "Features for eth1:\nrx-checksumming: on\ntx-checksumming: on\n\ttx-checksum-ipv4: off [fixed]\n\
    scatter-gather: on\ntcp-segmentation-offload: on\ngeneric-segmentation-offload: on\n\
    generic-receive-offload: on\nlarge-receive-offload: off [fixed]\n";

pub(crate) fn found<'a>(report: &'a Report, name: &str) -> &'a Finding {
    report.findings.iter().find(|finding| finding.name == name).unwrap()
}

pub(crate) fn told(report: &Report) -> String {
    report.findings.iter().map(|finding| format!("{finding:?}\n")).collect()
}
