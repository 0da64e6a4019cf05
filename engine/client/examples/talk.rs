//! Talks in a group over plain TCP: joins, dials one user, sends the lines that it reads and prints what it accepts.
//!
//! ```text
//! cargo run -p twincast-client --example talk -- S1 S2 GROUP USER PEER
//! cargo run -p twincast-client --example talk -- 127.0.0.1:7101 127.0.0.1:7201 1 4 9
//! ```
//!
//! USER is who you are and PEER whom you write to: numbers of users. A user that the group does not have asks to join,
//! and is let in with the next epoch. Each round carries one line, or nothing, which looks the same. The end of
//! standard input ends the program once everything is said.
//!
//! Three threads read: one each server's socket, one standard input. They hand what they read to the one that has the
//! client, which also writes. A server's next bytes are read once the client has taken the last ones, so that a server
//! that is ahead of the other one waits.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use twincast_client::{Client, ClientSettings, Event, Messages, Observer, Outbox, Tile, User};
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::receive::Verdicts;

/// Bytes of a socket that are read at a time.
const READ_BYTES: usize = 64 << 10;
/// How often a client looks at the clock when nothing arrives.
const TICK: Duration = Duration::from_millis(50);

/// What the threads that read have to say.
enum News {
    /// Bytes of a server; none if it has closed the connection.
    Bytes(ServerSide, Vec<u8>),
    /// A line of standard input; none at its end.
    Line(Option<String>),
}

/// What a server sent and the client has not taken yet.
#[derive(Default)]
struct Arrived {
    bytes: Vec<u8>,
    /// Tells the thread that reads that there is room for more.
    taken: Option<Sender<()>>,
}

/// What is said, and what is heard.
struct Talk {
    peer: [UserId; 1],
    /// Lines that are not sent yet.
    lines: VecDeque<String>,
    /// The one that goes out next.
    message: Vec<u8>,
    message_bytes_max: usize,
    /// The members of the epoch, to name senders by.
    roster: Vec<UserId>,
    /// The epoch has opened, or a round is over: the next one is due.
    due: bool,
}

impl Outbox for Talk {
    fn recipients(&mut self, _epoch: Epoch, _sender: User, _slot: SlotIndex) -> &[UserId] {
        &self.peer
    }

    fn message(&mut self, _round: RoundNumber, _sender: User, slot: SlotIndex) -> &[u8] {
        self.message.clear();
        if let Some(line) = self.lines.pop_front().filter(|_| slot == SlotIndex(0)) {
            self.message.extend(line.bytes().take(self.message_bytes_max));
        }
        &self.message
    }

    fn key_partners(&mut self, _epoch: Epoch, _sender: User) -> &[UserId] {
        &self.peer
    }
}

impl Observer for Talk {
    fn verdicts(&mut self, tile: &Tile, _user: User, verdicts: &Verdicts, messages: &Messages<'_>) {
        for sender in (0..64).filter(|sender| verdicts.accept >> sender & 1 == 1) {
            let text = String::from_utf8_lossy(messages.get(sender));
            let text = text.trim_end_matches('\0');
            let name = self.roster.get(tile.first_sender.0 as usize + sender);
            if let Some(name) = name.filter(|_| !text.is_empty()) {
                println!("{name}: {text}");
            }
        }
        if verdicts.tampered != 0 {
            eprintln!("round {}: somebody altered what a server handed out", tile.round);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Attached(group) => {
                self.message_bytes_max = group.message_bytes_max(true);
                eprintln!("group {} of {} members, epoch {}", group.group, group.members, group.epoch);
            }
            Event::EpochOpen { epoch, first_round, .. } => {
                eprintln!("epoch {epoch} is open from round {first_round} on");
                self.due = true;
            }
            Event::RoundClosed { .. } => self.due = true,
            Event::Refused { server, sentence, .. } => eprintln!("{server}: {sentence}"),
            Event::NotAdmitted { epoch, user } => eprintln!("user {user} is not in epoch {epoch}"),
            Event::RecipientGone { recipient, .. } => eprintln!("user {recipient} is not in the group"),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [one, two, group, user, peer] = &arguments[..] else {
        return Err("usage: talk S1_ADDRESS S2_ADDRESS GROUP USER PEER".into());
    };
    let settings = ClientSettings {
        group: GroupId(group.parse()?),
        epoch: None,
        join: true,
        skew_bytes: 16 << 20,
        signed: None,
        accept_baseline: false,
    };
    let mut client = Client::new(settings, vec![UserId(user.parse()?)])?;
    let mut talk = Talk {
        peer: [UserId(peer.parse()?)],
        lines: VecDeque::new(),
        message: Vec::new(),
        message_bytes_max: 0,
        roster: Vec::new(),
        due: false,
    };

    let mut sockets = [TcpStream::connect(one)?, TcpStream::connect(two)?];
    let (tell, news) = mpsc::channel();
    let mut arrived: [Arrived; 2] = Default::default();
    for (server, socket) in ServerSide::BOTH.into_iter().zip(&sockets) {
        socket.set_nodelay(true)?;
        let (socket, tell) = (socket.try_clone()?, tell.clone());
        let (taken, all_taken) = mpsc::channel();
        arrived[server.index()].taken = Some(taken);
        thread::spawn(move || read_socket(server, socket, &tell, &all_taken));
    }
    thread::spawn(move || read_lines(&tell));

    let (start, mut rng) = (Instant::now(), rand::rng());
    let mut said_all = false;
    loop {
        match news.recv_timeout(TICK) {
            Ok(News::Bytes(server, bytes)) if bytes.is_empty() => {
                client.closed(server);
                client.advance(start.elapsed(), &mut talk)?;
                return Err(format!("{server} closed the connection").into());
            }
            Ok(News::Bytes(server, bytes)) => arrived[server.index()].bytes = bytes,
            Ok(News::Line(Some(line))) => talk.lines.push_back(line),
            Ok(News::Line(None)) => said_all = true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("nothing is left to read from".into()),
        }
        take(&mut client, &mut talk, &mut arrived, start)?;
        if std::mem::take(&mut talk.due) {
            if said_all && talk.lines.is_empty() {
                return Ok(());
            }
            if client.submit().is_none() {
                talk.due = client.round().is_some();
            }
        }
        for server in ServerSide::BOTH {
            loop {
                let bytes = client.outgoing(server, &mut rng, &mut talk)?;
                if bytes.is_empty() {
                    break;
                }
                let some = sockets[server.index()].write(bytes)?;
                client.sent(server, some);
            }
        }
    }
}

/// Gives the client what came, as far as it takes it.
fn take(
    client: &mut Client,
    talk: &mut Talk,
    arrived: &mut [Arrived; 2],
    start: Instant,
) -> Result<(), Box<dyn Error>> {
    loop {
        let mut taken = 0;
        for server in ServerSide::BOTH {
            let Arrived { bytes, taken: tell } = &mut arrived[server.index()];
            let space = client.space(server, start.elapsed());
            let some = bytes.len().min(space.len());
            space[..some].copy_from_slice(&bytes[..some]);
            client.filled(server, some);
            bytes.drain(..some);
            if let Some(tell) = tell.as_ref().filter(|_| some > 0 && bytes.is_empty()) {
                tell.send(())?;
            }
            taken += some;
        }
        client.advance(start.elapsed(), talk)?;
        if let Some(roster) = client.epoch().and_then(|epoch| client.roster(epoch)) {
            roster.clone_into(&mut talk.roster);
        }
        if taken == 0 {
            return Ok(());
        }
    }
}

fn read_socket(server: ServerSide, mut socket: TcpStream, tell: &Sender<News>, taken: &Receiver<()>) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = socket.read(&mut buffer).unwrap_or(0);
        let told = tell.send(News::Bytes(server, buffer[..bytes].to_vec()));
        // Nothing is sent after the end, and nobody listens after the client is gone.
        if told.is_err() || bytes == 0 || taken.recv().is_err() {
            return;
        }
    }
}

fn read_lines(tell: &Sender<News>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        if tell.send(News::Line(Some(line))).is_err() {
            return;
        }
    }
    let _ = tell.send(News::Line(None));
}
