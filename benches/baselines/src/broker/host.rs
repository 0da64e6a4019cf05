//! A client host of the broker: one connection, a subscription for each user on it.

use super::mail::{Mail, wave_senders};
use super::text::{CONNECT, LINE_BYTES_MAX, PING, PONG, Said, publish, read, subscribe};
use crate::{BaselineError, Play, Setup};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The group's subject.
const SUBJECT: &str = "group.0";
/// Bytes of a read at the least.
const READ_BYTES: usize = 512 << 10;
/// Time for the broker to take subscriptions.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(60);
/// What fills a message.
const FILLER: u8 = 0x5a;

/// A client host whose users are subscribed.
#[derive(Debug)]
pub struct Host {
    setup: Setup,
    host: u32,
    stream: TcpStream,
    events: Receiver<Event>,
    bytes_in: Arc<AtomicU64>,
    /// Of them, those of before and of earlier rounds: other hosts' messages may come before this host plays.
    bytes_told: u64,
    reader: Option<JoinHandle<()>>,
    round: u32,
}

/// What the reading thread tells.
#[derive(Debug)]
enum Event {
    /// The broker wants a PONG.
    Ping,
    /// The broker has taken what was sent before the PING.
    Pong,
    /// All messages of a wave came to all users of this host.
    Wave(Instant),
    Failed(BaselineError),
}

impl Host {
    /// Connects and subscribes each of the host's users. Nobody may play before all hosts are connected.
    ///
    /// # Errors
    /// The setup cannot be; the broker is not there, closes, or refuses.
    pub fn connect(setup: Setup, host: u32, broker: SocketAddr) -> Result<Host, BaselineError> {
        setup.check()?;
        let failed = BaselineError::io("cannot set up a connection to the broker");
        let stream = TcpStream::connect(broker).map_err(BaselineError::io("cannot reach the broker"))?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, events) = channel();
        let bytes_in = Arc::new(AtomicU64::new(0));
        let mail = Mail::new(&setup, host);
        let (far, counter) = (stream.try_clone().map_err(failed)?, Arc::clone(&bytes_in));
        let thread = std::thread::Builder::new().name("broker reader".into());
        let thread = thread.spawn(move || listen(far, mail, &counter, &sender)).map_err(failed)?;
        let mut host =
            Host { setup, host, stream, events, bytes_in, bytes_told: 0, reader: Some(thread), round: 0 };
        host.subscribe()?;
        host.bytes_since();
        Ok(host)
    }

    fn subscribe(&mut self) -> Result<(), BaselineError> {
        let mut bytes = CONNECT.to_vec();
        self.setup.users_of(self.host).for_each(|user| subscribe(SUBJECT, user, &mut bytes));
        bytes.extend_from_slice(PING);
        self.send(&bytes)?;
        loop {
            match self.events.recv_timeout(SUBSCRIBE_TIMEOUT) {
                Ok(Event::Pong) => return Ok(()),
                Ok(event) => drop(self.other(event)?),
                Err(_) => return Err(BaselineError::Protocol("the broker takes no subscriptions".into())),
            }
        }
    }

    /// Plays so many rounds, each when the last has wholly come in; tells `progress` after each how many it has played.
    ///
    /// # Errors
    /// The broker closed, refused, or delivered a message that is not of now, or one too many.
    pub fn play(&mut self, rounds: u32, mut progress: impl FnMut(u32)) -> Result<Play, BaselineError> {
        let mut play = Play::default();
        let users = self.setup.users_of(self.host).count() as u64;
        for played in 1..=rounds {
            let start = Instant::now();
            let mut end = start;
            let wave = wave_senders(&self.setup);
            let mut first = 0;
            while first < self.setup.senders {
                let last = first.saturating_add(wave).min(self.setup.senders);
                self.send(&self.messages(first, last))?;
                end = self.wave_ended()?;
                first = last;
            }
            self.round = self.round.wrapping_add(1);
            play.round_seconds.push(end.saturating_duration_since(start).as_secs_f64());
            play.deliveries += users * u64::from(self.setup.senders);
            progress(played);
        }
        play.bytes_in = vec![self.bytes_since()];
        Ok(play)
    }

    /// Bytes that came since this was last asked.
    fn bytes_since(&mut self) -> u64 {
        let all = self.bytes_in.load(Ordering::Relaxed);
        all - std::mem::replace(&mut self.bytes_told, all)
    }

    /// What this host's senders out of `first..last` publish now.
    fn messages(&self, first: u32, last: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut payload = vec![FILLER; self.setup.share_bytes as usize];
        let senders = self.setup.senders_of(self.host);
        for sender in senders.filter(|sender| (first..last).contains(sender)) {
            payload[..4].copy_from_slice(&sender.to_le_bytes());
            payload[4..8].copy_from_slice(&self.round.to_le_bytes());
            publish(SUBJECT, &payload, &mut bytes);
        }
        bytes
    }

    fn wave_ended(&mut self) -> Result<Instant, BaselineError> {
        loop {
            let event = self.events.recv();
            let event = event.map_err(|_| BaselineError::Protocol("the reader has ended".into()))?;
            if let Some(end) = self.other(event)? {
                return Ok(end);
            }
        }
    }

    fn other(&mut self, event: Event) -> Result<Option<Instant>, BaselineError> {
        match event {
            Event::Ping => self.send(PONG).map(|()| None),
            Event::Pong => Ok(None),
            Event::Wave(end) => Ok(Some(end)),
            Event::Failed(error) => Err(error),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BaselineError> {
        self.stream.write_all(bytes).map_err(BaselineError::io("cannot send to the broker"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It fails where the broker has closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.reader.take() {
            let _ = thread.join();
        }
    }
}

/// Reads until the connection ends.
fn listen(mut stream: TcpStream, mut mail: Mail, bytes_in: &Arc<AtomicU64>, events: &Sender<Event>) {
    let longest = mail.setup.share_bytes as usize + LINE_BYTES_MAX + 2;
    let mut buffer = vec![0; READ_BYTES.max(2 * longest)];
    let mut filled = 0;
    loop {
        let got = match stream.read(&mut buffer[filled..]) {
            Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            other => other,
        };
        let end = got.map_err(BaselineError::io("the broker's connection ended")).and_then(|got| {
            bytes_in.fetch_add(got as u64, Ordering::Relaxed);
            filled += got;
            let taken = take_all(&buffer[..filled], &mut mail, events)?;
            buffer.copy_within(taken..filled, 0);
            filled -= taken;
            Ok(())
        });
        if let Err(error) = end {
            // Nobody listens any more where the host itself has closed the connection.
            let _ = events.send(Event::Failed(error));
            return;
        }
    }
}

/// Takes what is whole; how many bytes that were.
fn take_all(bytes: &[u8], mail: &mut Mail, events: &Sender<Event>) -> Result<usize, BaselineError> {
    let mut at = 0;
    while let Some((said, taken)) = read(&bytes[at..])? {
        at += taken;
        let event = match said {
            Said::Message { sid, payload } => {
                for _ in 0..mail.take(sid, payload)? {
                    let _ = events.send(Event::Wave(Instant::now()));
                }
                None
            }
            Said::Ping => Some(Event::Ping),
            Said::Pong => Some(Event::Pong),
            Said::Other => None,
        };
        // The host outlives this thread.
        event.into_iter().for_each(|event| drop(events.send(event)));
    }
    Ok(at)
}
