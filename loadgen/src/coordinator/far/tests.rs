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

/// An agent that proves itself, and then says these bytes to whatever it is asked; it hangs up, or does not.
fn fake_that_knows(bytes: Vec<u8>, hangs_up: bool) -> AgentSite {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = io::BufReader::new(stream.try_clone().unwrap());
        let mut hear = || {
            let mut line = String::new();
            let _ = io::BufRead::read_line(&mut heard, &mut line);
            line
        };
        let challenge = Challenge::draw(&mut rand::rng());
        let role = Role::Host.agent();
        let hello = Hello { protocol: PROTOCOL, build: Build::here(), role, challenge, token: true };
        let file = File::from(OwnedFd::from(stream.try_clone().unwrap()));
        say(&file, &AgentLine { agent: AgentSays::Hello(hello) }).unwrap();
        let CoordinatorSays::Answer(answer) = serde_json::from_str(&hear()).unwrap() else {
            panic!("an answer")
        };
        let proof = prove(&Token::of(TOKEN), Speaker::Agent, challenge, answer.challenge, Role::Host);
        say(&file, &AgentLine { agent: AgentSays::Welcome(Some(proof)) }).unwrap();
        assert!(hear().starts_with(r#"{"check":{"#));
        let _ = stream.write_all(&bytes);
        if !hangs_up {
            // The coordinator ends it.
            hear();
        }
    });
    AgentSite { address, shared: false, token: Arc::new(Token::of(TOKEN)) }
}

/// What becomes of asking such an agent for a check.
fn checked(bytes: Vec<u8>, hangs_up: bool, time: Duration) -> Result<Report, String> {
    let agent = fake_that_knows(bytes, hangs_up);
    let (mut ends, _) = reach(&agent, Role::Host).unwrap();
    let deployment = super::super::place::Deployment::loopback(2);
    let order = CheckOrder::all(&deployment, &crate::plan::tests::plan()).remove(0);
    let wants = Wants { role: Role::Host, run: 1, shared: false };
    check_over(&mut ends, Some(&agent.token), wants, &order, time)
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

#[test]
fn whatever_an_agent_says_to_a_check_is_a_report_or_a_sentence() {
    let soon = Duration::from_secs(20);
    let found =
        crate::check::tests::machine("host 0", &[("mtu", twincast_node::Verdict::Pass)]).report.unwrap();
    let line = |found: Result<Report, String>| {
        let mut line = serde_json::to_vec(&AgentLine { agent: AgentSays::Checked(found) }).unwrap();
        line.push(b'\n');
        line
    };
    assert_eq!(checked(line(Ok(found.clone())), false, soon), Ok(found.clone()));

    let mut bad = found.clone();
    bad.findings[0].reason = "it is \u{1b}[2J\u{202e}gone".into();
    let cleaned = checked(line(Ok(bad)), false, soon).unwrap();
    assert!(!cleaned.findings[0].reason.contains(['\u{1b}', '\u{202e}']), "{cleaned:?}");
    assert_eq!(checked(line(Err("no \u{7}right".into())), false, soon), Err("no  right".into()));

    let huge = Report { machine: "x".repeat(CHECK_LINE_BYTES_MAX), ..found.clone() };
    let half = line(Ok(found.clone()));
    let half = half[..half.len() / 2].to_vec();
    let unknown = br#"{"agent":{"checked":{"Ok":{"schema":"twincast-check/1","speed":3}}}}"#;
    for (bytes, hangs_up, said) in [
        (line(Ok(huge)), false, "said too long a line"),
        (vec![b'x'; 4 * CHECK_LINE_BYTES_MAX], false, "said too long a line"),
        (b"\xff\x00garbage\n".to_vec(), false, "does not speak this protocol"),
        ([&unknown[..], b"\n"].concat(), false, "does not speak this protocol"),
        (b"{\"agent\":\"started\"}\n".to_vec(), false, "said what nobody had asked for"),
        (half.clone(), true, "closed the connection"),
        (Vec::new(), true, "closed the connection"),
    ] {
        let sentence = checked(bytes, hangs_up, soon).unwrap_err();
        assert!(sentence.contains(said), "{said}: {sentence}");
    }
    let short = Duration::from_millis(50);
    for silence in [half, Vec::new()] {
        assert_eq!(checked(silence, false, short), Err("said nothing in time".into()));
    }
}
