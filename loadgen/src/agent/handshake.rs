//! The agent's side of a connection until its child is there: who comes, what time it is, what is wanted.

use super::protocol::Speaker;
use super::{
    AgentLine, AgentRole, AgentSays, Answer, Build, Challenge, CoordinatorSays, Hello, LineError, Lines,
    PROTOCOL, Proof, Token, prove, proves, say,
};
use crate::coordinator::role::Role;
use crate::limits::{AGENT_LINE_BYTES_MAX, HANDSHAKE_TIMEOUT};
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// How long a coordinator may take to read the agent's clock, to have the machine looked at and to ask for the child.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that another end's words are repeated.
const PLAIN_CHARS_MAX: usize = 600;

/// One coordinator's connection.
pub(super) struct Connection {
    pub(super) lines: Lines,
    pub(super) output: File,
    /// Who is at its other end, for the log.
    pub(super) peer: String,
}

/// A coordinator that has proved itself.
#[derive(Debug)]
pub(super) struct Admitted {
    /// What its child is to be.
    pub(super) role: Role,
    /// Which run it is of.
    pub(super) run: u64,
    /// Whether others may be there.
    pub(super) shared: bool,
    /// The agent's own.
    proof: Option<Proof>,
}

/// What a coordinator wants after its questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Child,
    /// It asked what was found here, and that was all.
    Nothing,
}

/// Who is let in.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) role: AgentRole,
    /// Nobody has to prove anything where ssh has asked already.
    pub(super) token: Option<Token>,
}

impl Connection {
    /// Says something of the agent's own.
    pub(super) fn say(&self, what: AgentSays) -> io::Result<()> {
        say(&self.output, &AgentLine { agent: what })
    }

    /// Lets the coordinator prove itself, or refuses it in one line. What it wants.
    ///
    /// # Errors
    /// Why it is not let in, as the rest of a sentence about the peer.
    pub(super) fn admit(&mut self, door: &Door) -> Result<Admitted, String> {
        let challenge = Challenge::draw(&mut rand::rng());
        let hello = Hello {
            protocol: PROTOCOL,
            build: Build::here(),
            role: door.role,
            challenge,
            token: door.token.is_some(),
        };
        self.say(AgentSays::Hello(hello)).map_err(broken)?;
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let answer = match self.lines.next(AGENT_LINE_BYTES_MAX, deadline) {
            Ok(CoordinatorSays::Answer(answer)) => answer,
            Ok(CoordinatorSays::Refused(sentence)) => return Err(format!("went away: {}", plain(&sentence))),
            Ok(_) => return Err(self.refuse(LineError::Nonsense.to_string())),
            Err(LineError::Closed) => return Err(LineError::Closed.to_string()),
            Err(error) => return Err(self.refuse(error.to_string())),
        };
        let proof = match check(door, challenge, &answer) {
            Ok(()) => door
                .token
                .as_ref()
                .map(|token| prove(token, Speaker::Agent, challenge, answer.challenge, answer.role)),
            Err(sentence) => return Err(self.refuse(sentence)),
        };
        let Answer { role, run, shared, .. } = answer;
        Ok(Admitted { role, run, shared, proof })
    }

    /// Tells that it is let in.
    ///
    /// # Errors
    /// The rest of a sentence about the peer.
    pub(super) fn welcome(&self, admitted: &Admitted) -> Result<(), String> {
        self.say(AgentSays::Welcome(admitted.proof)).map_err(broken)
    }

    /// Tells the time, and what is found on this machine, until the child is asked for.
    ///
    /// # Errors
    /// The rest of a sentence about the peer.
    pub(super) fn answer(&mut self) -> Result<Next, String> {
        let deadline = Instant::now() + CLOCK_TIMEOUT;
        let mut checked = false;
        loop {
            match self.lines.next(AGENT_LINE_BYTES_MAX, deadline) {
                Ok(CoordinatorSays::Ping) => {
                    let now_ns = crate::process::now_ns();
                    self.say(AgentSays::Pong { now_ns }).map_err(broken)?;
                }
                // Once: a look starts programs.
                Ok(CoordinatorSays::Check(order)) if !checked => {
                    checked = true;
                    let found = super::look::look(order, || self.lines.has_ended());
                    let Some(found) = found else { return Err("went away while its check was made".into()) };
                    self.say(AgentSays::Checked(found)).map_err(broken)?;
                }
                Ok(CoordinatorSays::Start) => return Ok(Next::Child),
                Err(LineError::Closed) if checked => return Ok(Next::Nothing),
                Ok(_) => return Err(self.refuse(LineError::Nonsense.to_string())),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Tells the peer why it goes no further, if it still listens.
    pub(super) fn refuse(&self, sentence: String) -> String {
        let _ = self.say(AgentSays::Refused(sentence.clone()));
        format!("was refused: {sentence}")
    }
}

/// The proof comes first: who does not know the token learns nothing else.
fn check(door: &Door, challenge: Challenge, answer: &Answer) -> Result<(), String> {
    let Answer { build, role, challenge: theirs, proof, .. } = answer;
    if let Some(token) = &door.token {
        let knows = proof
            .as_ref()
            .is_some_and(|proof| proves(proof, token, Speaker::Coordinator, challenge, *theirs, *role));
        if !knows {
            return Err("its token is not this agent's".into());
        }
    }
    if *build != Build::here() {
        return Err(versions_differ(&Build::here(), build));
    }
    if role.agent() != door.role {
        return Err(format!(
            "it wants a child in {}, and this agent is one with --role {}",
            role.subcommand(),
            door.role
        ));
    }
    Ok(())
}

/// What both ends say of two builds.
pub(crate) fn versions_differ(agent: &Build, coordinator: &Build) -> String {
    format!("the agent is version {agent} and the coordinator {coordinator}; both must be the same build")
}

fn broken(error: io::Error) -> String {
    LineError::Broken(error).to_string()
}

/// What another end says goes into a log, onto a terminal and into a file as one line of no great length, in which nothing
/// moves a cursor or turns the direction of writing.
pub(crate) fn plain(sentence: &str) -> String {
    plain_up_to(sentence, PLAIN_CHARS_MAX)
}

/// The same of so many characters at the most.
pub(crate) fn plain_up_to(sentence: &str, chars_max: usize) -> String {
    let is_format = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    sentence.chars().map(|c| if c.is_control() || is_format(c) { ' ' } else { c }).take(chars_max).collect()
}
