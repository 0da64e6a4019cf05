//! Interfaces that lie on others: VLANs, macvlans, bonds.

use crate::fixture::{LINE, machine};
use crate::machine::Machine;

/// `name` lies on `lower`.
fn lay(machine: &Machine, name: &str, lower: &[&str]) {
    for (file, text) in [("mtu", "1500\n"), ("tx_queue_len", "1000\n"), ("queues/tx-0/xps_cpus", "0\n")] {
        machine.write(&format!("root/sys/class/net/{name}/{file}"), text);
    }
    for lower in lower {
        machine.write(&format!("root/sys/class/net/{name}/lower_{lower}/README"), "\n");
    }
    machine.write(&format!("programs/state/qdisc-{name}"), "noqueue 0:\n");
}

fn at(text: &str, part: &str) -> usize {
    text.find(part).unwrap_or_else(|| panic!("{part}: {text}"))
}

#[test]
fn a_vlan_has_its_card_tuned_and_its_packets_are_as_large_on_both() {
    let machine = machine();
    lay(&machine, "eth1.100", &["eth1"]);
    let before = machine.everything();
    let line = LINE.replace("eth1", "eth1.100");
    let dry = machine.printed(&format!("{line} --dry-run"));
    for said in [
        "  rx ring of eth1: 512 -> 4096\n",
        "  offload tso of eth1: off -> on\n",
        "  adaptive-rx of eth1: off -> on\n",
        "  txqueuelen of eth1: 1000 -> 2000\n",
        "  qdisc of eth1: fq_codel -> mq\n",
        "  cores that send on queue 1 of eth1: none -> 1\n",
        "  cores of interrupt 40 of eth1: 0-3 -> 2\n",
        "note: eth1.100 lies on eth1, which has the queues",
        "note: every machine on the link of eth1.100 needs this MTU",
    ] {
        assert!(dry.contains(said), "{said}: {dry}");
    }
    assert!(at(&dry, "MTU of eth1: 1500 -> 9000") < at(&dry, "MTU of eth1.100: 1500 -> 9000"), "{dry}");
    assert_eq!(dry.matches("eth1.100").count(), 3 + dry.matches("--interface").count(), "{dry}");

    machine.printed(&format!("{line} --undo {{}}/undo.json"));
    assert_eq!(machine.read("root/sys/class/net/eth1/mtu"), "9000");
    assert_eq!(machine.read("root/sys/class/net/eth1.100/mtu"), "9000");
    assert_eq!(machine.read("programs/state/qdisc-eth1.100"), "noqueue 0:");
    let undone = machine.printed("--undo {}/undo.json");
    assert!(
        at(&undone, "MTU of eth1.100: 9000 -> 1500") < at(&undone, "MTU of eth1: 9000 -> 1500"),
        "{undone}"
    );
    assert_eq!(machine.everything(), before);
}

#[test]
fn every_card_of_a_bond_is_tuned_once() {
    let machine = machine();
    lay(&machine, "eth2", &[]);
    lay(&machine, "bond0", &["eth1", "eth2"]);
    lay(&machine, "bond0.7", &["bond0"]);
    std::fs::remove_file(machine.path("programs/state/qdisc-eth2")).unwrap();
    machine.write("p.toml", "about = \"x\"\n[interface]\nmtu = 4000\nqdisc = \"fq\"\ntxqueuelen = 2000\n");
    let dry = machine.printed("--profile {}/p.toml --interface bond0.7 --interface bond0 --dry-run");
    for said in
        ["MTU of eth1: 1", "MTU of eth2: 1", "qdisc of eth1: fq_codel -> fq", "qdisc of eth2: fq_codel -> fq"]
    {
        assert_eq!(dry.matches(said).count(), 1, "{said}: {dry}");
    }
    assert!(at(&dry, "MTU of eth2: 1500 -> 4000") < at(&dry, "MTU of bond0: 1500 -> 4000"), "{dry}");
    assert!(at(&dry, "MTU of bond0: 1500 -> 4000") < at(&dry, "MTU of bond0.7: 1500 -> 4000"), "{dry}");
    assert!(dry.contains("would change 8 settings:") && !dry.contains("txqueuelen of bond0"), "{dry}");
}

#[test]
fn what_is_below_is_never_made_lower_unless_it_is_named() {
    let machine = machine();
    lay(&machine, "a7", &["eth1"]);
    machine.write("root/sys/class/net/eth1/mtu", "9000\n");
    machine.write("root/sys/class/net/a7/mtu", "9000\n");
    machine.write("p.toml", "about = \"x\"\n[interface]\nmtu = 1500\n");
    let dry = machine.printed("--profile {}/p.toml --interface a7 --dry-run");
    assert!(dry.contains("MTU of a7: 9000 -> 1500") && !dry.contains("MTU of eth1"), "{dry}");
    machine.write("root/sys/class/net/z7/lower_eth1/README", "\n");
    machine.write("root/sys/class/net/z7/mtu", "9000\n");
    // From the top down, so that it can be undone from the bottom up.
    let dry = machine.printed("--profile {}/p.toml --interface eth1 --interface z7 --dry-run");
    assert!(at(&dry, "MTU of z7: 9000 -> 1500") < at(&dry, "MTU of eth1: 9000 -> 1500"), "{dry}");
}

#[test]
fn an_interface_on_which_nothing_waits_gets_no_queue() {
    let machine = machine();
    machine.write("programs/state/qdisc", "noqueue 0:\n");
    let dry = machine.printed(&format!("{LINE} --dry-run"));
    assert!(dry.contains("left out: qdisc of eth1: a virtual interface"), "{dry}");
    assert!(!dry.contains("-> mq"), "{dry}");
}
