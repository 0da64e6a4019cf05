//! Peers on other machines: the coordinator's side of an agent's connection.

use super::clock::Clock;
use super::place::AgentSite;
use super::role::Role;
use super::ssh::SshProcess;
use crate::agent::{
    AGENT_LINE, AgentLine, AgentSays, Answer, Build, Challenge, CoordinatorSays, Ended, Hello, LineError,
    Lines, PROTOCOL, Speaker, Token, keep_watch, plain, plain_up_to, prove, proves, say, versions_differ,
};
use crate::check::CheckOrder;
use crate::limits::{
    AGENT_LINE_BYTES_MAX, CHECK_LINE_BYTES_MAX, CHECK_TEXT_CHARS_MAX, CHECK_TIMEOUT, CONNECT_TIMEOUT,
    HANDSHAKE_TIMEOUT,
};
use rustix::net::{Shutdown, shutdown};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use twincast_node::Report;

/// A child of an agent, as the team has it.
pub(super) struct Far {
    pub(super) orders: Box<dyn Write + Send>,
    pub(super) news: Box<dyn Read + Send>,
    pub(super) hold: FarHold,
}

/// What is left to do with a far peer besides talking to it.
#[derive(Debug)]
pub(super) struct FarHold {
    /// Its clock against ours.
    pub(super) clock: Clock,
    /// How its child ended, once the agent has told.
    pub(super) ended: Option<Ended>,
    /// Why its stream broke, if it did.
    pub(super) lost: Option<String>,
    line: Line,
}

/// What the lines travel over.
#[derive(Debug)]
enum Line {
    Socket(File),
    Ssh(SshProcess),
    Closed,
}

/// The two ends of a connection that was just made.
pub(super) struct Ends {
    pub(super) lines: Lines,
    pub(super) output: File,
}

/// Has an agent start a child.
///
/// # Errors
/// The rest of a sentence about the peer.
pub(super) fn at_agent(agent: &AgentSite, role: Role, run: u64) -> Result<Far, String> {
    let (mut ends, control) = reach(agent, role)?;
    let wants = Wants { role, run, shared: agent.shared };
    let clock = begin(&mut ends, Some(&agent.token), wants)?;
    let hold = FarHold { clock, ended: None, lost: None, line: Line::Socket(control) };
    let orders = Box::new(HalfClosing(ends.output));
    Ok(Far { orders, news: Box::new(ends.lines.rest()), hold })
}

/// Has an agent look at its machine.
///
/// # Errors
/// Why it does not, as the rest of a sentence about the machine.
pub(super) fn check_at_agent(
    agent: &AgentSite,
    role: Role,
    run: u64,
    order: &CheckOrder,
) -> Result<Report, String> {
    let (mut ends, _) = reach(agent, role)?;
    let wants = Wants { role, run, shared: agent.shared };
    check_over(&mut ends, Some(&agent.token), wants, order, CHECK_TIMEOUT)
}

/// The same of an agent that ssh has started for this.
pub(super) fn check_over_ssh(
    ends: &mut Ends,
    role: Role,
    run: u64,
    order: &CheckOrder,
) -> Result<Report, String> {
    check_over(ends, None, Wants { role, run, shared: false }, order, CHECK_TIMEOUT)
}

fn check_over(
    ends: &mut Ends,
    token: Option<&Token>,
    wants: Wants,
    order: &CheckOrder,
    time: Duration,
) -> Result<Report, String> {
    shake_hands(ends, token, wants, Instant::now() + HANDSHAKE_TIMEOUT)?;
    tell(ends, &CoordinatorSays::Check(order.clone()))?;
    match hear_up_to(ends, CHECK_LINE_BYTES_MAX, Instant::now() + time)? {
        AgentSays::Checked(found) => found.map(plain_report).map_err(|why| plain(&why)),
        other => Err(unasked(&other)),
    }
}

/// It is printed here, and comes from another machine.
fn plain_report(mut report: Report) -> Report {
    let all = report
        .findings
        .iter_mut()
        .flat_map(|finding| [&mut finding.name, &mut finding.reason, &mut finding.remedy]);
    let all = all.chain([&mut report.schema, &mut report.machine]).chain(&mut report.interface);
    all.for_each(|text| *text = plain_up_to(text, CHECK_TEXT_CHARS_MAX));
    report
}

/// Connects to an agent: what its lines travel over, and what ends them.
fn reach(agent: &AgentSite, role: Role) -> Result<(Ends, File), String> {
    let unreachable = |error: io::Error| {
        format!(
            "could not be reached: {error}; is `twincast-loadgen agent --listen {} --role {}` running there?",
            agent.address,
            role.agent()
        )
    };
    let stream = TcpStream::connect_timeout(&agent.address, CONNECT_TIMEOUT).map_err(unreachable)?;
    keep_watch(&stream).map_err(unreachable)?;
    let input = File::from(OwnedFd::from(stream.try_clone().map_err(unreachable)?));
    let control = File::from(OwnedFd::from(stream.try_clone().map_err(unreachable)?));
    Ok((Ends { lines: Lines::new(input), output: File::from(OwnedFd::from(stream)) }, control))
}

/// Has an agent start a child, which ssh has started for this.
pub(super) fn over_ssh(mut process: SshProcess, mut ends: Ends, role: Role, run: u64) -> Result<Far, String> {
    // The agent there is this connection's alone.
    let clock = match begin(&mut ends, None, Wants { role, run, shared: false }) {
        Ok(clock) => clock,
        Err(what) => {
            drop(ends);
            return Err(process.explain(what));
        }
    };
    let hold = FarHold { clock, ended: None, lost: None, line: Line::Ssh(process) };
    Ok(Far { orders: Box::new(ends.output), news: Box::new(ends.lines.rest()), hold })
}

/// What an agent is asked for.
#[derive(Clone, Copy)]
struct Wants {
    role: Role,
    /// Who asks.
    run: u64,
    /// Whether others may be there.
    shared: bool,
}

/// Both ends prove themselves, the other clock is read, and the child is there: all in one time, however slowly the agent
/// answers each line.
fn begin(ends: &mut Ends, token: Option<&Token>, wants: Wants) -> Result<Clock, String> {
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    shake_hands(ends, token, wants, deadline)?;
    let clock = Clock::read(|| {
        tell(ends, &CoordinatorSays::Ping)?;
        match hear(ends, deadline)? {
            AgentSays::Pong { now_ns } => Ok(now_ns),
            other => Err(unasked(&other)),
        }
    })?;
    tell(ends, &CoordinatorSays::Start)?;
    match hear(ends, deadline)? {
        AgentSays::Started => Ok(clock),
        other => Err(unasked(&other)),
    }
}

fn shake_hands(
    ends: &mut Ends,
    token: Option<&Token>,
    wants: Wants,
    deadline: Instant,
) -> Result<(), String> {
    let Wants { role, run, shared } = wants;
    let hello = match hear(ends, deadline)? {
        AgentSays::Hello(hello) => hello,
        other => return Err(unasked(&other)),
    };
    check(&hello, token).inspect_err(|sentence| {
        let _ = say(&ends.output, &CoordinatorSays::Refused(sentence.clone()));
    })?;
    let challenge = Challenge::draw(&mut rand::rng());
    let proof = token.map(|token| prove(token, Speaker::Coordinator, hello.challenge, challenge, role));
    tell(
        ends,
        &CoordinatorSays::Answer(Answer { build: Build::here(), role, challenge, proof, run, shared }),
    )?;
    let theirs = match hear(ends, deadline)? {
        AgentSays::Welcome(theirs) => theirs,
        other => return Err(unasked(&other)),
    };
    let Some(token) = token else { return Ok(()) };
    let known =
        theirs.is_some_and(|theirs| proves(&theirs, token, Speaker::Agent, hello.challenge, challenge, role));
    if known {
        Ok(())
    } else {
        Err("did not prove that it knows the token: it is no agent of this plan's".into())
    }
}

fn check(hello: &Hello, token: Option<&Token>) -> Result<(), String> {
    if hello.protocol != PROTOCOL || hello.build != Build::here() {
        return Err(format!("does not fit: {}", versions_differ(&hello.build, &Build::here())));
    }
    if token.is_some() && !hello.token {
        return Err("asks for no token: it is no agent of this plan's".into());
    }
    Ok(())
}

fn tell(ends: &Ends, what: &CoordinatorSays) -> Result<(), String> {
    say(&ends.output, what).map_err(|error| LineError::Broken(error).to_string())
}

fn hear(ends: &mut Ends, deadline: Instant) -> Result<AgentSays, String> {
    hear_up_to(ends, AGENT_LINE_BYTES_MAX, deadline)
}

fn hear_up_to(ends: &mut Ends, bytes_max: usize, deadline: Instant) -> Result<AgentSays, String> {
    let line: Result<AgentLine, LineError> = ends.lines.next(bytes_max, deadline);
    match line.map_err(|error| error.to_string())?.agent {
        AgentSays::Refused(sentence) => Err(format!("refused: {}", plain(&sentence))),
        other => Ok(other),
    }
}

fn unasked(said: &AgentSays) -> String {
    let said: String = format!("{said:?}").chars().take(60).collect();
    format!("said what nobody had asked for: {said}")
}

impl FarHold {
    /// What the peer's going means, as the rest of a sentence: how its child ended, or how the connection was lost.
    pub(super) fn told(&mut self) -> String {
        if let Some(ended) = &self.ended {
            return plain(&ended.what);
        }
        let lost = self.lost.as_deref().unwrap_or("the connection was closed");
        let what = format!("is lost with its agent: {lost}");
        match &mut self.line {
            Line::Ssh(process) => process.explain(what),
            Line::Socket(_) | Line::Closed => what,
        }
    }

    /// The last lines of the child's log, if the agent has told them.
    pub(super) fn log(&self) -> Vec<String> {
        self.ended.iter().flat_map(|ended| &ended.log).map(|line| plain(line)).collect()
    }

    /// Whether its child ended by itself and well.
    pub(super) fn is_well(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended.well)
    }

    /// Ends the connection, and with it the agent's child.
    pub(super) fn close(&mut self) {
        match &mut self.line {
            Line::Socket(socket) => {
                let _ = shutdown(&*socket, Shutdown::Both);
            }
            Line::Ssh(process) => process.close(),
            Line::Closed => {}
        }
        self.line = Line::Closed;
    }
}

/// The agent's own word in the middle of its child's lines: how that ended. `None` if the line is the child's.
pub(super) fn ended(line: &str) -> Option<Ended> {
    if !line.as_bytes().starts_with(AGENT_LINE) {
        return None;
    }
    match serde_json::from_str(line) {
        Ok(AgentLine { agent: AgentSays::Ended(ended) }) => Some(ended),
        _ => None,
    }
}

/// The writing half of a socket, whose end the other side hears when it is dropped.
struct HalfClosing(File);

impl Write for HalfClosing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for HalfClosing {
    fn drop(&mut self) {
        let _ = shutdown(&self.0, Shutdown::Write);
    }
}

#[cfg(test)]
mod tests;
