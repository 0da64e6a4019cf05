//! Plans, agents and coordinators that do not fit: one clear sentence, and exit status 1 or 2.

use super::common::{loadgen, told};
use super::fixture::{Agent, Folder};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

/// The one sentence of a run that could not be.
fn sentence(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{}", told(output));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.stdout.is_empty() && stderr.lines().count() == 1, "{}", told(output));
    stderr
}

fn both(place: &str) -> [String; 2] {
    [place.to_owned(), place.to_owned()]
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let folder = Folder::new();
    let local = both("local = true");
    let output = folder.run("[run]\nrounds = 1\nspeed = 3", &local, &local).output().unwrap();
    let said = sentence(&output, 2);
    assert!(said.contains("plan.toml:3: unknown key `speed`") && said.contains("rounds"), "{said}");
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let folder = Folder::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let far = both(&format!("agent = \"{address}\""));
    let output = folder.run("token_file = \"token\"", &far, &far).output().unwrap();
    let said = sentence(&output, 1);
    assert!(said.contains(&format!("at {address} could not be reached")), "{said}");
}

#[test]
fn another_token_is_told_on_both_sides_and_the_agent_serves_on() {
    let folder = Folder::new();
    let agent = Agent::start(&folder, "server");
    let other = folder.token("other", "another token, also long");
    let far = both(&agent.place());
    let output = folder.run(&format!("token_file = {:?}", other), &far, &far).output().unwrap();
    let said = sentence(&output, 1);
    assert!(said.contains("refused: its token is not this agent's"), "{said}");
    let log = std::fs::read_to_string(folder.path().join("agents.log")).unwrap();
    assert!(log.contains("was refused: its token") && log.contains("127.0.0.1:"), "{log}");
    assert!(!log.contains("long enough") && !log.contains("also long"), "{log}");

    // A role that is not its own, from who knows the token.
    let output = folder.run("token_file = \"token\"", &both("local = true"), &far).output().unwrap();
    let said = sentence(&output, 1);
    assert!(said.contains("role-host") && said.contains("--role server"), "{said}");
}

#[test]
fn a_token_that_others_may_read_and_a_port_in_use_are_wrong_usage() {
    let folder = Folder::new();
    let agent = Agent::start(&folder, "host");
    let mut again = loadgen(&format!("agent --listen {}", agent.address));
    let output = again.arg("--token-file").arg(folder.path().join("token")).output().unwrap();
    let said = sentence(&output, 2);
    assert!(said.contains(&agent.address) && said.contains("in use"), "{said}");

    let token = folder.path().join("token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = loadgen("agent --listen 127.0.0.1:0").arg("--token-file").arg(&token).output().unwrap();
    let said = sentence(&output, 2);
    assert!(said.contains("chmod 600"), "{said}");
}

#[test]
fn strangers_are_refused_and_do_not_disturb() {
    let folder = Folder::new();
    let agent = Agent::start(&folder, "host");
    for bytes in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[0xff; 9_000], b"{\"answer\":null}\n"] {
        let mut stranger = std::net::TcpStream::connect(&agent.address).unwrap();
        let _ = stranger.write_all(bytes);
        let mut heard = Vec::new();
        let _ = stranger.read_to_end(&mut heard);
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(heard.starts_with("{\"agent\":{\"hello\"") && heard.lines().count() <= 2, "{heard}");
    }
    agent.children(0);
    let mut late = std::net::TcpStream::connect(&agent.address).unwrap();
    let mut heard = String::new();
    late.read_to_string(&mut heard).unwrap();
    assert!(heard.contains("said nothing in time"), "{heard}");
}
