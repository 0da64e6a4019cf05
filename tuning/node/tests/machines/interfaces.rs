//! Interfaces, what they lie on, and where their queues and interrupts are.

use crate::common::{Fixture, RINGS, found, told};
use twincast_node::Verdict::{Absent, Fail, Pass, Warn};

#[test]
fn interfaces_are_found_by_name_or_address_or_refused() {
    let mut fixture = Fixture::virtual_host();
    fixture.write(
        "/proc/net/route",
        "Iface Destination Gateway Flags RefCnt Use Metric Mask\neth1 0000000A 00000000 1 0 0 0 00FFFFFF",
    );
    fixture.asked.address = Some("10.0.0.7".parse().unwrap());
    assert_eq!(fixture.check().interface.as_deref(), Some("eth1"));
    fixture.print("ip.j", r#"[{},{"ifname":"lo"}]"#);
    assert_eq!(fixture.check().interface.as_deref(), Some("lo"));
    fixture.print("ip.j", "[]");
    let sentence = fixture.try_check().unwrap_err().to_string();
    assert_eq!(
        sentence,
        "no interface here has the address 10.0.0.7: name an address of this machine, or its interface"
    );
    fixture.asked.interface = Some("eth9".into());
    let sentence = fixture.try_check().unwrap_err().to_string();
    assert_eq!(sentence, "there is no interface eth9 here: there are eth1 and lo; name one of these");
    fixture.asked.interface = Some("../../etc".into());
    assert!(fixture.try_check().is_err());
}

#[test]
fn a_vlan_has_the_card_below_it() {
    let mut fixture = Fixture::server();
    stack(&mut fixture);
    fixture.print("ethtool.g", &RINGS.replace("4096", "512"));
    let report = fixture.check();
    assert_eq!(found(&report, "rings").remedy, "ethtool -G eth1 rx 4096 tx 4096");
    assert_eq!(found(&report, "irq_affinity").verdict, Pass);
    assert_eq!(
        found(&report, "interface").reason,
        "eth1.7 on eth1 (asked for by name) is there; its driver tells no state"
    );
    assert_eq!(found(&report, "link_speed").reason, "eth1.7 has 25 Gb/s");
    assert_eq!((found(&report, "mtu").verdict, found(&report, "qdisc").verdict), (Pass, Pass));
    assert_eq!(found(&report, "qdisc").reason, "noqueue on eth1.7; noqueue on bond0; mq on eth2; mq on eth1");
}

/// A VLAN on a bond of two cards.
fn stack(fixture: &mut Fixture) {
    fixture.write("/proc/net/dev", "h\nh\n lo: 0\n eth1: 0\n eth2: 0\n bond0: 0\n eth1.7: 0");
    for name in ["eth2", "bond0", "eth1.7"] {
        fixture.write(&format!("/sys/class/net/{name}/mtu"), "9000");
        fixture.write(&format!("/sys/class/net/{name}/speed"), "25000");
    }
    fixture.write("/sys/class/net/eth2/device/numa_node", "1");
    fixture.write("/sys/class/net/eth1.7/lower_bond0/ifindex", "4");
    fixture.write("/sys/class/net/bond0/lower_eth1/ifindex", "2");
    fixture.write("/sys/class/net/bond0/lower_eth2/ifindex", "3");
    fixture.write("/sys/class/net/bond0/queues/tx-0/xps_cpus", "0");
    fixture.write("/sys/class/net/bond0/queues/tx-1/xps_cpus", "0");
    fixture.asked.interface = Some("eth1.7".into());
    fixture.asked.peers.clear();
    fixture.script("tc", "#!/bin/sh\nexec cat $0.$5\n");
    for (name, kind) in [("eth1", "mq"), ("eth2", "mq"), ("bond0", "noqueue"), ("eth1.7", "noqueue")] {
        fixture.print(&format!("tc.{name}"), &format!(r#"[{{"kind":"{kind}","root":true}}]"#));
    }
}

#[test]
fn a_stack_of_interfaces_is_raised_from_the_bottom_up() {
    let mut fixture = Fixture::server();
    stack(&mut fixture);
    for name in ["eth1", "bond0", "eth1.7"] {
        fixture.write(&format!("/sys/class/net/{name}/mtu"), "1500");
    }
    let remedy = |fixture: &Fixture| found(&fixture.check(), "mtu").remedy.clone();
    let set = |name: &str| format!("ip link set dev {name} mtu 9000");
    assert_eq!(remedy(&fixture), [set("eth1"), set("bond0"), set("eth1.7")].join(" && "));
    fixture.write("/sys/class/net/eth1/mtu", "9000");
    fixture.write("/sys/class/net/bond0/mtu", "9000");
    assert_eq!(remedy(&fixture), set("eth1.7"));
    // What no driver takes, and what a tunnel cannot have, is not advised.
    fixture.print("ip.d", r#"[{"max_mtu":1500}]"#);
    let finding = found(&fixture.check(), "mtu").clone();
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, ""));
    assert!(finding.reason.ends_with("; eth1 takes 1500 at the most"), "{finding:?}");
    fixture.print("ip.d", "[]");
    fixture.write("/sys/class/net/eth1.7/uevent", "DEVTYPE=vxlan\nINTERFACE=eth1.7");
    assert_eq!(remedy(&fixture), "");
}

#[test]
fn a_shaper_below_the_interface_is_seen() {
    let mut fixture = Fixture::server();
    stack(&mut fixture);
    fixture.print("tc.eth2", r#"[{"kind":"mq","root":true},{"kind":"tbf","parent":":1"}]"#);
    let finding = found(&fixture.check(), "qdisc").clone();
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, "tc qdisc del dev eth2 root"));
    assert_eq!(finding.reason, "tbf on eth2 shapes or delays what is sent");
    fixture.print("tc.eth1", r#"[{"kind":"fq_codel","root":true}]"#);
    let finding = found(&fixture.check(), "qdisc").clone();
    assert_eq!(finding.remedy, "tc qdisc del dev eth2 root; tc qdisc replace dev eth1 root mq");
}

#[test]
fn a_link_without_a_device_has_no_speed_whatever_its_driver_says() {
    let mut fixture = Fixture::virtual_host();
    fixture.write("/sys/class/net/eth1/speed", "10000");
    let report = fixture.check();
    assert_eq!(found(&report, "link_speed").verdict, Absent, "{}", told(&report));
    // Nor is it a fast one.
    assert_eq!((found(&report, "mtu").verdict, found(&report, "socket_buffers").verdict), (Pass, Pass));
    fixture.asked.link_bits_per_s = Some(25_000_000_000);
    let finding = found(&fixture.check(), "link_speed").clone();
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Warn, ""));
    assert!(finding.reason.contains("eth1 is a virtual link"), "{finding:?}");
    // A card that has no such speed is not told to take it.
    fixture.write("/sys/class/net/eth1/device/vendor", "x");
    let finding = found(&fixture.check(), "link_speed").clone();
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Fail, ""));
}

#[test]
fn what_places_queues_and_interrupts_mends_it() {
    let mut fixture = Fixture::server();
    // As a new interface has them, for two cores and for more cores than queues.
    for cores in [vec![8, 9], (8..14).collect()] {
        for queue in 0..4 {
            fixture.write(&format!("/sys/class/net/eth1/queues/tx-{queue}/xps_cpus"), "ffffffff");
        }
        fixture.asked.fan_out_cores.clone_from(&cores);
        let finding = found(&fixture.check(), "xps").clone();
        assert_eq!(finding.verdict, Warn, "{finding:?}");
        fixture.mend(&finding.remedy);
        assert_eq!(found(&fixture.check(), "xps").verdict, Pass, "{cores:?}: {}", told(&fixture.check()));
        let masks = (0..4).map(|queue| {
            let path = fixture.path(&format!("/sys/class/net/eth1/queues/tx-{queue}/xps_cpus"));
            u32::from_str_radix(std::fs::read_to_string(path).unwrap().trim(), 16).unwrap()
        });
        let masks: Vec<u32> = masks.collect();
        // Each core is in the set of one queue.
        assert_eq!(
            masks.iter().sum::<u32>(),
            cores.iter().map(|core| 1_u32 << core).sum::<u32>(),
            "{masks:?}"
        );
        assert_eq!(masks.iter().fold(0, |all, mask| all | mask), masks.iter().sum::<u32>(), "{masks:?}");
    }
    // All on one core; all on fan-out cores; all on the other node.
    fixture.asked.fan_out_cores = vec![8, 9, 10, 11];
    for there in ["12", "9", "3"] {
        for irq in 91..95 {
            fixture.write(&format!("/proc/irq/{irq}/effective_affinity_list"), there);
        }
        let finding = found(&fixture.check(), "irq_affinity").clone();
        assert_eq!(finding.verdict, Warn, "{there}: {finding:?}");
        fixture.mend(&finding.remedy);
        for irq in 91..95 {
            let set =
                std::fs::read_to_string(fixture.path(&format!("/proc/irq/{irq}/smp_affinity_list"))).unwrap();
            // The kernel takes the first one of a set, and moves nothing that is in it already.
            let stays = there.parse::<u32>().is_ok_and(|core| set.contains('-') && (12..=15).contains(&core));
            let core = if stays { there } else { set.trim() };
            fixture.write(&format!("/proc/irq/{irq}/effective_affinity_list"), core);
        }
        let finding = found(&fixture.check(), "irq_affinity").clone();
        assert_eq!((finding.verdict, finding.reason.as_str()), (Pass, "4 interrupts of eth1 on cores 12-15"));
    }
}

#[test]
fn cores_that_are_not_there_fail_and_are_in_no_command() {
    let mut fixture = Fixture::server();
    fixture.asked.fan_out_cores = vec![8, 9, 99];
    fixture.write("/sys/class/net/eth1/queues/tx-0/xps_cpus", "0");
    let report = fixture.check();
    let finding = found(&report, "cores");
    assert_eq!((finding.verdict, finding.remedy.as_str()), (Fail, ""));
    assert!(finding.reason.contains("cores 99 (fan_out.cores), which are not there"), "{finding:?}");
    assert!(finding.reason.ends_with("there are cores 0-31"), "{finding:?}");
    assert!(found(&report, "xps").remedy.starts_with("echo 100 > "), "{}", told(&report));
    assert!(report.findings.iter().all(|other| other.name == "cores" || !other.reason.contains("99")));
    // One that is switched off is switched on, and second threads together only.
    fixture.asked.fan_out_cores = vec![8, 40];
    assert_eq!(found(&fixture.check(), "cores").remedy, "echo 1 > /sys/devices/system/cpu/cpu40/online");
    fixture.write("/sys/devices/system/cpu/smt/control", "off");
    assert_eq!(found(&fixture.check(), "cores").remedy, "");
    fixture.asked.fan_out_cores.clear();
    assert_eq!(found(&fixture.check(), "cores").verdict, Absent);
}
