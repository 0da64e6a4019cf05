//! What agent and coordinator say to each other besides what is the child's, and the proof that both know the token.

use super::Token;
use crate::check::CheckOrder;
use crate::coordinator::role::Role;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use twincast_node::Report;

/// Version of these lines.
pub(crate) const PROTOCOL: u32 = 4;

/// Said by a coordinator that knows the token.
const COORDINATOR: &str = "twincast agent 1: coordinator";
/// Said by an agent that knows it. Another word, so that neither can be answered with its own proof.
const AGENT: &str = "twincast agent 1: agent";

/// What an agent is there for: which roles it starts children in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum AgentRole {
    /// Client hosts.
    Host,
    /// One of the two servers, and what it is measured against.
    Server,
}

impl fmt::Display for AgentRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AgentRole::Host => "host",
            AgentRole::Server => "server",
        })
    }
}

/// One line of an agent. The key tells it from its child's lines.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AgentLine {
    pub(crate) agent: AgentSays,
}

/// What an agent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentSays {
    /// First, to whoever connects.
    Hello(Hello),
    /// The coordinator is who it says, and so is the agent: its own proof, where a token is asked for.
    Welcome(Option<Proof>),
    /// It goes no further, and why, in one sentence.
    Refused(String),
    /// Its clock.
    Pong {
        /// Nanoseconds since 1970.
        now_ns: u64,
    },
    /// What it found on its machine, or why it cannot look.
    Checked(Result<Report, String>),
    /// The child is there; all lines are its own from here to `Ended`.
    Started,
    /// The child is not there any more. The last line.
    Ended(Ended),
}

/// Who the agent is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`PROTOCOL`].
    pub(crate) protocol: u32,
    pub(crate) build: Build,
    pub(crate) role: AgentRole,
    pub(crate) challenge: Challenge,
    /// Whether it asks for proof. It does not where ssh has asked already.
    pub(crate) token: bool,
}

/// How a child ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// By itself, with exit status 0.
    pub(crate) well: bool,
    /// The rest of a sentence.
    pub(crate) what: String,
    /// The last lines of its log.
    pub(crate) log: Vec<String>,
}

/// What a coordinator says before the child is there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CoordinatorSays {
    /// First.
    Answer(Answer),
    /// It goes no further, and why, in one sentence.
    Refused(String),
    /// Say what time it is.
    Ping,
    /// Look at the machine.
    Check(CheckOrder),
    /// Start the child.
    Start,
}

/// Who the coordinator is and what it wants.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) build: Build,
    /// What the child is to be.
    pub(crate) role: Role,
    pub(crate) challenge: Challenge,
    pub(crate) proof: Option<Proof>,
    /// A number of the coordinator's own, the same for all that it has started.
    pub(crate) run: u64,
    /// Whether the agent may serve other coordinators meanwhile.
    pub(crate) shared: bool,
}

/// What was built: both ends must be the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Build {
    /// Of the workspace.
    pub(crate) version: String,
    /// Of the source tree.
    pub(crate) commit: String,
    /// Of the frames between clients and servers.
    pub(crate) wire: u64,
}

impl Build {
    /// This binary.
    pub(crate) fn here() -> Build {
        Build {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: env!("TWINCAST_COMMIT").into(),
            wire: u64::from(twincast_protocol::wire::VERSION),
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What another end calls its version ends up in a log and on a terminal.
        let plain = |text: &str| text.chars().filter(|c| c.is_ascii_graphic()).take(60).collect::<String>();
        write!(f, "{} (commit {}, wire {})", plain(&self.version), plain(&self.commit), self.wire)
    }
}

/// 32 bytes, base64 in a line.
macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub(crate) struct $name([u8; 32]);

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<$name, &'static str> {
                let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
                bytes.map($name).ok_or("not 32 bytes in base64")
            }
        }

        impl From<$name> for String {
            fn from(bytes: $name) -> String {
                STANDARD.encode(bytes.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

bytes32! {
    /// What nobody could have known before.
    Challenge
}
bytes32! {
    /// HMAC-SHA256 under the token.
    Proof
}

impl Challenge {
    /// A new one.
    pub(crate) fn draw(random: &mut impl CryptoRng) -> Challenge {
        let mut bytes = [0; 32];
        random.fill_bytes(&mut bytes);
        Challenge(bytes)
    }
}

/// Which end speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Speaker {
    Coordinator,
    Agent,
}

fn mac(
    token: &Token,
    speaker: Speaker,
    agent: Challenge,
    coordinator: Challenge,
    role: Role,
) -> Hmac<Sha256> {
    let label = match speaker {
        Speaker::Coordinator => COORDINATOR,
        Speaker::Agent => AGENT,
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(token.bytes()).expect("HMAC takes keys of any length");
    // The label ends in a byte that is in none; challenges are of one length; the role is what is left.
    for part in [label.as_bytes(), &[0], &agent.0, &coordinator.0, role.subcommand().as_bytes()] {
        mac.update(part);
    }
    mac
}

/// Proves that the speaker knows the token, to whoever drew one of the challenges.
pub(crate) fn prove(
    token: &Token,
    speaker: Speaker,
    agent: Challenge,
    coordinator: Challenge,
    role: Role,
) -> Proof {
    Proof(mac(token, speaker, agent, coordinator, role).finalize().into_bytes().into())
}

/// Whether a proof is that of a speaker who knows the token, compared in constant time.
pub(crate) fn proves(
    proof: &Proof,
    token: &Token,
    speaker: Speaker,
    agent: Challenge,
    coordinator: Challenge,
    role: Role,
) -> bool {
    mac(token, speaker, agent, coordinator, role).verify_slice(&proof.0).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_token_speaker_challenges_and_role_only() {
        let random = &mut rand::rng();
        let (token, other) = (Token::of(b"0123456789abcdef"), Token::of(b"0123456789abcdeg"));
        let (a, c) = (Challenge::draw(random), Challenge::draw(random));
        let proof = prove(&token, Speaker::Coordinator, a, c, Role::Host);
        assert!(proves(&proof, &token, Speaker::Coordinator, a, c, Role::Host));
        assert!(!proves(&proof, &other, Speaker::Coordinator, a, c, Role::Host));
        assert!(!proves(&proof, &token, Speaker::Agent, a, c, Role::Host), "no proof can be sent back");
        assert!(!proves(&proof, &token, Speaker::Coordinator, c, a, Role::Host));
        assert!(!proves(&proof, &token, Speaker::Coordinator, Challenge::draw(random), c, Role::Host));
        assert!(!proves(&proof, &token, Speaker::Coordinator, a, c, Role::Server));
    }

    #[test]
    fn lines_of_an_agent_can_be_told_from_a_childs() {
        let line = AgentLine { agent: AgentSays::Started };
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.as_bytes().starts_with(super::super::AGENT_LINE), "{text}");
        let build = Build { version: "9\u{1b}[2J\n".into(), commit: "c".into(), wire: 7 };
        assert_eq!(build.to_string(), "9[2J (commit c, wire 7)");
        assert!(serde_json::from_str::<Challenge>("\"AAAA\"").is_err());
    }
}
