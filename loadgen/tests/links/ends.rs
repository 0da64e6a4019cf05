//! However a run ends, nothing of it is left.

use super::common::{child_in_role, ended, lives, signal, told, wait_for};
use super::support::{can_make_links, endless_run, endless_run_of, local, namespaces};
use rustix::process::Signal;

#[test]
fn after_ctrl_c_neither_namespaces_nor_processes_are_left() {
    if !can_make_links() {
        return;
    }
    let (run, children) = endless_run();
    let pid = run.id();
    assert_eq!(namespaces(pid).len(), 5, "the switch's, two servers' and two hosts'");
    signal(pid, Signal::INT);
    let output = ended(run, &children);
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    assert_eq!(namespaces(pid), Vec::<String>::new());
}

#[test]
fn what_a_killed_run_left_goes_with_the_next_start_and_what_lives_stays() {
    if !can_make_links() {
        return;
    }
    let (mut killed, children) = endless_run();
    let (living, _) = endless_run();
    let pid = killed.id();
    signal(pid, Signal::KILL);
    killed.wait().unwrap();
    wait_for("the end of its children", || children.iter().all(|child| !lives(*child)).then_some(()));
    // Unless another run began meanwhile, which removes them too, they are all there still.
    let next = local("--group 10 --hosts 1 --rounds 1 --no-roof").output().unwrap();
    assert!(next.status.success(), "{}", told(&next));
    assert_eq!(namespaces(pid), Vec::<String>::new());
    assert_eq!(namespaces(living.id()).len(), 5, "a living run's stay");
    signal(living.id(), Signal::TERM);
    let output = living.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
}

#[test]
fn a_living_run_keeps_its_links_whatever_its_binary_is_called() {
    if !can_make_links() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let another_name = folder.path().join("load");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_twincast-loadgen"), &another_name).unwrap();
    let (living, _) = endless_run_of(&another_name);
    let pid = living.id();
    let called = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(called, "load\n");
    let next = local("--group 10 --hosts 1 --rounds 1 --no-roof").output().unwrap();
    assert!(next.status.success(), "{}", told(&next));
    assert_eq!(namespaces(pid).len(), 5, "the next start takes nothing from it");
    signal(pid, Signal::TERM);
    let output = living.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    assert_eq!(namespaces(pid), Vec::<String>::new());
}

#[test]
fn after_a_server_died_nothing_is_left() {
    if !can_make_links() {
        return;
    }
    let (run, _) = endless_run();
    let pid = run.id();
    signal(child_in_role(&run, "role-server"), Signal::KILL);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("was killed by signal 9"), "{}", told(&output));
    assert_eq!(namespaces(pid), Vec::<String>::new());
}
