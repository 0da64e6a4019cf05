//! Runs over the links that the binary makes where it is not told otherwise, and their namespaces.

use super::common::{children, program, told, wait_for};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `twincast-loadgen local` with arguments, its streams caught.
pub(super) fn local(arguments: &str) -> Command {
    loadgen(Path::new(env!("CARGO_BIN_EXE_twincast-loadgen")), &format!("local {arguments}"))
}

/// The binary at this path with a subcommand and its arguments, no results kept, its streams caught.
pub(super) fn loadgen(binary: &Path, arguments: &str) -> Command {
    let mut command = program(binary, arguments);
    command.args(["--results", "off"]);
    command
}

/// What a good run printed, and its result.
pub(super) fn good_run(arguments: &str) -> (String, Value) {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("result.json");
    let output = local(&format!("{arguments} --json {}", json.display())).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", told(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (printed, serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap())
}

/// Whether this process may make namespaces and links; says so on stderr if not.
pub(super) fn can_make_links() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    let needed = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
    let may = capabilities(None).is_ok_and(|sets| sets.effective.contains(needed));
    let tools = ["ip", "tc"].iter().all(|tool| {
        let mut command = Command::new(tool);
        command.arg("-V").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if !(may && tools) {
        eprintln!("skipped: links take CAP_NET_ADMIN, CAP_SYS_ADMIN and iproute2");
    }
    may && tools
}

/// Namespaces that a process has made and that are there.
pub(super) fn namespaces(of: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&format!("twincast-{of}-"))).collect()
}

/// A run without an end of its own, once its hosts are there; its children.
pub(super) fn endless_run() -> (Child, Vec<u32>) {
    endless_run_of(Path::new(env!("CARGO_BIN_EXE_twincast-loadgen")))
}

/// [`endless_run`] of the binary at this path.
pub(super) fn endless_run_of(binary: &Path) -> (Child, Vec<u32>) {
    let arguments = "local --group 20 --hosts 2 --rounds 1000000 --no-roof --link 1gbit";
    let run = loadgen(binary, arguments).spawn().unwrap();
    // Two servers and two hosts; before them, for moments, `ip` and `tc`.
    let there = || {
        let children = children(run.id());
        let in_role = |pid: &&u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(5).any(|word| word == b"role-")
        };
        (children.iter().filter(in_role).count() == 4).then_some(children)
    };
    let children = wait_for("two servers and two hosts", there);
    (run, children)
}

/// A number of a result.
pub(super) fn number(result: &Value, pointer: &str) -> f64 {
    let value = result.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is there"));
    value.as_f64().unwrap_or_else(|| panic!("{pointer} is a number: {value}"))
}
