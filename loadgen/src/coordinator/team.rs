//! The processes of a run behind one channel: orders go out as JSON lines, news come in as events.
//!
//! A peer is a pair of line streams. Today they are the standard streams of a child process; a peer whose streams are
//! a connection to an agent joins in the same way and merely has no child to wait for.

#![allow(clippy::large_enum_variant, reason = "events come a few times a second")]

use super::RunError;
use super::child::{ChildProcess, ending};
use super::place::Site;
use super::series::Series;
use super::signals::SignalWatch;
use crate::control::{HostNews, ServerNews};
use crate::limits::{ANSWER_TIMEOUT, BLAME_TIME, CUT_TIMEOUT, LINE_BYTES_MAX, STOP_TIMEOUT};
use crate::roof::SenderNews;
use serde::Serialize;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Which peer; never used again after the peer has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerId(usize);

/// What a peer is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Host,
    RoofSender,
}

impl Role {
    fn subcommand(self) -> &'static str {
        match self {
            Role::Server => super::ROLE_SERVER,
            Role::Host => super::ROLE_HOST,
            Role::RoofSender => super::ROLE_ROOF_SENDER,
        }
    }

    fn read(self, line: &str) -> serde_json::Result<News> {
        Ok(match self {
            Role::Server => News::Server(serde_json::from_str(line)?),
            Role::Host => News::Host(serde_json::from_str(line)?),
            Role::RoofSender => News::Sender(serde_json::from_str(line)?),
        })
    }
}

/// What a peer says.
#[derive(Debug)]
pub(crate) enum News {
    Server(ServerNews),
    Host(HostNews),
    Sender(SenderNews),
}

impl News {
    fn failure(&self) -> Option<&str> {
        match self {
            News::Server(ServerNews::Failed(sentence))
            | News::Host(HostNews::Failed(sentence))
            | News::Sender(SenderNews::Failed(sentence)) => Some(sentence),
            _ => None,
        }
    }
}

/// What the coordinator waits for.
#[derive(Debug)]
pub(super) enum Event {
    News(PeerId, News),
    /// A line that is no news: a bug, or another version of the binary.
    Garbled(PeerId, String),
    /// The peer's stream has ended.
    Gone(PeerId),
    /// The peer of this name is to be killed, as part of the run.
    Victim(String),
    Signal,
}

/// What `gather` does after a peer's news.
pub(crate) enum Take<T> {
    /// This is what was waited for.
    Done(T),
    /// It goes on.
    More,
    /// Nobody asked for this.
    Unexpected(News),
}

struct Peer {
    name: String,
    role: Role,
    orders: Option<Box<dyn Write + Send>>,
    child: Option<ChildProcess>,
    gone: bool,
    /// It was killed as part of the run, which goes on without it.
    sacrificed: bool,
    /// What it said or did that ends the run.
    fault: Option<String>,
}

/// All peers of a run, those that have gone included.
pub(crate) struct Team {
    program: PathBuf,
    peers: Vec<Peer>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// What came second by second since it was last taken.
    pub(crate) series: Series,
    _signals: SignalWatch,
}

impl Team {
    pub(crate) fn new() -> Result<Team, RunError> {
        let start = |source| RunError::Start { name: "the coordinator".into(), source };
        let (sender, events) = channel();
        let signals = SignalWatch::start(sender.clone()).map_err(start)?;
        let program = std::env::current_exe().map_err(start)?;
        Ok(Team { program, peers: Vec::new(), sender, events, series: Series::default(), _signals: signals })
    }

    /// Starts a process in a role, at its place.
    pub(crate) fn start(&mut self, role: Role, name: String, site: &Site) -> Result<PeerId, RunError> {
        let (child, stdin, stdout) = ChildProcess::start(&self.program, role.subcommand(), site, &name)
            .map_err(|source| RunError::Start { name: name.clone(), source })?;
        self.join(role, name, Box::new(stdin), Box::new(stdout), Some(child))
    }

    fn join(
        &mut self,
        role: Role,
        name: String,
        orders: Box<dyn Write + Send>,
        news: Box<dyn Read + Send>,
        child: Option<ChildProcess>,
    ) -> Result<PeerId, RunError> {
        let id = PeerId(self.peers.len());
        let sender = self.sender.clone();
        let thread = std::thread::Builder::new().name(format!("news of {name}"));
        let peer = Peer {
            name: name.clone(),
            role,
            orders: Some(orders),
            child,
            gone: false,
            sacrificed: false,
            fault: None,
        };
        self.peers.push(peer);
        thread
            .spawn(move || listen(id, role, news, &sender))
            .map_err(|source| RunError::Start { name, source })?;
        Ok(id)
    }

    /// Gives a peer an order. One that cannot take it has gone, which the next `gather` notices.
    pub(crate) fn tell(&mut self, peer: PeerId, order: &impl Serialize) {
        let mut line = serde_json::to_string(order).expect("an order has no keys but strings");
        line.push('\n');
        if let Some(orders) = &mut self.peers[peer.0].orders {
            let _ = orders.write_all(line.as_bytes()).and_then(|()| orders.flush());
        }
    }

    /// What kills the peer of this name while the team gathers, whoever calls it.
    pub(crate) fn killer(&self, name: String) -> impl Fn() + Send + Sync + use<> {
        let sender = self.sender.clone();
        move || {
            let _ = sender.send(Event::Victim(name.clone()));
        }
    }

    /// Kills a peer; nothing is expected of it any more.
    fn sacrifice(&mut self, name: &str) {
        for peer in self.peers.iter_mut().filter(|peer| peer.name == name && !peer.gone) {
            (peer.sacrificed, peer.gone, peer.orders) = (true, true, None);
            if let Some(child) = &mut peer.child {
                child.kill();
            }
        }
    }

    /// Waits until `take` was done with news of each of `from` that is not killed meanwhile as part of the run; what it
    /// made, in their order.
    ///
    /// # Errors
    /// Any peer went, failed or said what nobody had asked for; one of `from` was silent for too long; a signal came.
    pub(crate) fn gather<T>(
        &mut self,
        from: &[PeerId],
        phase: &'static str,
        silence_max: Duration,
        mut take: impl FnMut(usize, News) -> Take<T>,
    ) -> Result<Vec<T>, RunError> {
        let mut made: Vec<Option<T>> = from.iter().map(|_| None).collect();
        let mut heard = vec![Instant::now(); from.len()];
        loop {
            let waits = |index: &usize| made[*index].is_none() && !self.peers[from[*index].0].sacrificed;
            let waiting: Vec<usize> = (0..from.len()).filter(waits).collect();
            let Some(deadline) = waiting.iter().map(|index| heard[*index] + silence_max).min() else { break };
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Victim(name)) => self.sacrifice(&name),
                Ok(Event::News(peer, _)) if self.peers[peer.0].sacrificed => {}
                Ok(Event::News(peer, news)) if news.failure().is_none() => {
                    let name = &self.peers[peer.0].name;
                    let Some(news) = self.series.take(name, news) else {
                        if let Some(index) = from.iter().position(|one| *one == peer) {
                            heard[index] = Instant::now();
                        }
                        continue;
                    };
                    let Some(index) = from.iter().position(|one| *one == peer) else { continue };
                    heard[index] = Instant::now();
                    match take(index, news) {
                        Take::Done(thing) => made[index] = Some(thing),
                        Take::More => {}
                        Take::Unexpected(news) => return Err(self.unexpected(peer, phase, &news)),
                    }
                }
                Ok(Event::Gone(peer)) if self.peers[peer.0].gone => {}
                Ok(Event::Signal) => return Err(RunError::Interrupted),
                Ok(bad) => return Err(self.blame(bad)),
                Err(RecvTimeoutError::Timeout) => {
                    let silent = waiting.iter().find(|index| heard[**index].elapsed() >= silence_max);
                    let Some(index) = silent else { continue };
                    let name = self.peers[from[*index].0].name.clone();
                    return Err(RunError::Silent { name, phase, silence: silence_max });
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("the team holds a sender itself"),
            }
        }
        Ok(made.into_iter().flatten().collect())
    }

    /// Waits for one answer of each, that takes no work.
    pub(crate) fn ask<T>(
        &mut self,
        of: &[PeerId],
        order: &impl Serialize,
        phase: &'static str,
        mut take: impl FnMut(News) -> Take<T>,
    ) -> Result<Vec<T>, RunError> {
        of.iter().for_each(|peer| self.tell(*peer, order));
        self.gather(of, phase, ANSWER_TIMEOUT, |_, news| take(news))
    }

    /// Tells every peer to stop and waits until they are gone; the names of those that had to be killed or ended badly.
    ///
    /// # Errors
    /// A signal came.
    pub(crate) fn stop_all(&mut self) -> Result<Vec<String>, RunError> {
        let at_work = (0..self.peers.len()).filter(|index| self.peers[*index].orders.is_some());
        let at_work: Vec<usize> = at_work.collect();
        // "stop" is the same word in every role's orders.
        at_work.iter().for_each(|index| self.tell(PeerId(*index), &"stop"));
        let deadline = Instant::now() + STOP_TIMEOUT;
        while at_work.iter().any(|index| !self.peers[*index].gone) {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Gone(peer)) => self.peers[peer.0].gone = true,
                Ok(Event::Signal) => return Err(RunError::Interrupted),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let mut bad = Vec::new();
        for index in at_work {
            let peer = &mut self.peers[index];
            peer.orders = None;
            let left = deadline.saturating_duration_since(Instant::now()).max(CUT_TIMEOUT);
            if !peer.clear_away(left) {
                bad.push(peer.name.clone());
            }
        }
        Ok(bad)
    }

    /// Ends every peer at once: their inputs are closed, and whoever does not go by itself is killed. A signal now
    /// shortens the waiting.
    pub(crate) fn cut(&mut self) {
        for peer in &mut self.peers {
            peer.orders = None;
        }
        let deadline = Instant::now() + CUT_TIMEOUT;
        while self.peers.iter().any(|peer| !peer.gone) {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Gone(peer)) => self.peers[peer.0].gone = true,
                Ok(Event::Signal) | Err(_) => break,
                Ok(_) => {}
            }
        }
        for peer in &mut self.peers {
            peer.clear_away(Duration::ZERO);
        }
    }

    fn unexpected(&mut self, peer: PeerId, phase: &str, news: &News) -> RunError {
        let said: String = format!("{news:?}").chars().take(120).collect();
        self.child_error(peer, format!("said what nobody had asked for while {phase}: {said}"))
    }

    /// Names the peer that began it: one failure drags others with it within moments.
    fn blame(&mut self, first: Event) -> RunError {
        let deadline = Instant::now() + BLAME_TIME;
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Event::News(peer, news) => {
                    if let Some(sentence) = news.failure() {
                        self.peers[peer.0].fault.get_or_insert(format!("cannot go on: {sentence}"));
                    }
                }
                Event::Garbled(peer, line) => {
                    self.peers[peer.0].fault.get_or_insert(format!("said what is no news: {line}"));
                }
                Event::Gone(peer) => self.peers[peer.0].gone = true,
                Event::Victim(name) => self.sacrifice(&name),
                Event::Signal => return RunError::Interrupted,
            }
            next = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        }
        let (index, what) = self
            .peers
            .iter_mut()
            .enumerate()
            .filter_map(|(index, peer)| peer.guilt().map(|(rank, what)| (rank, index, what)))
            .min_by_key(|(rank, index, _)| (*rank, *index))
            .map(|(_, index, what)| (index, what))
            .expect("a bad event leaves a fault or a death");
        self.child_error(PeerId(index), what)
    }

    fn child_error(&mut self, peer: PeerId, what: String) -> RunError {
        let peer = &mut self.peers[peer.0];
        let log = peer.child.as_mut().map(ChildProcess::log).unwrap_or_default();
        RunError::Child { name: peer.name.clone(), what, log }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Peer {
    /// How likely it began the trouble (0: died without a word), and what it did. `None`: it goes on.
    fn guilt(&mut self) -> Option<(u8, String)> {
        if let Some(fault) = &self.fault {
            return Some((if self.role == Role::Server { 1 } else { 2 }, fault.clone()));
        }
        if !self.gone || self.orders.is_none() {
            return None;
        }
        let status = self.child.as_mut().and_then(|child| child.end(CUT_TIMEOUT));
        Some((0, status.map_or_else(|| "closed its stream".into(), ending)))
    }

    /// Waits for the child's end, and kills it if it does not come; whether it ended by itself and well.
    fn clear_away(&mut self, time: Duration) -> bool {
        self.gone = true;
        let Some(child) = &mut self.child else { return true };
        let well = child.end(time).is_some_and(|status| status.success());
        child.kill();
        well
    }
}

/// Turns a peer's lines into events until its stream ends.
fn listen(id: PeerId, role: Role, news: Box<dyn Read + Send>, events: &Sender<Event>) {
    let mut news = BufReader::new(news);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = news.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) {
            let _ = events.send(Event::Gone(id));
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let event = match role.read(&text) {
            Ok(news) => Event::News(id, news),
            Err(_) => Event::Garbled(id, text.trim_end().chars().take(120).collect()),
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
