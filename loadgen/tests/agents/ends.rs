//! However a run over agents ends, nothing of it is left, here or there.

use super::common::{children, lives, signal, told, wait_for};
use super::fixture::{Agents, Folder, gone};
use rustix::process::Signal;
use std::process::{Child, Output};

/// Starts a run that goes on until something ends it.
fn endless(agents: &Agents, folder: &Folder) -> (Child, Vec<u32>) {
    let run = agents.run(folder, "group = 60\nrounds = 1000000\nwarmup = 0").spawn().unwrap();
    let all = agents.all_children();
    (run, all)
}

fn ended(run: Child, children: &[u32], status: i32) -> (Output, String) {
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{}", told(&output));
    gone(children);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, stderr)
}

#[test]
fn a_lost_agent_ends_the_run_with_its_name_and_its_child() {
    let folder = Folder::new();
    let mut agents = Agents::start(&folder);
    let (run, all) = endless(&agents, &folder);
    let lost = &mut agents.hosts[1];
    lost.process.kill().unwrap();
    lost.process.wait().unwrap();
    let said = format!("host 1 at {}", lost.address);
    let (_, stderr) = ended(run, &all, 1);
    assert!(stderr.contains(&said) && stderr.contains("lost with its agent"), "{stderr}");
}

#[test]
fn a_server_that_dies_at_its_agent_is_named_with_how() {
    let folder = Folder::new();
    let agents = Agents::start(&folder);
    let (run, all) = endless(&agents, &folder);
    signal(agents.servers[1].children(1)[0], Signal::KILL);
    let (_, stderr) = ended(run, &all, 1);
    let said = format!("server 2 at {} was killed by signal 9", agents.servers[1].address);
    assert!(stderr.contains(&said), "{stderr}");
}

#[test]
fn when_the_coordinator_is_killed_the_children_go_and_the_agents_serve_the_next_run() {
    let folder = Folder::new();
    let agents = Agents::start(&folder);
    let (mut run, all) = endless(&agents, &folder);
    run.kill().unwrap();
    run.wait().unwrap();
    gone(&all);
    let output = agents.run(&folder, "group = 20\nrounds = 1").output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
}

#[test]
fn ctrl_c_on_either_side_leaves_nothing() {
    let folder = Folder::new();
    let mut agents = Agents::start(&folder);
    let (run, all) = endless(&agents, &folder);
    signal(run.id(), Signal::INT);
    ended(run, &all, 130);

    let (run, all) = endless(&agents, &folder);
    let agent = agents.hosts.swap_remove(0);
    signal(agent.process.id(), Signal::TERM);
    let (_, stderr) = ended(run, &all, 1);
    assert!(stderr.contains(&format!("host 0 at {}", agent.address)), "{stderr}");
    wait_for("the end of the agent", || (!lives(agent.process.id())).then_some(()));
    assert!(agents.servers.iter().all(|agent| children(agent.process.id()).is_empty()));
}
