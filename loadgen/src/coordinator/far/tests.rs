//! Agents that are not what they should be.

use super::*;
use std::net::TcpListener;
use std::sync::Arc;

const TOKEN: &[u8] = b"0123456789abcdef";

/// An agent that says lines, one for each that it hears, and the first at once.
fn fake(lines: Vec<String>) -> AgentSite {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = io::BufReader::new(stream.try_clone().unwrap());
        for line in lines {
            let _ = stream.write_all(format!("{line}\n").as_bytes());
            let _ = io::BufRead::read_line(&mut heard, &mut String::new());
        }
    });
    AgentSite { address, shared: false, token: Arc::new(Token::of(TOKEN)) }
}

fn hello(build: Build, token: bool) -> String {
    let challenge = Challenge::draw(&mut rand::rng());
    let role = Role::Host.agent();
    let hello = Hello { protocol: PROTOCOL, build, role, challenge, token };
    serde_json::to_string(&AgentLine { agent: AgentSays::Hello(hello) }).unwrap()
}

fn refusal(lines: Vec<String>) -> String {
    at_agent(&fake(lines), Role::Host, 1).err().expect("that is no agent of ours")
}

#[test]
fn an_agent_of_another_version_is_named_with_both() {
    for other in [
        Build { version: "0.0.9".into(), ..Build::here() },
        Build { commit: "abc".into(), ..Build::here() },
        Build { wire: 77, ..Build::here() },
    ] {
        let sentence = refusal(vec![hello(other.clone(), true)]);
        let both = [other.to_string(), Build::here().to_string()];
        assert!(both.iter().all(|build| sentence.contains(build)), "{sentence}");
    }
}

#[test]
fn an_agent_that_cannot_prove_itself_is_told_nothing_more() {
    let stranger = Token::of(b"another token!!!");
    let challenge = Challenge::draw(&mut rand::rng());
    let forged = prove(&stranger, Speaker::Agent, challenge, challenge, Role::Host);
    for proof in [None, Some(forged)] {
        let welcome = serde_json::to_string(&AgentLine { agent: AgentSays::Welcome(proof) }).unwrap();
        let sentence = refusal(vec![hello(Build::here(), true), welcome]);
        assert!(sentence.contains("did not prove"), "{sentence}");
    }
    assert!(refusal(vec![hello(Build::here(), false)]).contains("asks for no token"));
}

#[test]
fn whatever_else_listens_there_is_no_agent() {
    for (line, said) in [
        ("HTTP/1.1 400 Bad Request", "does not speak this protocol"),
        (r#"{"agent":{"refused":"too \u001b[31mmany"}}"#, "refused: too  [31mmany"),
        (r#"{"agent":"started"}"#, "nobody had asked"),
    ] {
        assert!(refusal(vec![line.into()]).contains(said), "{line}");
    }
    let long = refusal(vec!["x".repeat(100_000)]);
    assert!(long.contains("too long a line"), "{long}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = AgentSite { address: closed, shared: false, token: Arc::new(Token::of(TOKEN)) };
    let sentence = at_agent(&site, Role::Server, 1).err().unwrap();
    assert!(sentence.contains("could not be reached") && sentence.contains("--role server"), "{sentence}");
}

#[test]
fn the_agents_last_word_is_told_from_its_childs_lines() {
    let line = r#"{"agent":{"ended":{"well":false,"what":"was killed by signal 9","log":["one"]}}}"#;
    assert_eq!(ended(line).unwrap().what, "was killed by signal 9");
    for other in [r#"{"progress":{"rounds":1}}"#, r#"{"agent":"started"}"#, r#"{"agent":"#, ""] {
        assert!(ended(other).is_none(), "{other}");
    }
}

#[test]
fn an_agent_that_answers_slowly_has_one_time_for_all_its_answers() {
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    let input = File::from(OwnedFd::from(near.try_clone().unwrap()));
    let mut ends = Ends { lines: Lines::new(input), output: File::from(OwnedFd::from(near)) };
    std::thread::spawn(move || {
        let mut heard = io::BufReader::new(far.try_clone().unwrap());
        let mut hear = || {
            let mut line = String::new();
            let _ = io::BufRead::read_line(&mut heard, &mut line);
            line
        };
        let mut say = |line: &str| far.write_all(format!("{line}\n").as_bytes());
        let _ = say(&hello(Build::here(), false));
        hear();
        let _ = say(r#"{"agent":{"welcome":null}}"#);
        while hear().starts_with("\"ping") {
            std::thread::sleep(HANDSHAKE_TIMEOUT / 3);
            let _ = say(r#"{"agent":{"pong":{"now_ns":7}}}"#);
        }
        let _ = say(r#"{"agent":"started"}"#);
    });
    let wants = Wants { role: Role::Host, run: 1, shared: false };
    assert_eq!(begin(&mut ends, None, wants).unwrap_err(), "said nothing in time");
}
