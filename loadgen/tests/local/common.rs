//! Runs of the real binary.

use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `twincast-loadgen` with arguments, its streams caught. Nothing is kept, and all processes are on loopback,
/// unless the arguments say otherwise.
pub(super) fn loadgen(arguments: &str) -> Command {
    let mut command = program(Path::new(env!("CARGO_BIN_EXE_twincast-loadgen")), arguments);
    if arguments.starts_with("local ") || arguments.starts_with("sweep ") {
        let has = |flag: &str| arguments.split_whitespace().any(|word| word == flag);
        if !has("--results") {
            command.args(["--results", "off"]);
        }
        if !has("--link") {
            command.args(["--link", "loopback"]);
        }
    }
    command
}

/// The binary at this path with arguments and no others, its streams caught.
pub(super) fn program(binary: &Path, arguments: &str) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments.split_whitespace()).stdin(Stdio::null()).env_remove("RUST_LOG");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `local` to its good end; its result.
pub(super) fn good_run(arguments: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("result.json");
    let output = loadgen(&format!("local {arguments} --json {}", json.display())).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", told(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Every check passed."), "{}", told(&output));
    serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap()
}

/// A whole number of a result.
pub(super) fn number(result: &Value, pointer: &str) -> u64 {
    let value = result.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is there"));
    value.as_u64().unwrap_or_else(|| panic!("{pointer} is a number: {value}"))
}

/// What a run said, for a test's failure line.
pub(super) fn told(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Processes that a process has started and that are there.
pub(super) fn children(of: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// The child of a run that plays a role, once it is there.
pub(super) fn child_in_role(run: &Child, role: &str) -> u32 {
    let found = || children(run.id()).into_iter().find(|pid| plays(*pid, role));
    wait_for(&format!("a child in role {role}"), found)
}

fn plays(pid: u32, role: &str) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|word| word == role.as_bytes())
}

/// Whether a process is there and is no zombie.
pub(super) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// What a run said by its end, after which none of these children is left.
pub(super) fn ended(run: Child, children: &[u32]) -> Output {
    let output = run.wait_with_output().unwrap();
    for child in children {
        assert!(!lives(*child), "child {child} is left: {}", told(&output));
    }
    output
}

/// Polls until something is there.
///
/// # Panics
/// After a minute.
pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} did not come within a minute");
}

/// Sends a signal to a process.
pub(super) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether a file is there that is not empty.
pub(super) fn is_written(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}
