//! Machines in folders: a good one, the same with each fault in turn, one that has next to nothing, broken ones.

use crate::common::{Fixture, OFFLOADS, RINGS, found, told, whole_ring};
use twincast_node::Verdict::{Absent, Fail, Pass, Warn};
use twincast_node::{Role, Verdict, check_with};
use twincast_ring::{RingError, Support};

#[test]
fn a_good_server_passes_everything() {
    let report = Fixture::server().check();
    assert!(report.findings.iter().all(|finding| finding.verdict == Pass), "{}", told(&report));
    assert!(report.findings.iter().all(|finding| finding.remedy.is_empty() && !finding.reason.is_empty()));
    assert_eq!((report.machine.as_str(), report.interface.as_deref()), ("node-1", Some("eth1")));
    assert_eq!(found(&report, "irq_affinity").reason, "4 interrupts of eth1 on cores 12-15");
}

#[test]
fn a_good_host_passes_everything_that_it_has() {
    let mut fixture = Fixture::server();
    fixture.asked.role = Role::Host;
    (fixture.asked.fan_out_threads, fixture.asked.slab_pool_bytes) = (0, 0);
    let report = fixture.check();
    let not_there: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.verdict != Pass)
        .map(|finding| finding.name.as_str())
        .collect();
    assert_eq!(not_there, ["huge_pages"], "{}", told(&report));
    // A host is not slowed down by what only a server needs, and the other way round.
    let off = OFFLOADS.replace("tcp-segmentation-offload: on", "tcp-segmentation-offload: off");
    fixture.print("ethtool.k", &off);
    assert_eq!(found(&fixture.check(), "offloads").verdict, Pass);
    fixture
        .print("ethtool.k", &OFFLOADS.replace("generic-receive-offload: on", "generic-receive-offload: off"));
    let finding = found(&fixture.check(), "offloads").clone();
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, "ethtool -K eth1 gro on"));
    fixture.asked.role = Role::Server;
    assert_eq!(found(&fixture.check(), "offloads").verdict, Pass);
}

/// What is written where, and what comes of it.
type Fault = (&'static str, String, &'static str, Verdict, &'static str);

fn faults() -> Vec<Fault> {
    let limits = |files: &str, locked: &str| {
        format!("Limit Soft Hard Units\nMax open files {files} files\nMax locked memory {locked} bytes")
    };
    let cpu = |file: &'static str| -> &'static str { format!("/sys/devices/system/cpu/{file}").leak() };
    let offloads =
        |name: &str, value: &str| OFFLOADS.replace(&format!("\n{name}: on"), &format!("\n{name}: {value}"));
    let faults: Vec<(&'static str, String, &'static str, Verdict, &'static str)> = vec![
        ("/proc/sys/kernel/osrelease", "5.10.0-8-amd64".into(), "kernel", Fail, ""),
        ("/proc/sys/kernel/osrelease", "5.15.0".into(), "kernel", Warn, ""),
        ("/proc/self/limits", limits("1024 1048576", "65536 65536"), "memlock", Fail, "ulimit -l 512"),
        ("/proc/self/limits", limits("1024 1048576", "65536 unlimited"), "memlock", Warn, "ulimit -S -l 512"),
        ("/proc/self/limits", limits("1024 1048576", "8388608 8388608"), "memlock", Warn, "ulimit -l 32768"),
        (
            "/proc/self/limits",
            limits("1024 1048576", "8388608 unlimited"),
            "memlock",
            Warn,
            "ulimit -S -l 32768",
        ),
        (
            "/proc/self/limits",
            limits("1024 4096", "unlimited unlimited"),
            "open_files",
            Fail,
            "ulimit -n 16448",
        ),
        (
            "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages",
            "7".into(),
            "huge_pages",
            Warn,
            "echo 17 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
        ),
        (
            "/proc/meminfo",
            "HugePages_Total: 4\nHugePages_Free: 4\nHugepagesize: 1048576 kB".into(),
            "huge_pages",
            Warn,
            "",
        ),
        (
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "always madvise [never]".into(),
            "transparent_huge_pages",
            Warn,
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        (
            cpu("cpu8/cpufreq/scaling_governor"),
            "powersave".into(),
            "governor",
            Fail,
            "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        ),
        (
            cpu("cpu8/cpufreq/scaling_governor"),
            "schedutil".into(),
            "governor",
            Warn,
            "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        ),
        (
            cpu("cpu8/topology/thread_siblings_list"),
            "8-9".into(),
            "smt",
            Warn,
            "echo off > /sys/devices/system/cpu/smt/control",
        ),
        (cpu("isolated"), "4-5".into(), "isolated_cores", Warn, ""),
        ("/sys/class/net/eth1/operstate", "down".into(), "interface", Fail, "ip link set dev eth1 up"),
        (
            "/sys/class/net/eth1/speed",
            "10000".into(),
            "link_speed",
            Fail,
            "ethtool -s eth1 speed 25000 autoneg on",
        ),
        ("/sys/class/net/eth1/speed", "-1".into(), "link_speed", Warn, ""),
        ("/sys/class/net/eth1/mtu", "1500".into(), "mtu", Warn, "ip link set dev eth1 mtu 9000"),
        ("/sys/class/net/eth1/mtu", "1400".into(), "mtu", Warn, ""),
        (
            "ethtool.g",
            RINGS.replace("TX:\t\t4096", "TX:\t\t512"),
            "rings",
            Warn,
            "ethtool -G eth1 rx 4096 tx 4096",
        ),
        ("ethtool.g", "netlink".into(), "rings", Warn, ""),
        (
            "ethtool.k",
            offloads("tcp-segmentation-offload", "off"),
            "offloads",
            Fail,
            "ethtool -K eth1 tso on",
        ),
        (
            "ethtool.k",
            offloads("generic-segmentation-offload", "off"),
            "offloads",
            Fail,
            "ethtool -K eth1 gso on",
        ),
        ("ethtool.k", offloads("tcp-segmentation-offload", "off [fixed]"), "offloads", Warn, ""),
        ("ethtool.k", offloads("tx-checksumming", "off"), "offloads", Warn, "ethtool -K eth1 tx on"),
        ("tc.j", r#"[{"kind":"tbf","root":true}]"#.into(), "qdisc", Warn, "tc qdisc del dev eth1 root"),
        (
            "tc.j",
            r#"[{"kind":"fq_codel","root":true}]"#.into(),
            "qdisc",
            Warn,
            "tc qdisc replace dev eth1 root mq",
        ),
        (
            "/proc/irq/92/effective_affinity_list",
            "9".into(),
            "irq_affinity",
            Warn,
            "for at in 92:13; do echo ${at#*:} > /proc/irq/${at%:*}/smp_affinity_list; done",
        ),
        (
            "/proc/irq/93/effective_affinity_list",
            "3".into(),
            "irq_affinity",
            Warn,
            "for at in 93:14; do echo ${at#*:} > /proc/irq/${at%:*}/smp_affinity_list; done",
        ),
        ("/sys/class/net/eth1/queues/tx-2/xps_cpus", "00000000".into(), "xps", Warn, XPS),
        ("/sys/class/net/eth1/queues/tx-0/xps_cpus", "00000000,00000f00".into(), "xps", Warn, XPS),
        ("/sys/class/net/eth1/queues/tx-0/xps_cpus", "00000000,00010100".into(), "xps", Pass, ""),
        (
            "/proc/sys/net/ipv4/tcp_wmem",
            "4096 16384 4194304".into(),
            "socket_buffers",
            Warn,
            "sysctl -w net.ipv4.tcp_wmem='4096 16384 8388608'",
        ),
        (
            "/proc/sys/net/ipv4/tcp_congestion_control",
            "vegas".into(),
            "congestion_control",
            Warn,
            "sysctl -w net.ipv4.tcp_congestion_control=cubic",
        ),
        ("timedatectl.show", "NTPSynchronized=no".into(), "clock", Warn, "timedatectl set-ntp true"),
        ("timedatectl.show", "NTP=yes\nCanNTP=yes\nNTPSynchronized=no".into(), "clock", Warn, ""),
        (
            "timedatectl.show",
            "CanNTP=no\nNTPSynchronized=no".into(),
            "clock",
            Warn,
            "apt-get install -y chrony",
        ),
        ("timedatectl.show", "?".into(), "clock", Warn, "apt-get install -y chrony"),
        (
            "/proc/sys/net/netfilter/nf_conntrack_max",
            "4000".into(),
            "conntrack",
            Warn,
            "sysctl -w net.netfilter.nf_conntrack_max=16384",
        ),
    ];
    faults
}

const XPS: &str = "echo 100 > /sys/class/net/eth1/queues/tx-0/xps_cpus; echo 200 > /sys/class/net/eth1/queues/tx-1/xps_cpus; \
                   echo 400 > /sys/class/net/eth1/queues/tx-2/xps_cpus; echo 800 > /sys/class/net/eth1/queues/tx-3/xps_cpus";

#[test]
fn each_fault_is_one_finding_with_its_remedy() {
    let fixture = Fixture::server();
    let good = fixture.check();
    for (place, text, name, verdict, remedy) in faults() {
        let path =
            if place.starts_with('/') { fixture.path(place) } else { fixture.path("programs").join(place) };
        let before = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text).unwrap();
        let report = fixture.check();
        std::fs::write(path, before).unwrap();
        let finding = found(&report, name);
        assert_eq!(
            (finding.verdict, finding.remedy.as_str()),
            (verdict, remedy),
            "{place} = {text}: {finding:?}"
        );
        for (before, after) in
            good.findings.iter().zip(&report.findings).filter(|(_, after)| after.name != name)
        {
            assert_eq!(before.verdict, after.verdict, "{place} = {text}: {after:?}");
        }
    }
}

#[test]
fn what_is_asked_for_beyond_the_machine_is_found() {
    let mut fixture = Fixture::server();
    fixture.asked.send_buffer_bytes = 1 << 20;
    let finding = found(&fixture.check(), "socket_buffers").clone();
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, "sysctl -w net.core.wmem_max=1048576"));
    assert!(finding.reason.contains("212992 bytes") || finding.reason.contains("208 KiB"), "{finding:?}");
    // Cores of the other node.
    fixture.asked.fan_out_cores = vec![0, 1];
    let finding = found(&fixture.check(), "numa").clone();
    assert_eq!(finding.verdict, Warn);
    assert!(finding.reason.contains("fan-out cores 0-1 are not"), "{finding:?}");
}

#[test]
fn packets_that_do_not_get_through_fail() {
    let fixture = Fixture::server();
    // The size is the twelfth word, without headers: IPv4's 28 bytes, IPv6's 48.
    fixture.script("ping", "#!/bin/sh\n[ ${13} = fd00::2 ] && exit 0\n[ ${12} -le 1472 ]\n");
    let finding = found(&fixture.check(), "path_mtu").clone();
    // Which end is wrong is not seen from here.
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Fail, ""));
    let told = "of 3 packets of 9000 bytes none gets through to 10.0.0.2, and those of 1500 do";
    assert!(finding.reason.contains(told), "{finding:?}");
    fixture.script("ping", "#!/bin/sh\nexit 1\n");
    let finding = found(&fixture.check(), "path_mtu").clone();
    assert_eq!((finding.verdict, finding.reason.contains("10.0.0.2, fd00::2: no answer")), (Warn, true));
    fixture.script("ping", "#!/bin/sh\necho ping: socktype: SOCK_RAW: Operation not permitted >&2\nexit 2\n");
    assert!(found(&fixture.check(), "path_mtu").reason.contains("Operation not permitted"));
}

#[test]
fn a_path_is_that_of_the_interface_and_one_lost_packet_is_none() {
    let mut fixture = Fixture::server();
    // Of three packets by eth1 one comes back; of one packet, or by another interface, none does.
    fixture.script("ping", "#!/bin/sh\n[ \"$3 $4 $9 ${10}\" = \"-c 3 -I eth1\" ]\n");
    assert_eq!(found(&fixture.check(), "path_mtu").verdict, Pass);
    // By where its packets go, an address of this machine or of another network is not on the link.
    fixture.script(
        "ip",
        "#!/bin/sh\n[ \"$2 $4\" = \"route fd00::2\" ] && exec cat $0.j\necho '[{\"dev\":\"lo\"}]'\n",
    );
    let finding = found(&fixture.check(), "path_mtu").clone();
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, ""));
    assert_eq!(finding.reason, "packets to 10.0.0.2 go over lo: it is this machine's own address");
    fixture.print("ip.j", r#"[{"dev":"eth7"}]"#);
    let finding = found(&fixture.check(), "path_mtu").clone();
    assert!(finding.reason.contains("packets to fd00::2 go over eth7, not over eth1"), "{finding:?}");
    fixture.print("ip.j", r#"[{"dev":"eth1"}]"#);
    // Where the machine's own address is known, it may be what chooses the way.
    fixture.asked.address = Some("10.0.0.1".parse().unwrap());
    fixture.script(
        "ip",
        "#!/bin/sh\n[ \"$*\" = \"-j route get 10.0.0.2 from 10.0.0.1\" ] && exec cat $0.j\nexit 2\n",
    );
    assert_eq!(found(&fixture.check(), "path_mtu").verdict, Pass);
    // Where nothing is known of the way, ping decides.
    fixture.script("ip", "#!/bin/sh\nexit 2\n");
    assert_eq!(found(&fixture.check(), "path_mtu").verdict, Pass);
}

#[test]
fn a_virtual_machine_lacks_much_and_fails_nothing() {
    let report = Fixture::virtual_host().check();
    let absent: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.verdict == Absent)
        .map(|finding| finding.name.as_str())
        .collect();
    let lacks = [
        "huge_pages",
        "governor",
        "cores",
        "smt",
        "isolated_cores",
        "link_speed",
        "rings",
        "irq_affinity",
        "xps",
        "numa",
        "conntrack",
    ];
    assert_eq!(absent, lacks, "{}", told(&report));
    assert!(
        report.findings.iter().all(|finding| matches!(finding.verdict, Pass | Absent)),
        "{}",
        told(&report)
    );
    assert_eq!(found(&report, "interface").reason, "eth1 (it has the default route) is up");
}

#[test]
fn everything_on_one_machine_has_no_interface_unless_asked_for() {
    let mut fixture = Fixture::virtual_host();
    fixture.asked.role = Role::Everything;
    fixture.write("/proc/sys/net/ipv4/tcp_wmem", "4096 16384 4194304");
    for interface in [None, Some("lo".to_owned())] {
        fixture.asked.interface.clone_from(&interface);
        let report = fixture.check();
        assert_eq!(report.interface, interface);
        for name in
            ["link_speed", "mtu", "path_mtu", "rings", "offloads", "qdisc", "irq_affinity", "xps", "numa"]
        {
            assert_eq!(found(&report, name).verdict, Absent, "{name}");
        }
    }
}

#[test]
fn huge_pages_count_where_the_threads_are() {
    let mut fixture = Fixture::server();
    let folder = |node| format!("/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB");
    // Threads that are pinned nowhere may be at either node.
    fixture.asked.fan_out_cores.clear();
    let finding = found(&fixture.check(), "huge_pages").clone();
    assert_eq!(
        (finding.verdict, finding.remedy.clone()),
        (Warn, format!("echo 8 > {}/nr_hugepages", folder(0)))
    );
    fixture.mend(&finding.remedy);
    fixture.write(&format!("{}/free_hugepages", folder(0)), "8");
    assert_eq!(found(&fixture.check(), "huge_pages").verdict, Pass);
    // Without word of each node, as many are needed as `apply` asks for: the kernel spreads them.
    for node in 0..2 {
        std::fs::remove_dir_all(fixture.path(&folder(node))).unwrap();
    }
    let finding = found(&fixture.check(), "huge_pages").clone();
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, "sysctl -w vm.nr_hugepages=22"));
    fixture.write("/sys/devices/system/node/online", "0");
    assert_eq!(found(&fixture.check(), "huge_pages").verdict, Pass);
}

#[test]
fn limits_are_those_of_whoever_is_looked_at() {
    let fixture = Fixture::server();
    let low = "Max open files 1024 4096 files\nMax locked memory 8388608 8388608 bytes";
    fixture.write("/proc/self/limits", low);
    let status = |uid: u32, rights: u64| {
        fixture.write("/proc/self/status", &format!("Uid:\t7\t{uid}\t7\t7\nCapEff:\t{rights:016x}"));
        let report = fixture.check();
        ["memlock", "open_files"].map(|name| found(&report, name).clone())
    };
    let [memlock, files] = status(1000, 0);
    assert!(memlock.reason.starts_with("this process (uid 1000) may lock 8 MiB"), "{memlock:?}");
    assert!(memlock.reason.contains("a service has LimitMEMLOCK= of its unit"), "{memlock:?}");
    assert_eq!(
        memlock.remedy,
        "echo ':1000 - memlock 32768' > /etc/security/limits.d/61-twincast-memlock.conf"
    );
    assert_eq!(
        files.remedy,
        "echo ':1000 hard nofile 16448' > /etc/security/limits.d/61-twincast-nofile.conf"
    );
    // Root of a container: no command of its own raises anything.
    let [memlock, files] = status(0, 0);
    assert_eq!((memlock.remedy.as_str(), files.remedy.as_str()), ("", ""));
    assert!(memlock.reason.ends_with("started with --ulimit memlock=33554432"), "{memlock:?}");
    // Above what anybody may have.
    fixture.write("/proc/sys/fs/nr_open", "10000");
    let [_, files] = status(0, 1 << 24);
    assert_eq!(files.remedy, "sysctl -w fs.nr_open=16448 && ulimit -n 16448");
}

#[test]
fn a_kernel_that_lets_the_privileged_alone_make_rings_warns() {
    let fixture = Fixture::server();
    assert_eq!(found(&fixture.check(), "io_uring").reason, "this process (uid 0) made a ring");
    fixture.write("/proc/sys/kernel/io_uring_disabled", "1");
    fixture.write("/proc/sys/kernel/io_uring_group", "-1");
    let finding = found(&fixture.check(), "io_uring").clone();
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, "sysctl -w kernel.io_uring_disabled=0"));
    assert!(finding.reason.contains("kernel.io_uring_group (none is set)"), "{finding:?}");
    fixture.write("/proc/sys/kernel/io_uring_group", "998");
    assert!(found(&fixture.check(), "io_uring").reason.contains("kernel.io_uring_group (998)"));
}

#[test]
fn powersave_is_the_lowest_frequency_except_where_the_hardware_chooses() {
    let fixture = Fixture::server();
    for (driver, verdict) in
        [("amd-pstate", Fail), ("amd-pstate-epp", Warn), ("intel_pstate", Warn), ("intel_cpufreq", Fail)]
    {
        for core in 0..32 {
            let folder = format!("/sys/devices/system/cpu/cpu{core}/cpufreq");
            fixture.write(&format!("{folder}/scaling_governor"), "powersave");
            fixture.write(&format!("{folder}/scaling_driver"), driver);
        }
        assert_eq!(found(&fixture.check(), "governor").verdict, verdict, "{driver}");
    }
}

#[test]
fn what_mends_a_kernel_or_a_clock_is_what_the_distribution_has() {
    let fixture = Fixture::server();
    fixture.write("/proc/sys/kernel/osrelease", "5.15.0-1-generic");
    for (text, remedy) in [
        (
            "ID=ubuntu\nID_LIKE=debian",
            "apt-get update && apt-get install -y linux-generic-hwe-$(. /etc/os-release; echo $VERSION_ID)",
        ),
        ("ID=debian", ""),
        ("ID=fedora", "dnf upgrade -y kernel"),
        ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"", ""),
    ] {
        fixture.write("/etc/os-release", text);
        let finding = found(&fixture.check(), "kernel").clone();
        assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, remedy), "{text}");
        assert_eq!(
            finding.reason.contains("a newer release of the distribution"),
            remedy.is_empty(),
            "{text}"
        );
    }
    fixture.print("timedatectl.show", "NTPSynchronized=no");
    fixture.print("chronyc.tracking", "Leap status     : Not synchronised");
    let remedy = "chronyc online; chronyc burst 4/8; chronyc waitsync 6";
    assert_eq!(found(&fixture.check(), "clock").remedy, remedy);
}

#[test]
fn programs_that_are_not_there_warn_with_what_installs_them() {
    let fixture = Fixture::server();
    std::fs::remove_dir_all(fixture.path("programs")).unwrap();
    let report = fixture.check();
    for (name, remedy) in [
        ("path_mtu", "apt-get install -y iputils-ping"),
        ("rings", "apt-get install -y ethtool"),
        ("offloads", "apt-get install -y ethtool"),
        ("qdisc", "apt-get install -y iproute2"),
        ("clock", "apt-get install -y chrony"),
    ] {
        let finding = found(&report, name);
        assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, remedy), "{finding:?}");
    }
    assert_eq!(report.failures().count(), 0);
}

#[test]
fn no_ring_fails_with_why() {
    let fixture = Fixture::server();
    let report = |ring| check_with(&fixture.system(), &fixture.asked, &ring).unwrap();
    let refused = |code| RingError::Unavailable(std::io::Error::from_raw_os_error(code));
    let missing = report(Err(refused(38)));
    assert_eq!(
        (found(&missing, "io_uring").verdict, found(&missing, "io_uring_operations").verdict),
        (Fail, Absent)
    );
    assert!(found(&missing, "io_uring").reason.contains("built without io_uring"));
    assert!(found(&report(Err(refused(1))), "io_uring").reason.contains("seccomp"));
    fixture.write("/proc/sys/kernel/io_uring_disabled", "2");
    let disabled = report(Err(refused(1)));
    assert_eq!(found(&disabled, "io_uring").remedy, "sysctl -w kernel.io_uring_disabled=0");
    let old = Support { zero_copy: false, setup_lacks: Some("single issuer"), ..whole_ring() };
    let finding = found(&report(Ok(old)), "io_uring_operations").clone();
    assert_eq!(finding.verdict, Warn);
    assert!(finding.reason.contains("without single issuer, and without SEND_ZC"), "{finding:?}");
    assert_eq!(found(&report(Err(RingError::TooOld("SEND"))), "io_uring_operations").verdict, Fail);
}

#[test]
fn a_file_that_cannot_be_read_fails_nothing() {
    let fixture = Fixture::server();
    // One core is as good as another.
    let is_further_core = |path: &str| (1..32).any(|core| path.contains(&format!("/cpu/cpu{core}/")));
    for path in fixture.files().into_iter().filter(|path| !is_further_core(path.to_str().unwrap())) {
        let text = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let report = fixture.check();
        assert_eq!(report.failures().count(), 0, "{}: {}", path.display(), told(&report));
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    assert!(fixture.check().findings.iter().all(|finding| finding.verdict == Pass));
}

#[test]
fn garbage_panics_nowhere() {
    let garbage: [&[u8]; 7] =
        [b"", b"\xff\xfe", b"-1", b"99999999999999999999999", b"[", b"0-18446744073709551615", b":::,,,--[]"];
    for seed in 0..24_u64 {
        let fixture = Fixture::server();
        let mut state = seed;
        // SplitMix64.
        let mut draw = |below: usize| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) as usize % below
        };
        for path in fixture.files() {
            let mut bytes = std::fs::read(&path).unwrap();
            match draw(4) {
                0 => bytes = garbage[draw(garbage.len())].to_vec(),
                1 => bytes.truncate(draw(bytes.len() + 1)),
                2 => (0..4).for_each(|_| {
                    if !bytes.is_empty() {
                        let at = draw(bytes.len());
                        bytes[at] = draw(256) as u8
                    }
                }),
                _ => {}
            }
            std::fs::write(path, bytes).unwrap();
        }
        let outcome = std::panic::catch_unwind(|| drop(fixture.try_check()));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_document_has_every_finding_and_no_other() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/CHECKS.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let report = Fixture::server().check();
    let names: Vec<&str> = report.findings.iter().map(|finding| finding.name.as_str()).collect();
    assert_eq!(rows.collect::<Vec<_>>(), names);
}
