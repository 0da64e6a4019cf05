//! What the tests over real sockets share: a server that stops when it goes out of scope, a small blocking client,
//! and a naive model of every byte that a server has to send.
//!
//! The model writes frames by hand from `engine/docs/WIRE.md` and looks bits up one by one, so that it shares nothing
//! with what it judges.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

pub(crate) mod accounts;
pub(crate) mod client;
pub(crate) mod model;
pub(crate) mod pair;
pub(crate) mod party;
mod process;
pub(crate) mod readers;

pub(crate) use client::{Client, End};
pub(crate) use model::Model;
pub(crate) use pair::Pair;
pub(crate) use party::{Party, Seat};
pub(crate) use process::{Process, run_to_end};
pub(crate) use readers::Readers;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};
use twincast_protocol::channel::StaticKey;
use twincast_protocol::ids::ServerSide;
use twincast_server::Server;
use twincast_server::config::{
    AnswerConfig, ChannelName, Config, Cores, CoresNamed, FanOut, Front, GroupConfig, IdentitiesName, Limits,
};
use twincast_server::keys::{ChannelKeys, Keys};

/// How long a test waits for what has to come before it fails. Nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A time limit of a configuration that no test waits for.
pub(crate) const NEVER_MS: u64 = 600_000;

/// A group without confirmations whose time limits never come.
pub(crate) fn group(id: u32, members: u32) -> GroupConfig {
    GroupConfig {
        frame_bytes: 16,
        confirm: false,
        identities: IdentitiesName::Open,
        round_timeout_ms: NEVER_MS,
        dial_timeout_ms: NEVER_MS,
        ..GroupConfig::new(id, members)
    }
}

/// A small S1 on a free port whose time limits never come.
pub(crate) fn config(groups: Vec<GroupConfig>) -> Config {
    let cores = Cores::Named(CoresNamed::None);
    Config {
        side: 1,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        metrics_listen: None,
        insecure_baseline: false,
        channel: ChannelName::Plain,
        insecure_plain: false,
        channel_key: None,
        signing_key: None,
        registry: None,
        link: None,
        parts_box: None,
        front: Front { cores: cores.clone(), ..Front::default() },
        answer: AnswerConfig { cores: cores.clone(), ..AnswerConfig::default() },
        fan_out: FanOut { cores, slab_bytes: 64 << 10, slabs: 8, ..FanOut::default() },
        limits: Limits {
            connections_max: 512,
            hello_timeout_ms: NEVER_MS,
            reader_timeout_ms: NEVER_MS,
            strangers_per_address_max: 512,
            // All clients of a test have one address, and come as fast as they can.
            stranger_connections_per_second_max: u32::MAX,
            ..Limits::default()
        },
        #[cfg(feature = "fault-swap-half")]
        fault: twincast_server::config::FaultConfig::default(),
        groups,
    }
}

/// Servers at a time. Each locks some 600 KiB for every executor, an ordinary user may lock 8 MiB, and the kernel gives
/// them back a while after a server's end.
const SERVERS_MAX: usize = 4;

static SERVERS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// Leave to have some servers.
pub(crate) struct Permit(usize);

impl Permit {
    pub(crate) fn wait() -> Permit {
        Permit::wait_for(1)
    }

    /// Leave to have so many, all at once: nobody has some and waits for more.
    pub(crate) fn wait_for(count: usize) -> Permit {
        let servers = SERVERS.0.lock().expect("nobody panics with it");
        *SERVERS
            .1
            .wait_while(servers, |servers| *servers + count > SERVERS_MAX)
            .expect("nobody panics with it") += count;
        Permit(count)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *SERVERS.0.lock().expect("nobody panics with it") -= self.0;
        SERVERS.1.notify_all();
    }
}

fn start(config: Config) -> Server {
    let keys = keys(&config);
    Server::start_with(config, keys).expect("the configuration is good")
}

/// What a server of a test is known by, and knows the other one by.
pub(crate) fn keys(config: &Config) -> Keys {
    let side = config.server_side();
    let channel = ChannelKeys::new(channel_key(side), Some(channel_key(side.other()).public()));
    Keys {
        channel: (config.channel == ChannelName::Noise).then_some(channel),
        identities: readers::identities(config),
    }
}

/// What a server's channels are made with.
pub(crate) fn channel_key(side: ServerSide) -> StaticKey {
    StaticKey::from_bytes(&[100 + side.index() as u8; 32])
}

/// A server in this process. Let its clients go out of scope first: it waits a moment for those that stay.
pub(crate) struct TestServer(Option<Server>, Option<Permit>);

impl TestServer {
    pub(crate) fn start(config: Config) -> TestServer {
        let permit = Permit::wait();
        TestServer(Some(start(config)), Some(permit))
    }

    /// The same, for who has leave already.
    pub(crate) fn start_permitted(config: Config) -> TestServer {
        TestServer(Some(start(config)), None)
    }

    /// Waits until it has so many connections.
    pub(crate) fn wait_for_connections(&self, connections: u64) {
        wait_until("the number of connections", || count(&self.metrics().connections) == connections);
    }
}

impl Deref for TestServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.0.take()
            && !std::thread::panicking()
        {
            server.stop().expect("no thread of the server panicked");
        }
    }
}

/// What a counter says now.
pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Waits for something that the server does by itself.
///
/// # Panics
/// If it does not come.
pub(crate) fn wait_until(what: &str, mut come: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !come() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The body of the answer to a GET, and its status line.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).expect("the pages are served");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(socket, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

/// The value of a row of `/metrics`, summed over its labels where `row` names none.
pub(crate) fn metric(address: SocketAddr, row: &str) -> u64 {
    let (_, page) = http_get(address, "/metrics");
    let values: Vec<u64> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(name, _)| *name == row || name.split_once('{').is_some_and(|(name, _)| name == row))
        .map(|(_, value)| value.parse().expect("a number"))
        .collect();
    assert!(!values.is_empty(), "{row} is not on the page:\n{page}");
    values.iter().sum()
}
