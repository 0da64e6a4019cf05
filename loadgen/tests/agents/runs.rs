//! Runs that end well.

use super::common::{good_run, loadgen, told};
use super::fixture::{Agents, Folder};
use serde_json::Value;

#[test]
fn a_run_over_agents_counts_what_a_local_one_counts_and_the_agents_serve_the_next() {
    let folder = Folder::new();
    let agents = Agents::start(&folder);
    let local = good_run("--group 60 --hosts 3 --rounds 2 --link loopback --no-roof");
    for round in 0..2 {
        let output = agents.run(&folder, "group = 60\nrounds = 2\nlink = \"400gbit\"").output().unwrap();
        assert!(output.status.success(), "run {round}: {}", told(&output));
        let text = std::fs::read(folder.path().join("result.json")).unwrap();
        let result: Value = serde_json::from_slice(&text).unwrap();
        for same in ["/totals", "/dial/confirm_cells", "/servers/0/egress_shares"] {
            assert_eq!(result.pointer(same), local.pointer(same), "{same}");
        }
        let clocks = result["clocks"].as_array().unwrap();
        assert_eq!(clocks.len(), 5, "{clocks:?}");
        assert!(clocks[0]["name"].as_str().unwrap().starts_with("server 1 at 127.0.0.1:"));
        assert!(clocks.iter().all(|clock| clock["round_trip_us"].as_f64().unwrap() > 0.0));
        let checks = result["checks"].as_array().unwrap();
        let roles: Vec<&Value> = checks.iter().map(|check| &check["report"]["role"]).collect();
        assert_eq!(roles, ["server", "server", "host", "host", "host"], "{checks:?}");
        assert!(checks[4]["name"].as_str().unwrap().starts_with("host 2 at 127.0.0.1:"), "{checks:?}");
        assert!(checks.iter().all(|check| check["report"]["interface"] == "lo"), "{checks:?}");
        // Whatever rate the plan makes up: these agents have no link.
        assert!(
            result["link"]["servers"].as_array().unwrap().iter().all(|server| server["line_rate"] == false)
        );
        assert!(result["environment"]["hosts"].as_str().unwrap().contains("3 hosts at 5 agents"));
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            report.contains("Clocks")
                && report.contains("Machine checks")
                && report.contains("host 2 at 127.0.0.1:"),
            "{report}"
        );
        agents.servers.iter().chain(&agents.hosts).for_each(|agent| drop(agent.children(0)));
    }
    assert_eq!(local["clocks"].as_array().unwrap().len(), 0);
}

/// Keys reach servers and hosts wherever they are.
#[test]
fn answers_are_read_over_agents_as_they_are_on_one_machine() {
    let folder = Folder::new();
    let agents = Agents::start(&folder);
    let run = "group = 70\nrounds = 2\nslots = 2\ndelivery = \"answer\"";
    let output = agents.run(&folder, run).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let text = std::fs::read(folder.path().join("result.json")).unwrap();
    let result: Value = serde_json::from_slice(&text).unwrap();
    for count in ["messages_sent", "accepted", "shares_verified"] {
        assert_eq!(result["totals"][count], 2 * 2 * 70, "{count}");
    }
    assert!(result["bytes"].as_array().unwrap().iter().all(|row| row["model"] == row["measured"]));
}

#[test]
fn a_plan_can_be_read_without_connecting_to_anybody() {
    let folder = Folder::new();
    let place = |what: &str| vec![what.to_owned(); 2];
    let far = place("agent = \"192.0.2.7:7400\"");
    let output = folder.run("token_file = \"token\"", &far, &far).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("server 2 at 192.0.2.7:7400"), "{said}");

    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut check = folder.run("token_file = \"token\"", &far, &far);
    let output = check.arg("--check").stdout(full).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("could not be written") && !stderr.contains("panicked"), "{stderr}");
}

#[test]
fn the_roof_is_measured_where_the_run_is() {
    let folder = Folder::new();
    let agents = Agents::start(&folder);
    let mut run = loadgen("run --results off");
    let _ = agents.run(&folder, "group = 20\nrounds = 1");
    let run = run.arg("--plan").arg(folder.path().join("plan.toml")).output().unwrap();
    assert!(run.status.success() && told(&run).contains("Roof"), "{}", told(&run));
}
