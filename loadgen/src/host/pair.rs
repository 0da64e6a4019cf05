//! One connection to each server, and the four tasks that move its bytes.
//!
//! Each direction of each connection is a task of its own. They share the client and never wait for each other's
//! socket: a reader stops only while its server is too far ahead of the other one, a writer only while there is
//! nothing to say or its own socket is full.

use super::figures::Shared;
use super::meter::{Scanner, Way};
use super::player::Player;
use super::turn::turn;
use crate::plan::{ChannelName, Plan};
use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead as _, AsyncWrite as _};
use glommio::net::TcpStream;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use twincast_client::{Client, ClientError};
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide};

/// A connection pair: its client and who waits for it.
pub(super) struct Pair {
    pub(super) client: Client,
    pub(super) player: Player,
    shared: Rc<Shared>,
    /// Rounds submitted ahead of the one that is delivered.
    ahead: u64,
    servers: [SocketAddr; 2],
    /// Readers whose server is too far ahead, and writers with nothing to say.
    readers: [Option<Waker>; 2],
    writers: [Option<Waker>; 2],
    /// The round whose submissions are on their way out.
    submitting: Option<RoundNumber>,
    /// What passes, by server and way, where channels are plain; the client shows what goes through private ones.
    scanners: Option<[[Scanner; 2]; 2]>,
    /// Duplicates of its sockets, if it is the pair that the plan's fault must break.
    may_break: Vec<std::net::TcpStream>,
}

/// All pairs of a host; more come when users join.
pub(super) type Pairs = Rc<RefCell<Vec<Rc<RefCell<Pair>>>>>;

/// Why a task of a pair ended.
enum Stop {
    /// The socket's error; none if the server closed the connection.
    Socket(Option<io::Error>),
    Client(ClientError),
}

impl Pair {
    pub(super) fn new(
        mut client: Client,
        player: Player,
        shared: Rc<Shared>,
        plan: &Plan,
        servers: [SocketAddr; 2],
    ) -> Pair {
        let scanners = match plan.channel {
            ChannelName::Noise => {
                shared.watch(&mut client);
                None
            }
            ChannelName::Plain => {
                Some(ServerSide::BOTH.map(|server| [Way::Up, Way::Down].map(|way| Scanner::new(server, way))))
            }
        };
        Pair {
            client,
            player,
            shared,
            ahead: plan.ahead.into(),
            servers,
            readers: [None, None],
            writers: [None, None],
            submitting: None,
            scanners,
            may_break: Vec::new(),
        }
    }

    /// It may break: the host goes on with its other pairs. These are duplicates of its sockets.
    pub(super) fn may_break(&mut self, sockets: Vec<std::net::TcpStream>) {
        self.may_break = sockets;
    }

    /// Starts the four tasks over these two connections.
    pub(super) fn start(pair: &Rc<RefCell<Pair>>, streams: [TcpStream; 2]) {
        for (server, stream) in ServerSide::BOTH.into_iter().zip(streams) {
            let stream = Rc::new(RefCell::new(stream));
            let (reading, read_stream) = (pair.clone(), stream.clone());
            glommio::spawn_local(async move {
                let stop = read(&reading, &read_stream, server).await;
                reading.borrow_mut().fail(server, stop);
            })
            .detach();
            let writing = pair.clone();
            glommio::spawn_local(async move {
                let stop = write(&writing, &stream, server).await;
                writing.borrow_mut().fail(server, stop);
            })
            .detach();
        }
    }

    /// Plays so many rounds from this one on.
    pub(super) fn play(&mut self, first: u64, rounds: u32) {
        self.player.play(first, rounds);
        self.submit();
    }

    /// Uses what came, and does what is due by now.
    pub(super) fn advance(&mut self) -> Result<(), ClientError> {
        let (closed, open) = (self.player.closed, self.player.open);
        self.client.advance(self.shared.now(), &mut self.player)?;
        if let Some((epoch, _)) = self.player.open
            && self.player.open != open
        {
            self.opened(epoch);
        }
        if self.player.closed != closed || self.player.open != open {
            self.submit();
        }
        for server in ServerSide::BOTH {
            if self.writers[server.index()].is_some() && !self.client.is_drained(server) {
                self.writers[server.index()].take().into_iter().for_each(Waker::wake);
            }
        }
        Ok(())
    }

    /// Looks at answers that are in, unless something is still to be sent before that.
    fn read_answers(&mut self) -> Result<(), ClientError> {
        if self.player.is_to_read() { self.advance() } else { Ok(()) }
    }

    /// An epoch is open: its members must be those that were planned, and whoever goes with it says so at once.
    fn opened(&mut self, epoch: Epoch) {
        let members = self.client.roster(epoch).unwrap_or_default();
        if let Err(sentence) = self.player.check_roster(epoch, members) {
            self.shared.fail(sentence);
        }
        for user in self.player.leavers(epoch) {
            self.client.leave(user);
        }
    }

    /// What a clock does for a pair where nothing arrives.
    pub(super) fn tick(&mut self) {
        if self.player.broken.is_some() {
            return;
        }
        if self.client.deadline().is_some_and(|deadline| deadline <= self.shared.now())
            && let Err(error) = self.advance()
        {
            self.fail(ServerSide::One, Stop::Client(error));
        }
        for reader in &mut self.readers {
            reader.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Starts the submissions that are due: the next round's once its planned instant has come, this host has sent all of
    /// the last one's, and has closed all but `ahead` of those before, or but one in an open loop that is in time.
    pub(super) fn submit(&mut self) {
        let (first, end) = self.player.rounds;
        // Who came later has closed none of the rounds before its own.
        let came = || self.player.open.map_or(first, |(_, round)| round.0.max(first));
        let closed = self.player.closed.map_or_else(came, |closed| closed.next().0.max(first));
        let next = self.submitting.map_or(first, |round| round.next().0).max(closed);
        let drained = ServerSide::BOTH.iter().all(|server| self.client.is_drained(*server));
        let pace = self.shared.pace.get();
        let overlaps = next > closed && pace.may_overlap(next, || self.shared.now());
        let ahead = self.ahead.max(overlaps.into());
        let due = self.player.broken.is_none()
            && next < end
            && next <= closed + ahead
            && next <= self.shared.last_round.get();
        if due && drained && self.player.plays(next) && pace.is_due(next, || self.shared.now()) {
            if let Some(round) = self.client.submit() {
                if pace.is_missed(round.0, || self.shared.now()) {
                    self.player.missed(round);
                }
                self.submitting = Some(round);
                self.player.submitted[round.0 as usize % 2] = None;
            }
            for writer in &mut self.writers {
                writer.take().into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Reads once. Whether that took all the room there was, so that more may be there.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        server: ServerSide,
    ) -> Poll<Result<bool, Stop>> {
        let now = self.shared.now();
        let space = self.client.space(server, now);
        let room = space.len();
        if room == 0 {
            self.readers[server.index()] = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes = match ready!(Pin::new(stream).poll_read(cx, space)) {
            Ok(0) => return Poll::Ready(Err(Stop::Socket(None))),
            Ok(bytes) => bytes,
            Err(error) => return Poll::Ready(Err(Stop::Socket(Some(error)))),
        };
        if let Some(scanners) = &mut self.scanners {
            scanners[server.index()][1].pass(&space[..bytes], now, &mut self.shared.meter());
        }
        self.shared.received(server, bytes);
        self.client.filled(server, bytes);
        self.advance().map_err(Stop::Client)?;
        self.readers[server.other().index()].take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes == room))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        server: ServerSide,
    ) -> Poll<Result<(), Stop>> {
        let mut rng = self.shared.rng.borrow_mut();
        let bytes = self.client.outgoing(server, &mut *rng, &mut self.player).map_err(Stop::Client)?;
        if bytes.is_empty() {
            self.writers[server.index()] = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let sent =
            ready!(Pin::new(stream).poll_write(cx, bytes)).map_err(|error| Stop::Socket(Some(error)))?;
        drop(rng);
        let now = self.shared.now();
        if let Some(scanners) = &mut self.scanners {
            scanners[server.index()][0].pass(&bytes[..sent], now, &mut self.shared.meter());
        }
        self.shared.sent(server, sent);
        self.client.sent(server, sent);
        if ServerSide::BOTH.iter().all(|server| self.client.is_drained(*server)) {
            if let Some(round) = self.submitting {
                self.player.submitted[round.0 as usize % 2].get_or_insert(self.shared.now());
            }
            self.submit();
        }
        // What is made for one server is made for the other one too.
        self.writers[server.other().index()].take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, server: ServerSide, stop: Stop) {
        if self.player.broken.is_some() {
            return;
        }
        let sentence = self.why(server, &stop);
        if self.may_break.is_empty() {
            self.shared.fail(sentence);
            return;
        }
        self.player.broke(sentence);
        // Whoever waits for one of the sockets ends.
        for socket in self.may_break.drain(..) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        let waiting = self.readers.iter_mut().chain(&mut self.writers);
        waiting.for_each(|waker| waker.take().into_iter().for_each(Waker::wake));
    }

    /// Why a pair cannot go on, in a sentence.
    fn why(&self, server: ServerSide, stop: &Stop) -> String {
        let users = self.client.users();
        let address = self.servers[server.index()];
        let whose = match users {
            [user] => format!("the connection of user {user}"),
            [first, .., last] => format!("the connection of users {first} to {last}"),
            [] => "a connection".to_owned(),
        };
        let refused = self.player.refused[server.index()].as_deref();
        match (stop, refused) {
            (Stop::Client(error), _) => error.to_string(),
            (Stop::Socket(_), Some(sentence)) => {
                format!("{server} ({address}) closed {whose}: {sentence}")
            }
            (Stop::Socket(None), None) => format!("{server} ({address}) closed {whose} without a reason"),
            (Stop::Socket(Some(error)), None) => format!("{server} ({address}) broke {whose}: {error}"),
        }
    }
}

async fn read(pair: &RefCell<Pair>, stream: &RefCell<TcpStream>, server: ServerSide) -> Stop {
    loop {
        let step = poll_fn(|cx| pair.borrow_mut().poll_read(cx, &mut stream.borrow_mut(), server)).await;
        if let Err(stop) = step {
            return stop;
        }
        if pair.borrow().player.is_to_read() {
            // What is to be sent goes before what was read.
            turn().await;
            if let Err(error) = pair.borrow_mut().read_answers() {
                return Stop::Client(error);
            }
        }
        // One that took all there was waits for more anyway.
        if let Ok(true) = step {
            turn().await;
        }
    }
}

async fn write(pair: &RefCell<Pair>, stream: &RefCell<TcpStream>, server: ServerSide) -> Stop {
    loop {
        let step = poll_fn(|cx| pair.borrow_mut().poll_write(cx, &mut stream.borrow_mut(), server)).await;
        if let Err(stop) = step {
            return stop;
        }
        turn().await;
        if let Err(error) = pair.borrow_mut().read_answers() {
            return Stop::Client(error);
        }
    }
}

/// Sees to pairs where nothing arrives: closes late rounds, lets full buffers grow.
pub(super) async fn tick_all(pairs: Pairs, every: Duration) {
    loop {
        glommio::timer::sleep(every).await;
        for pair in pairs.borrow().iter() {
            pair.borrow_mut().tick();
        }
    }
}
