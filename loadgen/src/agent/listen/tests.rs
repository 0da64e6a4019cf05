//! Strangers at an agent's door.

use super::*;
use crate::agent::{Answer, Build, Challenge, CoordinatorSays, Speaker, prove};
use crate::limits::AGENT_LINE_BYTES_MAX;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};

const TOKEN: &[u8] = b"0123456789abcdef";

/// An agent, and where it listens. It goes with the test's process.
fn agent(role: AgentRole) -> (Arc<Agent>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let agent = Arc::new(Agent {
        door: Door { role, token: Some(Token::of(TOKEN)) },
        open: Mutex::default(),
        numbers: AtomicU64::new(0),
        stopping: AtomicBool::new(false),
    });
    let taking = Arc::clone(&agent);
    thread::spawn(move || taking.take_all(&listener));
    (agent, address)
}

/// A peer that has heard the agent's first line.
struct Stranger(BufReader<TcpStream>, Value);

impl Stranger {
    fn at(address: SocketAddr) -> Stranger {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut stranger = Stranger(BufReader::new(stream), Value::Null);
        stranger.1 = stranger.hear();
        stranger
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn say(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// Proves itself, with this token.
    fn answer(&mut self, token: &[u8], build: Build, role: Role) {
        self.answer_of(token, build, role, (1, false));
    }

    /// The same, as of a run, which shares or does not.
    fn answer_of(&mut self, token: &[u8], build: Build, role: Role, (run, shared): (u64, bool)) {
        let theirs: Challenge =
            serde_json::from_value(self.1["agent"]["hello"]["challenge"].clone()).unwrap();
        let challenge = Challenge::draw(&mut rand::rng());
        let proof = Some(prove(&Token::of(token), Speaker::Coordinator, theirs, challenge, role));
        let answer = CoordinatorSays::Answer(Answer { build, role, challenge, proof, run, shared });
        let mut line = serde_json::to_vec(&answer).unwrap();
        line.push(b'\n');
        self.say(&line);
    }

    /// The one line of refusal, after which there is nothing.
    fn refused(mut self) -> String {
        let sentence = self.hear()["agent"]["refused"].as_str().expect("a refusal").to_owned();
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        assert_eq!(rest, b"", "{sentence}");
        sentence
    }
}

#[test]
fn whatever_strangers_say_is_refused_in_one_line_and_the_agent_serves_on() {
    let (agent, address) = agent(AgentRole::Host);
    for bytes in [
        &b"\n"[..],
        b"GET / HTTP/1.1\n",
        b"\xff\xfe\x00\n",
        b"{\"start\":null}\n",
        b"\"start\"\n",
        b"\"ping\"\n",
        b"{\"answer\":{}}\n",
        b"[[[[[[[[\n",
    ] {
        let mut stranger = Stranger::at(address);
        stranger.say(bytes);
        assert_eq!(stranger.refused(), "does not speak this protocol", "{bytes:?}");
    }
    let mut stranger = Stranger::at(address);
    stranger.say(&vec![b'x'; AGENT_LINE_BYTES_MAX + 1]);
    assert_eq!(stranger.refused(), "said too long a line");
    drop(Stranger::at(address));

    let mut stranger = Stranger::at(address);
    stranger.answer(TOKEN, Build::here(), Role::Host);
    assert!(stranger.hear()["agent"]["welcome"].is_string(), "the agent proves itself too");
    agent.stop();
}

#[test]
fn a_wrong_token_learns_nothing_else() {
    let (_, address) = agent(AgentRole::Host);
    let other = Build { version: "9.9.9".into(), ..Build::here() };
    for build in [Build::here(), other] {
        let mut stranger = Stranger::at(address);
        stranger.answer(b"0123456789abcdeX", build, Role::Server);
        assert_eq!(stranger.refused(), "its token is not this agent's");
    }
}

#[test]
fn another_build_and_another_role_are_refused_with_what_would_be_right() {
    let (_, address) = agent(AgentRole::Host);
    for other in [
        Build { version: "9.9.9".into(), ..Build::here() },
        Build { commit: "0ther".into(), ..Build::here() },
        Build { wire: 99, ..Build::here() },
    ] {
        let mut stranger = Stranger::at(address);
        stranger.answer(TOKEN, other.clone(), Role::Host);
        let sentence = stranger.refused();
        assert!(sentence.contains(&other.to_string()), "{sentence}");
        assert!(sentence.contains(&Build::here().to_string()), "{sentence}");
    }
    for role in [Role::Server, Role::RoofSender, Role::BaselineServer] {
        let mut stranger = Stranger::at(address);
        stranger.answer(TOKEN, Build::here(), role);
        let sentence = stranger.refused();
        assert!(sentence.contains(role.subcommand()) && sentence.contains("--role host"), "{sentence}");
    }
}

#[test]
fn a_proof_heard_once_is_worth_nothing_later() {
    let (_, address) = agent(AgentRole::Host);
    let mut first = Stranger::at(address);
    let theirs: Challenge = serde_json::from_value(first.1["agent"]["hello"]["challenge"].clone()).unwrap();
    let challenge = Challenge::draw(&mut rand::rng());
    let proof = Some(prove(&Token::of(TOKEN), Speaker::Coordinator, theirs, challenge, Role::Host));
    let answer = Answer { build: Build::here(), role: Role::Host, challenge, proof, run: 1, shared: false };
    let mut line = serde_json::to_vec(&CoordinatorSays::Answer(answer)).unwrap();
    line.push(b'\n');
    first.say(&line);
    assert!(first.hear()["agent"]["welcome"].is_string());
    let mut second = Stranger::at(address);
    second.say(&line);
    assert_eq!(second.refused(), "its token is not this agent's");
}

#[test]
fn a_crowd_at_the_door_is_turned_away() {
    let (_, address) = agent(AgentRole::Host);
    let crowd: Vec<Stranger> = (0..AGENT_HANDSHAKES_MAX).map(|_| Stranger::at(address)).collect();
    let one_more = Stranger::at(address);
    assert!(one_more.1["agent"]["refused"].as_str().unwrap().contains("too many"), "{}", one_more.1);
    drop(crowd);
}

#[test]
fn two_runs_are_at_an_agent_only_if_both_share_it() {
    let (_, address) = agent(AgentRole::Host);
    let come = |of| {
        let mut stranger = Stranger::at(address);
        stranger.answer_of(TOKEN, Build::here(), Role::Host, of);
        stranger
    };
    let welcome = |of| {
        let mut stranger = come(of);
        assert!(stranger.hear()["agent"]["welcome"].is_string(), "{of:?}");
        stranger
    };
    let (first, second) = (welcome((1, false)), welcome((1, false)));
    for of in [(2, false), (2, true)] {
        let sentence = come(of).refused();
        assert!(sentence.contains("serves another run") && sentence.contains("shared = true"), "{sentence}");
    }
    // The next comes while the last is going.
    drop((first, second));
    let shared = [welcome((3, true)), welcome((4, true))];
    assert!(come((5, false)).refused().contains("serves another run"));
    drop(shared);
}
