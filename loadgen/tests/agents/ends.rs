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

#[test]
fn the_end_of_the_terminal_is_an_end_like_ctrl_c() {
    // A process started under `nohup`, or in the background of a script, is to live on.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(mask.trim(), 16).unwrap();
    let folder = Folder::new();
    let agents = Agents::start(&folder);
    for end in [Signal::HUP, Signal::QUIT] {
        if ignored >> (end.as_raw() - 1) & 1 == 1 {
            eprintln!("SKIPPED: {end:?} is ignored here");
            continue;
        }
        let (run, all) = endless(&agents, &folder);
        signal(run.id(), end);
        ended(run, &all, 130);
    }
}

#[test]
fn a_stopped_child_is_named_with_its_agent() {
    let folder = Folder::new();
    let agents = Agents::start(&folder);
    for (agent, name) in [(&agents.hosts[2], "host 2"), (&agents.servers[1], "server 2")] {
        let (run, all) = endless(&agents, &folder);
        std::thread::sleep(std::time::Duration::from_millis(500));
        signal(agent.children(1)[0], Signal::STOP);
        let (_, stderr) = ended(run, &all, 1);
        let said = format!("{name} at {} has said nothing at all for 1", agent.address);
        assert!(stderr.contains(&said), "{stderr}");
    }
}

#[test]
fn ctrl_c_is_heard_while_an_agent_takes_its_time() {
    let folder = Folder::new();
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = [format!("agent = \"{}\"", mute.local_addr().unwrap()), "local = true".into()];
    let run = folder.run("token_file = \"token\"", &place, &place[1..]).spawn().unwrap();
    let _connection = mute.accept().unwrap();
    signal(run.id(), Signal::INT);
    ended(run, &[], 130);
}
