//! What the profiles that come along do for a server, and what they leave alone.

use crate::fixture::machine;
use crate::machine::Machine;
use twincast_node::{Asked, Role, Verdict, check};
use twincast_tune::apply::PROFILES;

const LIMITS: &str = "root/etc/security/limits.d/60-twincast.conf";

/// `/proc/self/limits` of a login with these limits, memory in bytes.
fn login(machine: &Machine, memlock: &str, files: &str) {
    let text = format!(
        "Max locked memory         {memlock}              {memlock}              bytes\nMax open files            1024                 {files}              files\n"
    );
    machine.write("root/proc/self/limits", &text);
}

/// The limit that the file gives everybody.
fn given(text: &str, kind: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("* {kind} {name} ")));
    line.map(str::to_owned)
}

#[test]
fn with_the_limits_of_each_profile_a_server_is_well() {
    for (name, _) in PROFILES {
        let machine = machine();
        machine.write("root/proc/self/status", "CapEff:\t00000000000013ff\n");
        // Of a login that nobody has given anything.
        login(&machine, "65536", "1024");
        machine.printed(&format!("--profile {name} --undo {{}}/undo.json"));
        let text = machine.read(LIMITS);
        let memlock = given(&text, "soft", "memlock").unwrap();
        let bytes = memlock.parse::<u64>().map_or(memlock, |kib| (kib * 1024).to_string());
        login(&machine, &bytes, &given(&text, "hard", "nofile").unwrap());
        for role in [Role::Server, Role::Everything] {
            let report = check(&machine.system, &Asked::new(role)).unwrap();
            for finding in
                report.findings.iter().filter(|each| ["memlock", "open_files"].contains(&each.name.as_str()))
            {
                assert_eq!(finding.verdict, Verdict::Pass, "{name}, {role:?}: {finding:?}");
            }
        }
        // A soft limit above 1,024 breaks programs that use select().
        assert_eq!(given(&text, "soft", "nofile"), None, "{name}");
    }
}

#[test]
fn memory_that_may_be_locked_is_what_a_program_starts_with() {
    let machine = machine();
    machine.write(
        "root/proc/self/limits",
        "Max locked memory         8388608              unlimited            bytes\nMax open files            1024                 1048576              files\n",
    );
    machine.printed("--profile default --undo {}/undo.json");
    assert_eq!(given(&machine.read(LIMITS), "soft", "memlock"), Some("unlimited".into()));
}

#[test]
fn a_limit_with_which_nobody_could_log_in_is_refused() {
    let machine = machine();
    machine.write("p.toml", "about = \"x\"\n[limits]\nnofile = 5000000\n");
    let before = machine.everything();
    let refusal = machine.refused("--profile {}/p.toml");
    assert!(refusal.contains("the kernel lets a process have 1048576 open files (fs.nr_open)"), "{refusal}");
    assert!(refusal.contains("`sysctl -w fs.nr_open=5000000` first"), "{refusal}");
    let told = machine.printed("--profile {}/p.toml --dry-run");
    assert!(told.contains("would be refused: `nofile` of the profile is 5000000"), "{told}");
    assert_eq!(machine.everything(), before);
    // One that logins have from before, and that the kernel does not bear any more.
    login(&machine, "65536", "3000000");
    machine.printed("--profile default --undo {}/undo.json");
    assert_eq!(given(&machine.read(LIMITS), "hard", "nofile"), Some("1048576".into()));
}

#[test]
fn what_a_machine_has_is_not_made_less() {
    let machine = machine();
    machine.write("root/proc/sys/net/ipv4/ip_local_port_range", "1024\t65535\n");
    let told = machine.printed("--profile large-groups --dry-run");
    assert!(!told.contains("ip_local_port_range"), "{told}");
    machine.write("root/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
    let told = machine.printed("--profile large-groups --dry-run");
    assert!(told.contains("  net.ipv4.ip_local_port_range: 32768 60999 -> 10240 65535\n"), "{told}");
}

#[test]
fn nothing_is_set_that_nothing_reads() {
    let machine = machine();
    machine.write("root/proc/sys/net/core/rmem_max", "4096\n");
    for (name, _) in PROFILES {
        // No socket here asks for a receive buffer of its own.
        let told = machine.printed(&format!("--profile {name} --dry-run"));
        assert!(!told.contains("net.core.rmem_max"), "{name}: {told}");
    }
}

#[test]
fn each_node_gets_the_pages_of_all_pools_and_then_check_is_content() {
    let machine = machine();
    let pages = |free: [u64; 2]| {
        machine.write("root/sys/devices/system/node/online", "0-1\n");
        machine.write("root/sys/devices/system/node/node0/cpulist", "0-1\n");
        machine.write("root/sys/devices/system/node/node1/cpulist", "2-3\n");
        // Two at the first node are others'.
        for (node, (free, total)) in free.iter().zip([free[0] + 2, free[1]]).enumerate() {
            let folder = format!("root/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB");
            machine.write(&format!("{folder}/free_hugepages"), &format!("{free}\n"));
            machine.write(&format!("{folder}/nr_hugepages"), &format!("{total}\n"));
        }
        let free = free.iter().sum::<u64>();
        let total = free + 2;
        machine.write(
            "root/proc/meminfo",
            &format!("HugePages_Total: {total}\nHugePages_Free: {free}\nHugepagesize: 2048 kB\n"),
        );
        machine.write("root/proc/sys/vm/nr_hugepages", &format!("{total}\n"));
        total
    };
    machine.write("p.toml", "about = \"x\"\n[memory]\nhuge_pages = \"slab-pools\"\n");
    let pinned = " --config {}/server.toml";
    let asked = |config: &str| {
        let asked = Asked::new(Role::Server);
        if config.is_empty() {
            return asked;
        }
        let pool = asked.slab_pool_bytes;
        Asked { fan_out_threads: 2, slab_pool_bytes: 2 * pool, fan_out_cores: vec![0, 1], ..asked }
    };
    for (config, free, missing) in [
        ("", [0, 0], 2),
        // Enough in all, and not where a thread may be.
        ("", [4, 0], 2),
        ("", [1, 2], 1),
        ("", [2, 2], 0),
        // Both threads are on the first node.
        (pinned, [4, 0], 0),
        (pinned, [1, 9], 3),
    ] {
        let total = pages(free);
        let verdict = || {
            let report = check(&machine.system, &asked(config)).unwrap();
            report.findings.into_iter().find(|finding| finding.name == "huge_pages").unwrap().verdict
        };
        let told = machine.printed(&format!("--profile {{}}/p.toml{config} --dry-run"));
        if missing == 0 {
            assert!(told.contains("as it is already: 1 setting"), "{free:?}: {told}");
        } else {
            assert_eq!(verdict(), Verdict::Warn, "{free:?}");
            let said = format!("vm.nr_hugepages: {total} -> {}\n", total + 2 * missing);
            assert!(told.contains(&said), "{free:?}: {said}: {told}");
            pages(free.map(|free| free + missing));
        }
        assert_eq!(verdict(), Verdict::Pass, "{free:?}");
    }
}

#[test]
fn cores_that_are_not_there_get_no_queue_of_their_own() {
    let machine = machine();
    let server = machine.read("server.toml").replace("cores = [0, 1]", "cores = [0, 99]");
    machine.write("server.toml", &server);
    let told = machine.printed(&format!("{} --dry-run", crate::fixture::LINE));
    assert!(
        told.contains("are to run on cores that this machine does not have: 99 of fan_out.cores"),
        "{told}"
    );
    assert!(!told.contains("cores that send on queue"), "{told}");
}
