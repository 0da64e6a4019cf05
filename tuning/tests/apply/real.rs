//! The real binary: on this machine without a change, and on a real kernel in a network namespace of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};
use twincast_tune::apply::PROFILES;

const BINARY: &str = env!("CARGO_BIN_EXE_twincast-tune");

const PROFILE: &str = r#"about = "a veth pair"
[sysctl]
"net.ipv4.tcp_slow_start_after_idle" = 0
"net.ipv4.tcp_wmem" = { at_least = "4096 65536 16777216" }
"net.ipv4.tcp_max_syn_backlog" = 4321
[interface]
mtu = 9000
txqueuelen = 1234
offloads = { tso = false }
rings = { rx = "max" }
"#;

/// What the profile sets, as the kernel says it.
const STATE: &str = "cat /proc/sys/net/ipv4/tcp_slow_start_after_idle /proc/sys/net/ipv4/tcp_wmem \
    /proc/sys/net/ipv4/tcp_max_syn_backlog /sys/class/net/v0/mtu /sys/class/net/v0/tx_queue_len; \
    ethtool -k v0 | grep tcp-segmentation-offload";

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A network namespace with a veth pair; gone with the value.
struct Namespace(String);

impl Namespace {
    /// None where this user may not make one, or tools are missing: the test says so and passes.
    fn new(name: &str) -> Option<Namespace> {
        let name = format!("twincast-apply-{}-{name}", std::process::id());
        let works = |program: &str, words: &[&str]| {
            Command::new(program).args(words).output().is_ok_and(|output| output.status.success())
        };
        if std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().is_empty() {
            eprintln!("not run: this machine has no number, without which no profile is applied");
            return None;
        }
        if !works("ip", &["netns", "add", &name]) {
            eprintln!("not run: no network namespace can be made here");
            return None;
        }
        let namespace = Namespace(name);
        let made =
            works("ip", &["-n", &namespace.0, "link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
        if !made || !works("ethtool", &["--version"]) {
            eprintln!("not run: no veth pair, or no ethtool");
            return None;
        }
        Some(namespace)
    }

    fn run(&self, shell: &str) -> Output {
        Command::new("ip").args(["netns", "exec", &self.0, "sh", "-c", shell]).output().unwrap()
    }

    fn state(&self) -> String {
        text(&self.run(STATE))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("veth.toml"), PROFILE).unwrap();
    let path = folder.path().display().to_string();
    (folder, path)
}

#[test]
fn a_real_kernel_takes_a_profile_and_is_brought_back() {
    let Some(namespace) = Namespace::new("whole") else { return };
    let (_folder, at) = folder();
    let before = namespace.state();
    let apply = format!("{BINARY} apply --profile {at}/veth.toml --interface v0 --undo {at}/undo.json");
    let output = namespace.run(&apply);
    assert!(output.status.success(), "{}", text(&output));
    let told = text(&output);
    for said in [
        "MTU of v0: 1500 -> 9000",
        "offload tso of v0: on -> off",
        "net.ipv4.tcp_max_syn_backlog: ",
        "not on this machine: rx ring of v0",
        "read back",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let after = namespace.state();
    assert!(after.contains("9000\n1234\n") && after.contains("offload: off"), "{after}");
    let output = namespace.run(&format!("{BINARY} apply --undo {at}/undo.json"));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(namespace.state(), before);
    let output = namespace.run(&format!("{BINARY} apply --undo {at}/undo.json"));
    assert!(text(&output).contains("nothing is left to undo"), "{}", text(&output));
}

#[test]
fn a_signal_between_two_changes_brings_a_real_kernel_back() {
    let Some(namespace) = Namespace::new("signal") else { return };
    let (_folder, at) = folder();
    let before = namespace.state();
    // Ends the program that started it, and does what it was asked for.
    let script =
        "#!/bin/sh\nif [ \"$1\" = -K ]; then kill -TERM $PPID; fi\nPATH=${PATH#*:} exec ethtool \"$@\"\n";
    std::fs::write(Path::new(&at).join("ethtool"), script).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(Path::new(&at).join("ethtool"), mode).unwrap();
    let apply = format!(
        "PATH={at}:$PATH {BINARY} apply --profile {at}/veth.toml --interface v0 --undo {at}/undo.json"
    );
    let output = namespace.run(&apply);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("stopped by a signal") && told.contains("everything is as it was before"),
        "{told}"
    );
    assert_eq!(namespace.state(), before);
    assert!(!Path::new(&at).join("undo.json").exists());
}

#[test]
fn every_profile_is_told_on_this_machine_without_privilege() {
    for (name, _) in PROFILES {
        let output = Command::new(BINARY).args(["apply", "--profile", name, "--dry-run"]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output));
        assert!(text(&output).contains("nothing was changed (--dry-run)"), "{name}: {}", text(&output));
    }
}

#[test]
fn nobody_may_change_nothing_and_is_told_the_command() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("not run: only root can become nobody");
    }
    let folder = tempfile::tempdir().unwrap();
    let open = || std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open()).unwrap();
    // Where the build is, nobody may not be able to look.
    let binary = folder.path().join("twincast-tune");
    std::fs::copy(BINARY, &binary).unwrap();
    std::fs::set_permissions(&binary, open()).unwrap();
    std::fs::write(
        folder.path().join("p.toml"),
        "about = \"x\"\n[sysctl]\n\"net.ipv4.tcp_max_syn_backlog\" = 4321\n",
    )
    .unwrap();
    let mut command = Command::new(&binary);
    command.args(["apply", "--profile", "./p.toml"]).current_dir(folder.path()).uid(65_534).gid(65_534);
    let output = command.output().unwrap();
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("no privilege to change net.ipv4.tcp_max_syn_backlog"), "{told}");
    assert!(
        told.contains("run `sudo twincast-tune apply --profile ./p.toml`; nothing was changed"),
        "{told}"
    );
}

/// MTUs, and the qdiscs that somebody may have set.
const STACK_STATE: &str =
    "cat /sys/class/net/v0/mtu /sys/class/net/mv0/mtu; tc qdisc show dev v0; tc qdisc show dev mv0";

#[test]
fn a_macvlan_and_what_it_lies_on_have_large_packets_and_are_brought_back() {
    let Some(namespace) = Namespace::new("stack") else { return };
    let made = namespace.run(
        "ip link add link v0 name mv0 type macvlan && ip link set v1 up && ip link set v0 up && ip link set mv0 up",
    );
    if !made.status.success() {
        return eprintln!("not run: no macvlan can be made here: {}", text(&made));
    }
    let (_folder, at) = folder();
    let before = text(&namespace.run(STACK_STATE));
    for (mtu, interfaces, after) in [
        (9000, "--interface mv0", "9000\n9000\n"),
        (1400, "--interface mv0", "1500\n1400\n"),
        // Whatever their names: the kernel allows no larger packets above than below.
        (1400, "--interface v0 --interface mv0", "1400\n1400\n"),
        (9000, "--interface v0 --interface mv0", "9000\n9000\n"),
    ] {
        let profile = format!("about = \"x\"\n[interface]\nmtu = {mtu}\nqdisc = \"mq\"\n");
        std::fs::write(Path::new(&at).join("stack.toml"), profile).unwrap();
        let undo = format!("{at}/undo-{mtu}-{}.json", interfaces.len());
        let output =
            namespace.run(&format!("{BINARY} apply --profile {at}/stack.toml {interfaces} --undo {undo}"));
        let told = text(&output);
        assert!(output.status.success(), "{mtu} {interfaces}: {told}");
        assert!(told.contains("left out: qdisc of v0: a virtual interface"), "{told}");
        let now = text(&namespace.run(STACK_STATE));
        assert!(now.starts_with(after), "{mtu} {interfaces}: {now}");
        let output = namespace.run(&format!("{BINARY} apply --undo {undo}"));
        assert!(output.status.success(), "{mtu} {interfaces}: {}", text(&output));
        assert_eq!(text(&namespace.run(STACK_STATE)), before, "{mtu} {interfaces}");
    }
}

#[test]
fn what_a_kernel_refuses_is_told_with_what_to_do() {
    let Some(namespace) = Namespace::new("refuses") else { return };
    let (_folder, at) = folder();
    // Nothing says how large packets may be.
    std::fs::write(Path::new(&at).join("ip"), "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(Path::new(&at).join("ip"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let profile = "about = \"x\"\n[interface]\ntxqueuelen = 1234\nmtu = 65536\n";
    std::fs::write(Path::new(&at).join("large.toml"), profile).unwrap();
    let before = namespace.state();
    let output = namespace.run(&format!(
        "PATH={at}:$PATH {BINARY} apply --profile {at}/large.toml --interface v0 --undo {at}/undo.json"
    ));
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for said in [
        "/sys/class/net/v0/mtu: Invalid argument",
        "takes no packets of 65536 bytes; give another `mtu`, or none, in a copy of the profile",
        "everything is as it was before",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert_eq!(namespace.state(), before);
}
