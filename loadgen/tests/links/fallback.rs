//! Where links cannot be had, and what is no link.

use super::common::told;
use super::support::{can_make_links, local};
use std::process::{Command, Stdio};

/// The run of `local` under `setpriv` without the right to make networks; nothing where there is no `setpriv`.
fn without_rights(arguments: &str) -> Option<std::process::Output> {
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-all", "--bounding-set=-net_admin,-sys_admin"]);
    command
        .args([env!("CARGO_BIN_EXE_twincast-loadgen"), "local", "--results", "off"])
        .args(arguments.split_whitespace());
    command.stdin(Stdio::null()).env_remove("RUST_LOG");
    let output = command.output().ok();
    let refused = output.as_ref().is_some_and(|output| output.status.code() == Some(127));
    if output.is_none() || refused {
        eprintln!("skipped: `setpriv` cannot take rights away here");
        return None;
    }
    output
}

#[test]
fn without_the_right_to_make_links_a_run_goes_over_loopback_and_says_so() {
    for link in ["", "--link 1gbit"] {
        let directory = tempfile::tempdir().unwrap();
        let json = directory.path().join("result.json");
        let arguments = format!("--group 20 --hosts 2 --rounds 2 --no-roof --json {} {link}", json.display());
        let Some(output) = without_rights(&arguments) else { return };
        assert!(output.status.success(), "{}", told(&output));
        let printed = String::from_utf8_lossy(&output.stdout);
        let why = "links were not shaped: network namespaces take CAP_NET_ADMIN and CAP_SYS_ADMIN";
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why) && said.contains("run as root; going on over loopback\n"), "{said}");
        assert!(printed.contains(why) && printed.contains("processes on loopback"), "{printed}");
        let result: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert!(result["environment"]["hosts"].as_str().unwrap().contains(why), "{result}");
        assert_eq!(result["link"]["medium"], "loopback");
        assert!(result["link"]["not_shaped"].as_str().unwrap().contains("CAP_NET_ADMIN"));
        assert!(result["link"]["servers"][0]["goodput_fraction"].is_null(), "no rate was held");
    }
}

#[test]
fn without_the_tools_a_run_goes_over_loopback_and_says_so() {
    if !can_make_links() {
        return;
    }
    // A folder with an `ip` that fails, before all others.
    let directory = tempfile::tempdir().unwrap();
    let tool = directory.path().join("ip");
    std::fs::write(&tool, "#!/bin/sh\necho 'RTNETLINK answers: Operation not supported' >&2\nexit 2\n")
        .unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let output = local("--group 20 --hosts 2 --rounds 2 --no-roof").env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains("links were not shaped: `ip -batch`: RTNETLINK answers: Operation not supported"),
        "{printed}"
    );
}

#[test]
fn what_is_no_link_is_refused_by_name() {
    for (arguments, remedy) in [
        ("--link 0", "give a rate such as 1gbit"),
        ("--link fast", "from 1mbit to 400gbit"),
        ("--mtu 10", "from 576 to 65,521"),
        ("--fault flip@1 --link 1gbit", "give --link loopback"),
    ] {
        let output = local(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", told(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(remedy) && said.contains("--"), "{arguments}: {said}");
    }
}
