//! However an experiment ends, its folder keeps what there was, and says why.

use super::common::{child_in_role, children, ended, loadgen, signal, told, wait_for};
use super::folder::{json, only_folder, text};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A run that goes on until something ends it.
fn endless(results: &Path) -> Child {
    let arguments = "local --group 130 --hosts 3 --rounds 1000000 --warmup 0 --no-roof";
    loadgen(&format!("{arguments} --results {}", results.display())).spawn().unwrap()
}

/// CPU time in hundredths of a second, by which a host of this group has dialled and played for a while, however busy the
/// machine is.
const PLAYED: u64 = 60;

/// Waits until a host has told of a second of it: for longer than dialling and a second take of time, and of work.
fn let_it_play(run: &Child) -> Vec<u32> {
    let all = wait_for("five children", || Some(children(run.id())).filter(|all| all.len() == 5));
    let host = child_in_role(run, "role-host");
    std::thread::sleep(std::time::Duration::from_secs(3));
    wait_for("some seconds of playing", || (cpu_hundredths(host) >= PLAYED).then_some(()));
    all
}

/// CPU time of a process, user and system.
fn cpu_hundredths(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(") ") else { return 0 };
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[test]
fn ctrl_c_keeps_the_seconds_until_then() {
    let directory = tempfile::tempdir().unwrap();
    let run = endless(directory.path());
    let all = let_it_play(&run);
    signal(run.id(), Signal::INT);
    let output = ended(run, &all);
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    let folder = only_folder(directory.path());
    assert_eq!(text(&folder, "failure.txt"), "interrupted\n");
    assert!(text(&folder, "seconds.csv").contains("1,130,host 0,"), "{}", text(&folder, "seconds.csv"));
    assert!(text(&folder, "hdr/run-1/merged.hlog").contains("StartTime"));
    assert!(!folder.join("run-1.json").exists());
}

#[test]
fn ctrl_c_in_the_first_moment_is_told_too() {
    let directory = tempfile::tempdir().unwrap();
    let run = endless(directory.path());
    wait_for("a child", || children(run.id()).first().copied());
    let all = children(run.id());
    signal(run.id(), Signal::INT);
    let output = ended(run, &all);
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    assert_eq!(text(&only_folder(directory.path()), "failure.txt"), "interrupted\n");
}

#[test]
fn a_dead_server_is_named_in_the_folder() {
    let directory = tempfile::tempdir().unwrap();
    let run = endless(directory.path());
    let all = let_it_play(&run);
    signal(child_in_role(&run, "role-server"), Signal::KILL);
    let output = ended(run, &all);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let folder = only_folder(directory.path());
    let sentence = text(&folder, "failure.txt");
    assert!(sentence.starts_with("server ") && sentence.contains("was killed by signal 9"), "{sentence}");
    assert!(text(&folder, "seconds.csv").lines().count() > 1);
    let shown = loadgen(&format!("report show {}", folder.display())).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("was killed by signal 9"), "{}", told(&shown));
}

#[test]
fn a_place_that_cannot_be_written_costs_nobody_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let closed = directory.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let mut places = vec![file.join("results"), file];
    if std::fs::write(closed.join("probe"), "").is_err() {
        places.push(closed);
    } else {
        eprintln!(
            "not tested: this user may write into a folder that is closed to everybody; /proc stands in"
        );
        places.push("/proc/results".into());
    }
    for place in places {
        let output = loadgen(&format!("local --group 2 --results {}", place.display())).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}: {}", place.display(), told(&output));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("give a folder that may be written to and has room"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
    }
}

/// Runs a shell script in a mount namespace where `$1` is a file system of so many kB; `None`, said aloud, where this
/// user may not. `$2` is the program.
fn on_small_disk(kilobytes: u32, script: &str) -> Option<(tempfile::TempDir, Output)> {
    let directory = tempfile::tempdir().unwrap();
    let mounted = format!("mount -t tmpfs -o size={kilobytes}k small \"$1\" || exit 99; {script}");
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &mounted, "sh"])
        .arg(directory.path())
        .arg(env!("CARGO_BIN_EXE_twincast-loadgen"))
        .output();
    match output {
        Ok(output) if output.status.code() != Some(99) && !told(&output).contains("unshare:") => {
            Some((directory, output))
        }
        Ok(output) => {
            eprintln!("NOT TESTED: no file system can be mounted here: {}", told(&output));
            None
        }
        Err(error) => {
            eprintln!("NOT TESTED: no unshare here: {error}");
            None
        }
    }
}

#[test]
fn a_disk_that_is_full_before_the_run_costs_nobody_a_run() {
    let script = "\"$2\" local --group 2 --link loopback --results \"$1\"";
    let Some((_directory, output)) = on_small_disk(64, script) else { return };
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("No space left on device") && stderr.contains("--results off"), "{stderr}");
}

#[test]
fn a_disk_that_fills_up_in_mid_run_is_told_in_one_sentence_after_the_report() {
    let script = "\"$2\" local --group 130 --hosts 2 --rounds 20 --no-roof --link loopback --results \"$1\" &\n\
                  until ls \"$1\"/*/environment.json >/dev/null 2>&1; do sleep 0.01; done\n\
                  cat /dev/zero >\"$1\"/fill 2>/dev/null\n\
                  wait $!";
    let Some((_directory, output)) = on_small_disk(1_500, script) else { return };
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("run-1.json: No space left on device"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Every check passed."), "{}", told(&output));
}

/// A small run, all of which is kept.
fn small(directory: &Path) -> Command {
    let (results, file) = (directory.join("results"), directory.join("result.json"));
    let arguments = "local --group 20 --hosts 2 --rounds 2 --no-roof";
    loadgen(&format!("{arguments} --results {} --json {}", results.display(), file.display()))
}

#[test]
fn nobody_who_reads_the_report_costs_no_file() {
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    for (stdout, said) in [(full(), "No space left on device"), (closed(), "Broken pipe")] {
        let directory = tempfile::tempdir().unwrap();
        let output = small(directory.path()).stdout(stdout).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said) && stderr.lines().count() == 1, "one sentence: {stderr}");
        let folder = only_folder(&directory.path().join("results"));
        assert!(text(&folder, "report.txt").contains("Every check passed."));
        assert_eq!(text(&folder, "table.csv").lines().count(), 2);
        assert_eq!(json(&folder, "summary.json")["cells"][0]["group"], 20);
        assert_eq!(json(directory.path(), "result.json"), json(&folder, "run-1.json"));
        assert!(text(&folder, "failure.txt").contains(said));
    }
}

#[test]
fn a_folder_that_is_removed_in_mid_run_is_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = "local --group 20 --hosts 2 --rounds 20 --warmup 0 --rate 10 --no-roof";
    let run = loadgen(&format!("{arguments} --results {}", directory.path().display())).spawn().unwrap();
    child_in_role(&run, "role-host");
    std::fs::remove_dir_all(only_folder(directory.path())).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the folder was removed") && !stderr.contains("is kept"), "{stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Every check passed."), "{}", told(&output));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
