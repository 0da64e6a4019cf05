//! Programs that do not do what programs do.

use super::*;
use rustix::process::{Pid, test_kill_process};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

/// A machine with one program, which writes its own number beside it first, and that of what it starts.
fn machine(script: &str) -> (System, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    // A shell that is told the script writes nothing that is to be run: another test that starts a program meanwhile
    // would keep it open for writing.
    let path = folder.path().join("program");
    let text = format!("#!/bin/sh\necho $$ > {0}/pid\n{script}\n", folder.path().display());
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg("cat > \"$0\"").arg(&path).stdin(Stdio::piped());
    let mut writing = shell.spawn().unwrap();
    io::Write::write_all(&mut writing.stdin.take().unwrap(), text.as_bytes()).unwrap();
    assert!(writing.wait().unwrap().success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (System::at(folder.path(), folder.path()), folder)
}

/// Waits until a process that a script has told of is gone; a zombie of somebody else's is.
fn is_gone(folder: &tempfile::TempDir, name: &str) {
    let pid = std::fs::read_to_string(folder.path().join(name)).unwrap().trim().parse().unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    let lives = || {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        test_kill_process(pid).is_ok()
            && !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
    };
    let start = Instant::now();
    while lives() {
        assert!(start.elapsed() < Duration::from_secs(30), "{name} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_program_says_and_how_it_ends_comes_back() {
    let (system, _folder) = machine("echo out; echo err >&2; echo $LC_ALL; exit 3");
    let output = system.program("program", &[]).unwrap();
    assert_eq!(
        (output.status.code(), output.stdout, output.stderr),
        (Some(3), b"out\nC\n".into(), b"err\n".into())
    );
    let missing = system.program("no-such-program", &[]).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn a_program_that_hangs_is_ended_with_what_it_has_started() {
    let (system, folder) = machine("sleep 300 & echo $! > \"${0%/*}/inner\"; wait");
    // Time enough for it to have begun, on a busy machine.
    let short = system.clone().with_program_time(Duration::from_secs(1));
    let error = short.program("program", &[]).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::TimedOut, "program said nothing in 1 s".into())
    );
    is_gone(&folder, "pid");
    is_gone(&folder, "inner");
    // The time of all is over: nothing more is waited for.
    let late = system.until(Instant::now());
    assert_eq!(late.program("program", &[]).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn what_a_program_leaves_behind_goes_with_it() {
    let (system, folder) = machine("sleep 300 > /dev/null 2>&1 & echo $! > \"${0%/*}/inner\"; echo done");
    let output = system.program("program", &[]).unwrap();
    assert!(output.status.success() && output.stdout == b"done\n", "{output:?}");
    is_gone(&folder, "inner");
}

#[test]
fn a_program_that_prints_for_ever_fills_no_memory() {
    for stream in ["", ">&2"] {
        let (system, folder) = machine(&format!("exec yes {stream}"));
        let error = system.program("program", &[]).unwrap_err();
        assert!(error.to_string().contains("printed more than 4 MiB"), "{error}");
        is_gone(&folder, "pid");
    }
}

#[test]
fn stopping_ends_what_is_at_work_and_starts_nothing_more() {
    let (system, folder) = machine("exec sleep 300");
    let asking = system.clone();
    let asked = std::thread::spawn(move || asking.program("program", &[]));
    while !std::fs::read_to_string(folder.path().join("pid")).is_ok_and(|pid| pid.ends_with('\n')) {
        std::thread::sleep(Duration::from_millis(2));
    }
    system.stop();
    assert_eq!(asked.join().unwrap().unwrap_err().kind(), ErrorKind::Interrupted);
    is_gone(&folder, "pid");
    std::fs::remove_file(folder.path().join("pid")).unwrap();
    assert_eq!(system.program("program", &[]).unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(!folder.path().join("pid").exists(), "it was not started");
}
