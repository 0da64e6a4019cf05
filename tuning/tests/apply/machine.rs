//! A machine made of files, and of programs that keep their state in files.

use clap::Parser;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use twincast_node::System;
use twincast_tune::TuneError;
use twincast_tune::apply::ApplyArgs;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    apply: ApplyArgs,
}

pub(crate) struct Machine {
    folder: tempfile::TempDir,
    pub(crate) system: System,
}

const FILES: [(&str, &str); 29] = [
    ("proc/sys/kernel/hostname", "node-1\n"),
    ("proc/sys/fs/nr_open", "1048576\n"),
    ("proc/sys/kernel/random/boot_id", "first\n"),
    ("etc/machine-id", "0123\n"),
    ("etc/security/limits.d/README", "\n"),
    ("var/lib/README", "\n"),
    ("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n"),
    (
        "proc/self/limits",
        "Max locked memory         8388608              8388608              bytes\nMax open files            1024                 1048576              files\n",
    ),
    ("proc/meminfo", "HugePages_Total:       3\nHugePages_Free:        1\nHugepagesize:       2048 kB\n"),
    ("proc/sys/vm/nr_hugepages", "3\n"),
    ("proc/sys/net/core/wmem_max", "212992\n"),
    ("proc/sys/net/core/rmem_max", "999999999\n"),
    ("proc/sys/net/core/somaxconn", "128\n"),
    ("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"),
    ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1\n"),
    (
        "proc/interrupts",
        "  40:  1 2  PCI-MSI 1-edge  eth1-TxRx-0\n  41:  1 2  PCI-MSI 2-edge  eth1-TxRx-1\n  42:  1 2  PCI-MSI 3-edge  eth1-async\n  50:  1 1  PCI-MSI 9-edge  disk-0\n",
    ),
    ("proc/irq/40/smp_affinity_list", "0-3\n"),
    ("proc/irq/41/smp_affinity_list", "0-3\n"),
    ("sys/class/net/eth1/mtu", "1500\n"),
    ("sys/class/net/eth1/tx_queue_len", "1000\n"),
    ("sys/class/net/eth1/device/numa_node", "0\n"),
    ("sys/class/net/eth1/device/msi_irqs/40", "msix\n"),
    ("sys/class/net/eth1/device/msi_irqs/41", "msix\n"),
    ("sys/class/net/eth1/device/msi_irqs/42", "msix\n"),
    ("sys/class/net/eth1/queues/tx-0/xps_cpus", "0\n"),
    ("sys/class/net/eth1/queues/tx-1/xps_cpus", "0\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/devices/system/node/node0/cpulist", "0-3\n"),
];

const PROGRAMS: [(&str, &str); 3] = [
    (
        "ethtool",
        r#"#!/bin/sh
s="$(dirname "$0")/state"
case "$*" in *"$(cat "$s/broken")"*) echo "netlink error: Invalid argument" >&2; exit 1;; esac
get() { cat "$s/$1"; }
case "$1" in
-g) printf 'Ring parameters for %s:\nPre-set maximums:\nRX:\t\t4096\nTX:\t\t2048\nCurrent hardware settings:\nRX:\t\t%s\nTX:\t\t%s\n' "$2" "$(get rx)" "$(get tx)";;
-l) printf 'Channel parameters for %s:\nPre-set maximums:\nCombined:\t8\nCurrent hardware settings:\nCombined:\t%s\n' "$2" "$(get combined)";;
-k) printf 'rx-checksumming: on\ntx-checksumming: on\nscatter-gather: on\ntcp-segmentation-offload: %s\ngeneric-segmentation-offload: %s\ngeneric-receive-offload: %s\nlarge-receive-offload: off [fixed]\n' "$(get tso)" "$(get gso)" "$(get gro)";;
-c) printf 'Adaptive RX: %s  TX: n/a\nrx-usecs: %s\n' "$(get adaptive-rx)" "$(get rx-usecs)";;
-L) echo "$4" > "$s/combined";;
-G|-K|-C) echo "$4" > "$s/$3";;
esac
"#,
    ),
    (
        "tc",
        r#"#!/bin/sh
s="$(dirname "$0")/state/qdisc"
if [ -e "$s-$4" ]; then s="$s-$4"; fi
case "$2" in
show) echo "qdisc $(cat "$s") root refcnt 2";;
replace) echo "$6 8001:" > "$s";;
del) echo "fq_codel 0:" > "$s";;
esac
"#,
    ),
    ("ip", "#!/bin/sh\necho '[{\"ifname\":\"eth1\",\"min_mtu\":68,\"max_mtu\":9000}]'\n"),
];

const STATE: [(&str, &str); 10] = [
    ("broken", "nothing is broken"),
    ("rx", "512"),
    ("tx", "512"),
    ("combined", "4"),
    ("tso", "off"),
    ("gso", "on"),
    ("gro", "on"),
    ("adaptive-rx", "off"),
    ("rx-usecs", "3"),
    ("qdisc", "fq_codel 0:"),
];

impl Machine {
    pub(crate) fn new() -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let (root, programs) = (folder.path().join("root"), folder.path().join("programs"));
        let system = System::at(&root, &programs);
        let machine = Machine { folder, system };
        FILES.iter().for_each(|(path, text)| machine.write(&format!("root/{path}"), text));
        STATE
            .iter()
            .for_each(|(name, text)| machine.write(&format!("programs/state/{name}"), &format!("{text}\n")));
        for (name, text) in PROGRAMS {
            machine.write(&format!("programs/{name}"), text);
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(programs.join(name), mode).unwrap();
        }
        machine
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap().trim().to_owned()
    }

    /// Every file below the root and the programs' folder, without white space around its text.
    pub(crate) fn everything(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        walk(&self.path("root"), &mut files);
        walk(&self.path("programs"), &mut files);
        // XPS masks are written with all their digits.
        files
            .into_iter()
            .map(|(path, text)| (path, text.replace("00000000", "0").replace('\t', " ")))
            .collect()
    }

    /// `apply` with these words, `{}` being the machine's folder; what it printed and how it ended.
    pub(crate) fn apply(&self, words: &str) -> (String, Result<(), TuneError>) {
        self.apply_until(words, usize::MAX)
    }

    /// The same; a signal comes when it is looked for the n-th time.
    pub(crate) fn apply_until(&self, words: &str, looks: usize) -> (String, Result<(), TuneError>) {
        let mut out = Vec::new();
        let end = self.apply_to(words, &mut out, usize::MAX, looks);
        (String::from_utf8(out).unwrap(), end)
    }

    /// The same, printed there, in lines of so many columns.
    pub(crate) fn apply_to(
        &self,
        words: &str,
        out: &mut dyn std::io::Write,
        width: usize,
        looks: usize,
    ) -> Result<(), TuneError> {
        let words = words.replace("{}", &self.folder.path().display().to_string());
        let words = std::iter::once("apply").chain(words.split_whitespace());
        let line = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        let seen = Cell::new(0);
        let stop = || {
            seen.set(seen.get() + 1);
            seen.get() > looks
        };
        line.apply.run_on(&self.system, out, width, &stop)
    }

    /// What it printed; it must end well.
    pub(crate) fn printed(&self, words: &str) -> String {
        let (out, end) = self.apply(words);
        end.unwrap_or_else(|error| panic!("{words}: {error}\n{out}"));
        out
    }

    /// Why it did not.
    pub(crate) fn refused(&self, words: &str) -> String {
        let (out, end) = self.apply(words);
        end.err().unwrap_or_else(|| panic!("{words} ended well:\n{out}")).to_string()
    }
}

fn walk(folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.insert(path.clone(), "folder".into());
            walk(&path, files);
        } else {
            let text = std::fs::read_to_string(&path).unwrap().trim().to_owned();
            files.insert(path, text);
        }
    }
}
