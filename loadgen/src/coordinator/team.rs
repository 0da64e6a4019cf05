//! The processes of a run behind one channel: orders go out as JSON lines, news come in as events.
//!
//! A peer is a pair of line streams: the standard streams of a child process, or the connection to an agent that has
//! such a child.

#![allow(clippy::large_enum_variant, reason = "events come a few times a second")]

pub(crate) use super::role::{News, Role};

use super::RunError;
use super::child::{ChildProcess, ending};
use super::clock::Clock;
use super::far::{self, Far, FarHold};
use super::place::Site;
use super::series::Series;
use super::signals::SignalWatch;
use super::ssh;
use crate::agent::{Ended, plain};
use crate::control::HostNews;
use crate::limits::{
    ANSWER_TIMEOUT, BLAME_TIME, CUT_TIMEOUT, LINE_BYTES_MAX, LOG_LINES_TOLD, SIGNAL_LOOK, STANDSTILL_LOOKS,
    STANDSTILL_MAX, STOP_TIMEOUT,
};
use serde::Serialize;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Which peer; never used again after the peer has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerId(usize);

/// What the coordinator waits for.
#[derive(Debug)]
pub(super) enum Event {
    News(PeerId, News),
    /// A line that is no news: a bug, or another version of the binary.
    Garbled(PeerId, String),
    /// The peer's agent says that its child has ended, and how.
    Ended(PeerId, Ended),
    /// The peer's stream has ended; why, if it broke.
    Gone(PeerId, Option<String>),
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

/// What a peer is besides its streams.
enum Hold {
    /// A child of this process.
    Child(ChildProcess),
    /// A child of an agent's.
    Far(FarHold),
    /// Nothing: a test.
    #[cfg(test)]
    None,
}

/// What the thread that hears a peer's lines knows of them.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    /// When the last came, whatever it said.
    heard: Instant,
    /// Whether one has told that its process lives: from there on one comes every second.
    beats: bool,
}

struct Peer {
    name: String,
    pulse: Arc<Mutex<Pulse>>,
    role: Role,
    orders: Option<Box<dyn Write + Send>>,
    hold: Hold,
    gone: bool,
    /// It was killed as part of the run, which goes on without it.
    sacrificed: bool,
    /// What it said or did that ends the run.
    fault: Option<String>,
    /// It told itself why it cannot go on, so that nobody needs its log.
    told: bool,
}

/// All peers of a run, those that have gone included.
pub(crate) struct Team {
    program: PathBuf,
    peers: Vec<Peer>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// What came second by second since it was last taken.
    pub(crate) series: Series,
    signals: SignalWatch,
    /// By which an agent knows who is of this run.
    run: u64,
    /// How long one that tells every second that it lives may say nothing.
    standstill_max: Duration,
}

impl Team {
    pub(crate) fn new() -> Result<Team, RunError> {
        Team::with(SignalWatch::start)
    }

    /// One that is not told of signals: they are meant for the process that all unit tests share, and end that.
    #[cfg(test)]
    fn deaf() -> Result<Team, RunError> {
        Team::with(|_| Ok(SignalWatch::none()))
    }

    fn with(watch: impl FnOnce(Sender<Event>) -> std::io::Result<SignalWatch>) -> Result<Team, RunError> {
        let start = |source| RunError::Start { name: "the coordinator".into(), source };
        let (sender, events) = channel();
        let signals = watch(sender.clone()).map_err(start)?;
        let program = std::env::current_exe().map_err(start)?;
        Ok(Team {
            program,
            peers: Vec::new(),
            sender,
            events,
            series: Series::default(),
            signals,
            run: rand::random(),
            standstill_max: STANDSTILL_MAX,
        })
    }

    /// By which an agent knows who is of this run.
    pub(super) fn run_number(&self) -> u64 {
        self.run
    }

    /// Whether a signal has come, for who does not gather.
    pub(super) fn is_interrupted(&self) -> bool {
        self.signals.came()
    }

    /// Starts a process in a role, at its place.
    pub(crate) fn start(&mut self, role: Role, name: String, site: &Site) -> Result<PeerId, RunError> {
        let namespace = match site {
            Site::Here => None,
            Site::Namespace(namespace) => Some(namespace.as_str()),
            Site::Agent(agent) => {
                let (agent, run) = (agent.clone(), self.run);
                return self.join_far(role, name, move || far::at_agent(&agent, role, run));
            }
            Site::Ssh(machine) => {
                let (machine, run) = (machine.clone(), self.run);
                return self.join_far(role, name, move || ssh::start(&machine, role, run));
            }
        };
        let (child, stdin, stdout) = ChildProcess::start(&self.program, role.subcommand(), namespace, &name)
            .map_err(|source| RunError::Start { name: name.clone(), source })?;
        self.join(role, name, Box::new(stdin), Box::new(stdout), Hold::Child(child))
    }

    /// Has a far peer join on a thread of its own: a signal ends the waiting for an agent that takes its time.
    fn join_far(
        &mut self,
        role: Role,
        name: String,
        join: impl FnOnce() -> Result<Far, String> + Send + 'static,
    ) -> Result<PeerId, RunError> {
        let (tell, told) = channel();
        let thread = std::thread::Builder::new().name(format!("joining {name}"));
        let spawned = thread.spawn(move || drop(tell.send(join())));
        spawned.map_err(|source| RunError::Start { name: name.clone(), source })?;
        loop {
            match told.recv_timeout(SIGNAL_LOOK) {
                Ok(Ok(Far { orders, news, hold })) => {
                    return self.join(role, name, orders, news, Hold::Far(hold));
                }
                Ok(Err(what)) => return Err(RunError::Far { name, what }),
                Err(RecvTimeoutError::Timeout) if self.signals.came() => return Err(RunError::Interrupted),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("the thread that joins {name} panicked"),
            }
        }
    }

    /// The clock of the machine that a peer is on, if it is not this one.
    pub(crate) fn clock(&self, peer: PeerId) -> Option<Clock> {
        match &self.peers[peer.0].hold {
            Hold::Far(hold) => Some(hold.clock),
            _ => None,
        }
    }

    /// What a person calls a peer.
    pub(crate) fn name(&self, peer: PeerId) -> &str {
        &self.peers[peer.0].name
    }

    fn join(
        &mut self,
        role: Role,
        name: String,
        orders: Box<dyn Write + Send>,
        news: Box<dyn Read + Send>,
        hold: Hold,
    ) -> Result<PeerId, RunError> {
        let id = PeerId(self.peers.len());
        let sender = self.sender.clone();
        let thread = std::thread::Builder::new().name(format!("news of {name}"));
        let pulse = Arc::new(Mutex::new(Pulse { heard: Instant::now(), beats: false }));
        let peer = Peer {
            name: name.clone(),
            pulse: Arc::clone(&pulse),
            role,
            orders: Some(orders),
            hold,
            gone: false,
            sacrificed: false,
            fault: None,
            told: false,
        };
        self.peers.push(peer);
        thread
            .spawn(move || listen(id, role, news, &pulse, &sender))
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
            match &mut peer.hold {
                Hold::Child(child) => child.kill(),
                Hold::Far(hold) => hold.close(),
                #[cfg(test)]
                Hold::None => {}
            }
        }
    }

    /// Waits until `take` was done with news of each of `from` that is not killed meanwhile as part of the run; what it
    /// made, in their order.
    ///
    /// # Errors
    /// Any peer went, failed, stands still or said what nobody had asked for; one of `from` made no progress for too long;
    /// a signal came.
    pub(crate) fn gather<T>(
        &mut self,
        from: &[PeerId],
        phase: &'static str,
        silence_max: Duration,
        mut take: impl FnMut(usize, News) -> Take<T>,
    ) -> Result<Vec<T>, RunError> {
        let mut made: Vec<Option<T>> = from.iter().map(|_| None).collect();
        let mut since = Instant::now();
        let mut heard = vec![since; from.len()];
        let pause = self.standstill_max / STANDSTILL_LOOKS;
        let mut look = since + pause;
        loop {
            let waits = |index: &usize| made[*index].is_none() && !self.peers[from[*index].0].sacrificed;
            let waiting: Vec<usize> = (0..from.len()).filter(waits).collect();
            let Some(deadline) = waiting.iter().map(|index| heard[*index] + silence_max).min() else { break };
            let now = Instant::now();
            if now >= look {
                if now - look > self.standstill_max / 2 {
                    // It is this process that stood still. What was said meanwhile is still to be heard.
                    since = now;
                    heard.fill(now);
                } else if let Some(peer) = self.stands_still(since, self.standstill_max) {
                    return Err(self.standstill(peer, phase, since));
                }
                look = now + pause;
                continue;
            }
            match self.events.recv_timeout(deadline.min(look).saturating_duration_since(now)) {
                Ok(Event::Victim(name)) => self.sacrifice(&name),
                Ok(Event::News(peer, _)) if self.peers[peer.0].sacrificed => {}
                Ok(Event::News(peer, news)) if news.failure().is_none() => {
                    let name = &self.peers[peer.0].name;
                    // A second may tell that nothing happens: whoever tells only seconds is silent.
                    let Some(news) = self.series.take(name, news) else { continue };
                    let Some(index) = from.iter().position(|one| *one == peer) else { continue };
                    heard[index] = Instant::now();
                    match take(index, news) {
                        Take::Done(thing) => made[index] = Some(thing),
                        Take::More => {}
                        Take::Unexpected(news) => return Err(self.unexpected(peer, phase, &news)),
                    }
                }
                Ok(Event::Ended(peer, _) | Event::Gone(peer, _)) if self.peers[peer.0].gone => {}
                Ok(Event::Signal) => return Err(RunError::Interrupted),
                Ok(bad) => return Err(self.blame(bad)),
                Err(RecvTimeoutError::Timeout) => {
                    let silent = waiting.iter().filter(|index| heard[**index].elapsed() >= silence_max);
                    let Some(index) = silent.min_by_key(|index| heard[**index]) else { continue };
                    // Whoever waits for one that stands still is silent, too.
                    if let Some(peer) = self.stands_still(since, self.standstill_max / 2) {
                        return Err(self.standstill(peer, phase, since));
                    }
                    let name = self.peers[from[*index].0].name.clone();
                    return Err(RunError::Silent { name, phase, silence: silence_max });
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("the team holds a sender itself"),
            }
        }
        Ok(made.into_iter().flatten().collect())
    }

    /// Of the peers that tell every second that they live: whose lines stopped first, if that is so long ago. Nobody's
    /// silence counts from before `since`.
    fn stands_still(&self, since: Instant, silence_min: Duration) -> Option<PeerId> {
        let at_work = |peer: &&Peer| !peer.gone && peer.orders.is_some();
        let peers = self.peers.iter().enumerate().filter(|(_, peer)| at_work(peer));
        let silent = peers.filter(|(_, peer)| {
            let Pulse { heard, beats } = peer.pulse();
            beats && heard.max(since).elapsed() >= silence_min
        });
        silent.min_by_key(|(_, peer)| peer.pulse().heard).map(|(index, _)| PeerId(index))
    }

    fn standstill(&self, peer: PeerId, phase: &'static str, since: Instant) -> RunError {
        let peer = &self.peers[peer.0];
        let silence = peer.pulse().heard.max(since).elapsed();
        RunError::Standstill { name: peer.name.clone(), phase, silence }
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
                Ok(Event::Ended(peer, ended)) => self.peers[peer.0].ended(ended),
                Ok(Event::Gone(peer, why)) => self.peers[peer.0].went(why),
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
                Ok(Event::Ended(peer, ended)) => self.peers[peer.0].ended(ended),
                Ok(Event::Gone(peer, why)) => self.peers[peer.0].went(why),
                Ok(Event::Signal) | Err(_) => break,
                Ok(_) => {}
            }
        }
        for peer in &mut self.peers {
            peer.clear_away(Duration::ZERO);
        }
    }

    fn unexpected(&mut self, peer: PeerId, phase: &str, news: &News) -> RunError {
        let said: String = plain(&format!("{news:?}")).chars().take(120).collect();
        self.child_error(peer, format!("said what nobody had asked for while {phase}: {said}"))
    }

    /// Names the peer that began it: one failure drags others with it within moments.
    fn blame(&mut self, first: Event) -> RunError {
        let deadline = Instant::now() + BLAME_TIME;
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Event::News(peer, news) => {
                    if let (Some(sentence), None) = (news.failure(), &self.peers[peer.0].fault) {
                        self.peers[peer.0].fault = Some(format!("cannot go on: {}", plain(sentence)));
                        self.peers[peer.0].told = true;
                    }
                }
                Event::Garbled(peer, line) => {
                    self.peers[peer.0].fault.get_or_insert(format!("said what is no news: {}", plain(&line)));
                }
                Event::Ended(peer, ended) => self.peers[peer.0].ended(ended),
                Event::Gone(peer, why) => self.peers[peer.0].went(why),
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
        let log = if peer.told { Vec::new() } else { telling(&peer.log()) };
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
        let what = match &mut self.hold {
            Hold::Child(child) => child.end(CUT_TIMEOUT).map(ending),
            Hold::Far(hold) => Some(hold.told()),
            #[cfg(test)]
            Hold::None => None,
        };
        Some((0, what.unwrap_or_else(|| "closed its stream".into())))
    }

    fn pulse(&self) -> Pulse {
        *self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last lines of its log.
    fn log(&mut self) -> Vec<String> {
        match &mut self.hold {
            Hold::Child(child) => child.log(),
            Hold::Far(hold) => hold.log(),
            #[cfg(test)]
            Hold::None => Vec::new(),
        }
    }

    /// Its agent has told how its child ended; the end of the stream follows.
    fn ended(&mut self, ended: Ended) {
        self.gone = true;
        if let Hold::Far(hold) = &mut self.hold {
            hold.ended = Some(ended);
        }
    }

    /// Its stream has ended.
    fn went(&mut self, why: Option<String>) {
        self.gone = true;
        if let Hold::Far(hold) = &mut self.hold {
            hold.lost = why;
        }
    }

    /// Waits for the child's end, and kills it if it does not come; whether it ended by itself and well.
    fn clear_away(&mut self, time: Duration) -> bool {
        self.gone = true;
        match &mut self.hold {
            Hold::Child(child) => {
                let well = child.end(time).is_some_and(|status| status.success());
                child.kill();
                well
            }
            // Its agent has told of its end before the stream's.
            Hold::Far(hold) => {
                hold.close();
                hold.is_well()
            }
            #[cfg(test)]
            Hold::None => true,
        }
    }
}

/// Those lines of a log that tell why its process ended: warnings, errors and panics; the last few where there are none.
fn telling(log: &[String]) -> Vec<String> {
    let is_bad = |line: &str| {
        [" WARN ", " ERROR ", "panicked at"].iter().any(|word| line.contains(word))
            || line.to_lowercase().starts_with("error")
    };
    // What a panic says stands on the line after its place.
    let bad = log
        .iter()
        .enumerate()
        .filter(|(index, line)| is_bad(line) || *index > 0 && log[index - 1].contains("panicked at"));
    let bad: Vec<String> = bad.map(|(_, line)| plain(line)).collect();
    if bad.is_empty() {
        log.iter().rev().take(LOG_LINES_TOLD).rev().map(|line| plain(line)).collect()
    } else {
        bad
    }
}

/// Turns a peer's lines into events until its stream ends.
fn listen(id: PeerId, role: Role, news: Box<dyn Read + Send>, pulse: &Mutex<Pulse>, events: &Sender<Event>) {
    let mut news = BufReader::new(news);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = news.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) {
            let _ = events.send(Event::Gone(id, read.err().map(|error| error.to_string())));
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let event = match (far::ended(&text), role.read(&text)) {
            (Some(ended), _) => Event::Ended(id, ended),
            (None, Ok(news)) => Event::News(id, news),
            (None, Err(_)) => Event::Garbled(id, text.trim_end().chars().take(120).collect()),
        };
        {
            let mut pulse = pulse.lock().unwrap_or_else(PoisonError::into_inner);
            pulse.heard = Instant::now();
            pulse.beats |= matches!(&event, Event::News(_, news) if news.is_beat());
        }
        // It says nothing else, and must not look like progress.
        if matches!(event, Event::News(_, News::Host(HostNews::Alive))) {
            continue;
        }
        if events.send(event).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
