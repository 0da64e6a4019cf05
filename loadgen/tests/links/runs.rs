//! Runs to a good end.

use super::common::told;
use super::support::{can_make_links, good_run, loadgen, local, namespaces, number};

#[test]
fn a_slow_link_bounds_the_rate_and_its_figures_add_up() {
    if !can_make_links() {
        return;
    }
    let (printed, result) =
        good_run("--group 130 --hosts 3 --rounds 4 --warmup 1 --no-confirm --no-roof --link 200mbit");
    assert_eq!(result["environment"]["hosts"], "processes in network namespaces");
    assert_eq!(result["link"]["medium"], "namespaces");
    assert_eq!((number(&result, "/link/mtu"), number(&result, "/environment/mtu")), (1_500.0, 1_500.0));
    assert_eq!(number(&result, "/link/rate_bits_per_s"), 2e8);
    let goodput = number(&result, "/link/goodput_bits_per_s");
    assert!((goodput / 2e8 - 1_448.0 / 1_538.0).abs() < 1e-9, "{goodput}");
    let tbf = number(&result, "/link/tbf_rate_bits_per_s");
    assert!((tbf / 2e8 - 1_514.0 / 1_538.0).abs() < 1e-4, "{tbf}");
    let burst = number(&result, "/link/tbf_burst_bytes");
    assert!(
        (131_072.0..132_072.0).contains(&burst),
        "what the kernel has is no less than was wanted: {burst}"
    );
    let egress = 4.0 * 130.0 * 130.0 * 336.0;
    for side in 0..2 {
        let of = |field: &str| number(&result, &format!("/link/servers/{side}/{field}"));
        let fraction = of("goodput_fraction");
        assert!((0.5..=1.0).contains(&fraction), "server {side}: {fraction}");
        assert!(of("program/sent") > egress, "cells and what is around them");
        assert!(of("interface/sent") > of("program/sent"), "headers come to it");
        let wire = of("wire_bytes");
        let least = of("program/sent") + 90.0 * (of("program/sent") / 1_448.0).floor();
        assert!(wire > least && wire < 1.05 * least, "server {side}: {wire} and {least}");
        assert!(of("wire_packets") > of("program/sent") / 1_448.0);
        assert!(of("raw_fraction") > 0.9 * fraction, "a link is as full as what it carries");
        let sent = (0..3).map(|host| number(&result, &format!("/link/hosts/{host}/program/sent")));
        assert!(sent.sum::<f64>() >= of("program/received"), "hosts send to both");
    }
    for host in 0..3 {
        let of = |field: &str| number(&result, &format!("/link/hosts/{host}/{field}"));
        assert!(of("interface/received") > of("program/received"));
        assert!(of("interface/sent") > of("program/sent"));
    }
    assert!(printed.contains("links of 200mbit each way (tbf 196.9 Mbit/s"), "{printed}");
    let checks = result["checks"].as_array().unwrap();
    let names: Vec<&str> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["server 1 on this machine", "host 0 on this machine"]);
    let mut failed = false;
    for check in checks {
        let findings = check["report"]["findings"].as_array().unwrap();
        failed |= findings.iter().any(|finding| finding["verdict"] == "fail");
        // Of the network that the run goes over, whatever the machine's own goes by.
        let finding = findings.iter().find(|finding| finding["name"] == "congestion_control").unwrap();
        let chosen = result["environment"]["congestion_control"].as_str().unwrap();
        assert!(finding["reason"].as_str().unwrap().contains(chosen), "{finding}");
    }
    for side in 0..2 {
        let server = &result["link"]["servers"][side];
        let full = server["goodput_fraction"].as_f64().unwrap() >= 0.95;
        assert_eq!(server["emulated_line_rate"], full && !failed, "{server}");
        assert!(server["line_rate"].is_null() && !printed.contains("Line rate:"), "{server}");
    }
    assert!(printed.contains("Machine checks"), "{printed}");
    assert!(printed.contains("no delay is emulated") && printed.contains("of TCP's goodput"), "{printed}");
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other_and_leave_nothing() {
    if !can_make_links() {
        return;
    }
    let runs = [1, 2].map(|seed| {
        let run = local(&format!("--group 20 --hosts 2 --rounds 2 --no-roof --mtu 576 --seed {seed}"));
        { run }.spawn().unwrap()
    });
    for run in runs {
        let pid = run.id();
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("links of 10gbit each way"));
        assert_eq!(namespaces(pid), Vec::<String>::new());
    }
}

#[test]
fn links_without_a_limit_have_no_fraction() {
    if !can_make_links() {
        return;
    }
    let (printed, result) = good_run("--group 20 --hosts 2 --rounds 2 --no-roof --link off");
    assert_eq!(result["link"]["medium"], "namespaces");
    assert!(result["link"]["servers"][0]["goodput_fraction"].is_null());
    let tcp = result["environment"]["congestion_control"].as_str().unwrap();
    let line = format!("links without a limit, TCP {tcp}; no delay is emulated");
    assert!(printed.contains(&line), "{printed}");
    let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap();
    if known.split_whitespace().any(|name| name == "cubic") {
        assert_eq!(tcp, "cubic", "whatever the machine's default is");
    }
}

#[test]
fn a_plan_whose_places_are_all_here_has_the_links_that_it_asks_for() {
    if !can_make_links() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (plan, json) = (folder.path().join("plan.toml"), folder.path().join("result.json"));
    let here = |table: &str| format!("[[{table}]]\nlocal = true\n").repeat(2);
    let run = "[run]\ngroup = 20\nrounds = 2\nlink = \"1gbit\"\n";
    std::fs::write(&plan, format!("{run}{}{}", here("servers"), here("hosts"))).unwrap();
    let arguments = format!("run --plan {} --no-roof --json {}", plan.display(), json.display());
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_twincast-loadgen"));
    let output = loadgen(binary, &arguments).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(result["link"]["medium"], "namespaces");
    assert_eq!(number(&result, "/link/rate_bits_per_s"), 1e9);
}

#[test]
fn loopback_is_had_by_asking() {
    let (printed, result) = good_run("--group 20 --hosts 2 --rounds 2 --no-roof --link loopback");
    assert_eq!(result["environment"]["hosts"], "processes on loopback");
    assert_eq!(result["link"]["medium"], "loopback");
    assert!(result["link"]["not_shaped"].is_null());
    assert!(printed.contains("processes on loopback") && !printed.contains("not shaped"), "{printed}");
}
