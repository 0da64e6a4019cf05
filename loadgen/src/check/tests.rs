//! What is asked of machines, and what is made of the answers.

use super::*;
use crate::coordinator::place::Site;
use crate::plan::ServerSettings;
use crate::plan::tests::plan;

/// A machine with these findings.
pub(crate) fn machine(name: &str, verdicts: &[(&str, Verdict)]) -> MachineCheck {
    let finding = |(name, verdict): &(&str, Verdict)| Finding {
        name: (*name).into(),
        verdict: *verdict,
        reason: format!("{name} is as it is"),
        remedy: if *verdict >= Verdict::Warn { format!("mend {name}") } else { String::new() },
    };
    let findings = verdicts.iter().map(finding).collect();
    let report = Report {
        machine: "node".into(),
        ..Report::new(&System::here(), Role::Everything, Some("eth1".into()), findings)
    };
    MachineCheck::of(name.into(), Ok(report))
}

#[test]
fn figures_are_taken_with_care_where_a_check_failed_or_is_missing() {
    let good = machine(
        "this machine",
        &[("mtu", Verdict::Pass), ("qdisc", Verdict::Warn), ("smt", Verdict::Absent)],
    );
    let bad =
        machine("host 1", &[("mtu", Verdict::Fail), ("qdisc", Verdict::Pass), ("rings", Verdict::Fail)]);
    let missing = MachineCheck::of("host 2".into(), Err("nobody is there".into()));
    let said = |checks: &[&MachineCheck]| fault(&checks.iter().copied().cloned().collect::<Vec<_>>());
    assert_eq!(said(&[&good, &good]), None);
    assert_eq!(said(&[]).as_deref(), Some("no machine was checked"));
    assert_eq!(said(&[&good, &bad]).as_deref(), Some("host 1 failed its check of mtu, rings"));
    assert_eq!(said(&[&missing, &good]).as_deref(), Some("host 2 was not checked"));
    let both = "host 1 failed its check of mtu, rings, and 1 more check found something to mend";
    assert_eq!(said(&[&bad, &missing]).as_deref(), Some(both));
    assert_eq!(said(&[&bad, &bad]), said(&[&bad]), "one machine, looked at from two places");
    let other = machine("host 2", &[("rings", Verdict::Fail)]);
    let all = "host 1 failed its check of mtu, rings, and 2 more checks found something to mend";
    assert_eq!(said(&[&bad, &missing, &other]).as_deref(), Some(all));
}

#[test]
fn everything_on_one_machine_is_one_order_with_both_servers() {
    let server = ServerSettings {
        fan_out_threads: Some(2),
        fan_out_cores: Some(Cores::List(vec![0, 1])),
        slab_bytes: Some(65_536),
        slabs: Some(8),
        send_buffer_bytes: Some(1 << 20),
        ..ServerSettings::default()
    };
    let plan = Plan { server, hosts: 3, ..plan() };
    let orders = CheckOrder::all(&Deployment::loopback(3), &plan);
    let [order] = orders.as_slice() else { panic!("one machine") };
    assert_eq!((order.role, order.executors, order.fan_out_threads), (Role::Everything, 5, 4));
    assert_eq!((order.fan_out_cores.as_slice(), order.slab_pool_bytes), ([0, 1].as_slice(), 4 * 8 * 65_536));
    assert_eq!((order.send_buffer_bytes, order.address), (1 << 20, None));
    assert!(order.connections_max >= 5);
    let report = order.check(&System::here()).unwrap();
    assert_eq!(report.role, Role::Everything);
}

#[test]
fn a_machine_of_a_network_is_asked_for_its_role_its_address_and_the_others() {
    let place = |name: &str, last: u8| Place::new(name.into(), [10, 0, 0, last].into(), Site::Here);
    let deployment = Deployment {
        servers: [place("server 1", 1), place("server 2", 2)],
        hosts: vec![place("host 0", 11), place("host 1", 11)],
        words: String::new(),
        medium: Medium::Machines,
        links: None,
    };
    let plan = Plan { hosts: 2, ..plan() };
    let orders = CheckOrder::all(&deployment, &plan);
    let told: Vec<(Role, Option<IpAddr>, Vec<IpAddr>)> =
        orders.iter().map(|order| (order.role, order.address, order.peers.clone())).collect();
    let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
    assert_eq!(told[0], (Role::Server, Some(ip(1)), vec![ip(2), ip(11)]));
    assert_eq!(told[1], (Role::Server, Some(ip(2)), vec![ip(1), ip(11)]));
    assert_eq!(told[2], (Role::Host, Some(ip(11)), vec![ip(1), ip(2)]));
    assert_eq!((told.len(), orders[2].fan_out_threads, orders[2].connections_max), (4, 0, 0));
    assert_eq!(orders[0].link_bits_per_s, deployment.medium.rate_bits_per_s(&plan.link));
    let line = serde_json::to_string(&orders[0]).unwrap();
    assert_eq!(serde_json::from_str::<CheckOrder>(&line).unwrap(), orders[0]);
    let flood = CheckOrder { peers: vec![ip(1); PEERS_MAX + 1], ..orders[0].clone() };
    assert!(flood.check(&System::here()).unwrap_err().contains("more than the 65"));
}
