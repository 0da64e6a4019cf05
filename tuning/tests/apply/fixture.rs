use crate::machine::Machine;
use std::os::unix::fs::PermissionsExt as _;
use twincast_tune::TuneError;
use twincast_tune::apply::PROFILES;

/// Everything there is to set, each to another value.
const ALL: &str = r#"about = "everything"
[sysctl]
"net.core.wmem_max" = 16777216
"net.core.rmem_max" = { at_least = 16777216 }
"net.ipv4.tcp_wmem" = { at_least = "4096 65536 100" }
"net.ipv4.tcp_congestion_control" = "cubic"
[interface]
mtu = 16000
rings = { rx = "max", tx = 8192 }
offloads = { tso = true, gso = true, lro = true }
coalesce = { adaptive-rx = true, tx-usecs = 8 }
qdisc = "mq"
txqueuelen = 2000
[affinity]
irq = "away"
xps = "fan-out"
[cpu]
governor = "performance"
[memory]
huge_pages = "slab-pools"
[limits]
memlock = "unlimited"
nofile = 65536
"#;

const SERVER: &str = "side = 1\nlisten = \"127.0.0.1:1\"\n[fan_out]\nthreads = 2\ncores = [0, 1]\n[[groups]]\nid = 0\nmembers = 3\n";

pub(crate) const LINE: &str = "--profile {}/all.toml --interface eth1 --config {}/server.toml";

pub(crate) fn machine() -> Machine {
    let machine = Machine::new();
    machine.write("all.toml", ALL);
    machine.write("server.toml", SERVER);
    machine
}

#[test]
fn a_profile_is_told_applied_and_undone_and_everything_is_as_before() {
    let machine = machine();
    let before = machine.everything();
    let dry = machine.printed(&format!("{LINE} --dry-run"));
    for said in [
        "would change 15 settings:",
        "  net.core.wmem_max: 212992 -> 16777216\n",
        "  net.ipv4.tcp_wmem: 4096 16384 4194304 -> 4096 65536 4194304\n",
        // Two are used by others; two pools of two pages each are wanted.
        "  vm.nr_hugepages: 3 -> 6\n",
        "    * hard memlock unlimited\n",
        // Logins may have more open than that already, and keep it.
        "    root hard memlock unlimited\n    * hard nofile 1048576\n    root hard nofile 1048576\n",
        "  rx ring of eth1: 512 -> 4096\n",
        "  tx ring of eth1: 512 -> 2048 (the profile asks for 8192; 2048 is the most here)\n",
        "  MTU of eth1: 1500 -> 9000 (the profile asks for 16000; 9000 is the most here)\n",
        "  offload tso of eth1: off -> on\n",
        "  adaptive-rx of eth1: off -> on\n",
        "  qdisc of eth1: fq_codel -> mq\n",
        "  cores that send on queue 1 of eth1: none -> 1\n",
        "  cores of interrupt 40 of eth1: 0-3 -> 2\n",
        "  cores of interrupt 41 of eth1: 0-3 -> 3\n",
        "not on this machine: net.ipv4.tcp_congestion_control",
        "not on this machine: offload lro of eth1 (the driver fixes it off)",
        "not on this machine: tx-usecs of eth1",
        "not on this machine: governor (no core has one",
        "as it is already: 2 settings",
        "note: every machine on the link of eth1 needs this MTU",
    ] {
        assert!(dry.contains(said), "{said}: {dry}");
    }
    assert_eq!(machine.everything(), before, "--dry-run changed something");

    let told = machine.printed(&format!("{LINE} --undo {{}}/undo.json"));
    assert!(told.contains("done: 15 settings changed and read back"), "{told}");
    for (path, value) in [
        ("root/proc/sys/net/core/wmem_max", "16777216"),
        ("root/sys/class/net/eth1/mtu", "9000"),
        ("root/sys/class/net/eth1/queues/tx-1/xps_cpus", "00000002"),
        ("root/proc/irq/40/smp_affinity_list", "2"),
        ("programs/state/tx", "2048"),
        ("programs/state/qdisc", "mq 8001:"),
    ] {
        assert_eq!(machine.read(path), value, "{path}");
    }
    let mode = std::fs::metadata(machine.path("undo.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Huge pages were set aside, which no file here shows by itself.
    machine.write("root/proc/meminfo", "HugePages_Total: 6\nHugePages_Free: 4\nHugepagesize: 2048 kB\n");
    let again = machine.printed(&format!("{LINE} --undo {{}}/again.json"));
    assert!(again.contains("changes: none") && !machine.path("again.json").exists(), "{again}");
    machine.write("root/proc/meminfo", before[&machine.path("root/proc/meminfo")].as_str());

    let dry = machine.printed("--undo {}/undo.json --dry-run");
    assert!(
        dry.contains("would put back 15 settings:") && dry.contains("  MTU of eth1: 9000 -> 1500"),
        "{dry}"
    );
    assert_eq!(machine.read("root/sys/class/net/eth1/mtu"), "9000");
    let undone = machine.printed("--undo {}/undo.json");
    assert!(undone.contains("done: 15 settings as before"), "{undone}");
    assert_eq!(machine.everything(), before);
    let twice = machine.printed("--undo {}/undo.json");
    assert!(twice.contains("nothing is left to undo"), "{twice}");
}

#[test]
fn a_change_that_fails_or_a_signal_puts_everything_back() {
    let machine = machine();
    let before = machine.everything();
    machine.write("programs/state/broken", "-C eth1");
    let refusal = machine.refused(LINE);
    assert!(
        refusal.contains("`ethtool -C eth1 adaptive-rx on`: netlink error: Invalid argument"),
        "{refusal}"
    );
    assert!(refusal.contains("everything is as it was before, and there is no undo file"), "{refusal}");
    machine.write("programs/state/broken", "nothing is broken");
    assert_eq!(machine.everything(), before);
    for looks in [0, 1, 7, 15] {
        let (_, end) = machine.apply_until(LINE, looks);
        let refusal = end.unwrap_err().to_string();
        assert!(refusal.starts_with("stopped by a signal after"), "{looks}: {refusal}");
        assert_eq!(machine.everything(), before, "after {looks} changes");
    }
    // What was put back by nobody is named, and the undo file stays.
    machine.write("programs/state/broken", "tso off");
    let (_, end) = machine.apply_until(&format!("{LINE} --undo {{}}/undo.json"), 12);
    let refusal = end.unwrap_err().to_string();
    assert!(refusal.contains("this could not be put back: offload tso of eth1 (was off)"), "{refusal}");
    machine.write("programs/state/broken", "nothing is broken");
    machine.printed("--undo {}/undo.json");
    assert_eq!(machine.everything(), before);
}

#[test]
fn a_value_that_the_kernel_does_not_take_is_noticed() {
    let machine = machine();
    // A ring that stays as it is, whatever it is told.
    let program = machine.read("programs/ethtool").replace("-G|-K", "-G) ;;\n-K");
    machine.write("programs/ethtool", &program);
    let before = machine.everything();
    let refusal = machine.refused(LINE);
    assert!(refusal.contains("rx ring of eth1: 4096 was set, and it is 512 now"), "{refusal}");
    assert_eq!(machine.everything(), before);
}

#[test]
fn wrong_calls_are_refused_by_name_before_anything_is_changed() {
    let machine = machine();
    machine.write("unknown.toml", "about = \"x\"\n[interface]\nmut = 9000\n");
    machine.write("exists.json", "{}");
    machine.write("bad-server.toml", "side = 9\n");
    let before = machine.everything();
    for (words, said) in [
        ("--profile 40g", "there is no profile \"40g\": there are default, 10g, 25g-and-up"),
        ("--profile {}/none.toml", "none.toml: No such file"),
        ("--profile {}/unknown.toml", "unknown.toml:3: unknown field `mut`, expected one of `mtu`, `rings`"),
        (
            "--profile {}/all.toml --interface eth9",
            "--interface eth9: there is no such interface on this machine; those that can be tuned here: eth1",
        ),
        ("--profile {}/all.toml --interface ../x", "is no name of an interface; those"),
        ("--profile {}/all.toml --interface lo", "nothing to tune"),
        (
            "--profile {}/all.toml --undo {}/exists.json",
            "is there already, and may be all that undoes an earlier profile",
        ),
        ("--profile {}/all.toml --undo {}/no/such.json", "nothing was changed: name a file in a folder"),
        ("--profile {}/all.toml --config {}/bad-server.toml", "bad-server.toml: "),
        ("--show 40g", "there is no profile"),
        ("--undo {}/none.json", "none.json: No such file"),
    ] {
        let refusal = machine.refused(words);
        assert!(refusal.contains(said), "{words}: {refusal}");
        assert_eq!(machine.everything(), before, "{words}");
    }
    std::fs::remove_file(machine.path("programs/ethtool")).unwrap();
    let refusal = machine.refused(LINE);
    assert!(refusal.contains("`apt-get install ethtool`; nothing was changed"), "{refusal}");
}

#[test]
fn what_somebody_has_set_is_left_to_them() {
    let machine = machine();
    machine.write("programs/state/qdisc", "htb 1:");
    machine.write("root/etc/security/limits.d/60-twincast.conf", "* hard nofile 3\n");
    let dry = machine.printed(&format!("{LINE} --dry-run"));
    assert!(dry.contains("left out: qdisc of eth1: somebody has set htb there"), "{dry}");
    let refusal = machine.refused(LINE);
    assert!(refusal.contains("60-twincast.conf is there and was not written by twincast-tune"), "{refusal}");

    std::fs::remove_file(machine.path("root/etc/security/limits.d/60-twincast.conf")).unwrap();
    machine.printed(&format!("{LINE} --undo {{}}/undo.json"));
    machine.write("root/sys/class/net/eth1/mtu", "4000\n");
    let told = machine.printed("--undo {}/undo.json");
    assert!(
        told.contains("left alone: MTU of eth1 is 4000 now, which the profile did not set (it set 9000"),
        "{told}"
    );
    assert_eq!(machine.read("root/sys/class/net/eth1/mtu"), "4000");
    machine.printed("--undo {}/undo.json --force");
    assert_eq!(machine.read("root/sys/class/net/eth1/mtu"), "1500");
}

#[test]
fn an_undo_file_is_for_its_machine_and_for_its_boot() {
    let machine = machine();
    machine.printed(&format!("{LINE} --undo {{}}/undo.json"));
    let applied = machine.everything();
    machine.write("root/etc/machine-id", "4567\n");
    machine.write("root/proc/sys/kernel/hostname", "node-2\n");
    let refusal = machine.refused("--undo {}/undo.json");
    assert!(refusal.contains("was written on another machine, node-1, and this is node-2"), "{refusal}");
    machine.write("root/etc/machine-id", "0123\n");
    machine.write("root/proc/sys/kernel/hostname", "node-1\n");
    assert_eq!(machine.everything(), applied);
    machine.write("root/proc/sys/kernel/random/boot_id", "second\n");
    let told = machine.printed("--undo {}/undo.json");
    assert!(told.contains("this machine has restarted since, which took 14 settings back"), "{told}");
    assert!(
        told.contains("60-twincast.conf: is removed") && told.contains("done: 1 setting as before"),
        "{told}"
    );
    assert_eq!(machine.read("root/sys/class/net/eth1/mtu"), "9000");
}

#[test]
fn a_hostile_undo_file_reaches_nothing() {
    let machine = machine();
    machine.printed(&format!("{LINE} --undo {{}}/undo.json"));
    let good = machine.read("undo.json");
    let file = |text: &str, mode: u32| {
        machine.write("bad.json", text);
        std::fs::set_permissions(machine.path("bad.json"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let applied = machine.everything();
    for (from, to) in [
        ("net.core.wmem_max", "kernel.core_pattern"),
        ("net.core.wmem_max", "net.core.../../kernel/core_pattern"),
        ("\"212992\"", "\"|/bin/sh\""),
        ("\"interface\": \"eth1\"", "\"interface\": \"../../../etc\""),
        ("\"interface\": \"eth1\"", "\"interface\": \"--help\""),
        ("\"name\": \"tso\"", "\"name\": \"ntuple\""),
        ("\"before\": \"fq_codel\"", "\"before\": \"fq;reboot\""),
        ("\"after\": \"mq\"", "\"after\": \"netem\""),
        ("\"irq\": 40", "\"irq\": \"40/../..\""),
        ("login_limits", "any_file"),
        ("\"before\": \"\"", "\"before\": \"* hard nproc 9\""),
        ("\"host\"", "\"path\": \"/etc/passwd\", \"host\""),
        ("twincast-undo/1", "twincast-undo/2"),
        ("{", "["),
    ] {
        assert!(good.contains(from), "{from}: {good}");
        file(&good.replacen(from, to, 1), 0o600);
        let refusal = machine.refused("--undo {}/bad.json --force");
        assert!(refusal.contains("nothing was changed"), "{to}: {refusal}");
        assert_eq!(machine.everything(), applied, "{to}");
    }
    file(&good, 0o622);
    let refusal = machine.refused("--undo {}/bad.json");
    assert!(refusal.contains("can be written by others (mode 0622)"), "{refusal}");
    std::os::unix::fs::symlink(machine.path("undo.json"), machine.path("link.json")).unwrap();
    let refusal = machine.refused("--undo {}/link.json");
    assert!(refusal.contains("is a symbolic link"), "{refusal}");
    assert!(machine.refused("--undo /dev/zero").contains("no undo file"));
    assert_eq!(machine.everything(), applied);
}

#[test]
fn without_a_configuration_or_an_interface_what_needs_them_is_left_out() {
    let machine = machine();
    let told = machine.printed("--profile {}/all.toml --interface eth1 --dry-run");
    assert!(
        told.contains("left out: XPS of eth1: no --config FILE says where fan-out threads run"),
        "{told}"
    );
    let told = machine.printed("--profile {}/all.toml --dry-run");
    assert!(told.contains("left out: what the profile sets on an interface"), "{told}");
    assert!(!told.contains("eth1"), "{told}");
    // Queues that change have no affinity yet.
    machine.write(
        "queues.toml",
        "about = \"x\"\n[interface]\nchannels = \"fan-out\"\n[affinity]\nxps = \"spread\"\n",
    );
    let told =
        machine.printed("--profile {}/queues.toml --interface eth1 --config {}/server.toml --undo {}/u.json");
    assert!(
        told.contains("channels of eth1: 4 -> 2") && told.contains("left out: affinity of eth1"),
        "{told}"
    );
    let told =
        machine.printed("--profile {}/queues.toml --interface eth1 --config {}/server.toml --undo {}/v.json");
    assert!(told.contains("cores that send on queue 0 of eth1: none -> 0,2"), "{told}");
}

#[test]
fn privileges_are_missed_before_anything_is_changed() {
    let machine = machine();
    machine.write("root/proc/self/status", "CapEff:\t0000000000000000\n");
    let before = machine.everything();
    let (told, end) = machine.apply(LINE);
    let refusal = end.unwrap_err();
    assert!(matches!(refusal, TuneError::Failed(_)));
    assert!(refusal.to_string().contains("needs CAP_NET_ADMIN"), "{refusal}");
    assert!(refusal.to_string().ends_with("nothing was changed"), "{refusal}");
    assert!(told.contains("changes 15 settings:"), "{told}");
    assert_eq!(machine.everything(), before);
}

#[test]
fn profiles_are_listed_shown_and_read_on_this_machine_without_a_change() {
    let machine = machine();
    let list = machine.printed("--list");
    assert_eq!(list.lines().count(), PROFILES.len());
    for (name, text) in PROFILES {
        assert!(list.contains(name), "{list}");
        assert_eq!(machine.printed(&format!("--show {name}")).trim(), text.trim());
        let told = machine
            .printed(&format!("--profile {name} --interface eth1 --config {{}}/server.toml --dry-run"));
        assert!(told.contains("nothing was changed (--dry-run)"), "{told}");
    }
}
