//! What the tasks of the server's one thread share: who is there, and what has come in.

use super::outlet::Outlet;
use super::server::{Counters, Delivery, Trade};
use super::{HELLO_BYTES, MAGIC, UPLOAD_HEAD_BYTES, USER_BYTES, word};
use crate::{BaselineError, Setup};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;

/// Bytes that a connection is read by.
const READ_BYTES: usize = 64 << 10;
/// What waits for a connection at the most: the welcome or a round, while another is being sent.
const WORK_MAX: usize = 2;

/// What the tasks of the one thread share.
pub(super) struct Hall<T> {
    setup: Setup,
    nagle: bool,
    trade: T,
    counters: Arc<Counters>,
    book: RefCell<Book>,
    pub(super) failure: RefCell<Option<BaselineError>>,
    pub(super) failed: Notify,
}

/// Who is there, and what has come in.
struct Book {
    outlets: Vec<Option<mpsc::Sender<Work>>>,
    entering: Gathering,
    introductions: Rc<[u8]>,
    round: u32,
    uploads: Gathering,
}

/// Equal pieces, one from each of some users.
struct Gathering {
    bytes: Vec<u8>,
    there: Vec<bool>,
    missing: usize,
}

#[derive(Clone)]
enum Work {
    Welcome(Rc<[u8]>),
    Round(Rc<Delivery>),
}

impl<T: Trade> Hall<T> {
    pub(super) fn new(setup: Setup, nagle: bool, trade: T, counters: Arc<Counters>) -> Hall<T> {
        let book = Book {
            outlets: vec![None; setup.hosts as usize],
            entering: Gathering::new(setup.members, trade.introduction_bytes()),
            introductions: Rc::default(),
            round: 0,
            uploads: Gathering::new(setup.senders, trade.upload_bytes()),
        };
        let (book, failure, failed) = (RefCell::new(book), RefCell::default(), Notify::new());
        Hall { setup, nagle, trade, counters, book, failure, failed }
    }

    /// The first failure ends the server.
    pub(super) fn ended(&self, end: Result<(), BaselineError>) {
        if let Err(error) = end {
            self.failure.borrow_mut().get_or_insert(error);
            self.failed.notify_one();
        }
    }

    /// Reads one host's connection to its end.
    pub(super) async fn serve(self: &Rc<Self>, stream: TcpStream) -> Result<(), BaselineError> {
        let failed = BaselineError::io("cannot set up a connection");
        let nodelay = stream.set_nodelay(!self.nagle).and_then(|()| stream.nodelay()).map_err(failed)?;
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        self.counters.nodelay_connections.fetch_add(u64::from(nodelay), Ordering::Relaxed);
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::with_capacity(READ_BYTES, reader);
        let mut hello = [0; HELLO_BYTES];
        if !whole(&mut reader, &mut hello).await? {
            return Ok(());
        }
        let host = word(&hello, 4);
        if word(&hello, 0) != MAGIC || host >= self.setup.hosts {
            return Err(BaselineError::Protocol("a connection's first word is no host's hello".into()));
        }
        let (work, works) = mpsc::channel(WORK_MAX);
        if self.book.borrow_mut().outlets[host as usize].replace(work).is_some() {
            return Err(BaselineError::Protocol(format!("host {host} connects a second time")));
        }
        let users = self.setup.users_of(host).collect();
        let outlet = Outlet::new(writer, users, Arc::clone(&self.counters));
        let hall = Rc::clone(self);
        spawn_local(async move {
            let end = hall.send(works, outlet).await;
            hall.ended(end.map_err(BaselineError::io("cannot deliver to a host")));
        });
        self.read(host, &mut reader).await
    }

    async fn read(&self, host: u32, reader: &mut BufReader<OwnedReadHalf>) -> Result<(), BaselineError> {
        let mut introduction = vec![0; USER_BYTES + self.trade.introduction_bytes()];
        for _ in self.setup.users_of(host) {
            if !whole(reader, &mut introduction).await? {
                return Ok(());
            }
            self.introduced(host, word(&introduction, 0), &introduction[USER_BYTES..])?;
        }
        let mut upload = vec![0; UPLOAD_HEAD_BYTES + self.trade.upload_bytes()];
        while whole(reader, &mut upload).await? {
            let (sender, round) = (word(&upload, 0), word(&upload, 4));
            self.uploaded(host, sender, round, &upload[UPLOAD_HEAD_BYTES..])?;
        }
        Ok(())
    }

    fn introduced(&self, host: u32, user: u32, introduction: &[u8]) -> Result<(), BaselineError> {
        let mut book = self.book.borrow_mut();
        self.is_of(host, user)?;
        if book.entering.put(user, introduction)? {
            let all = std::mem::take(&mut book.entering.bytes);
            let welcome = self.trade.welcome(&all).into();
            book.introductions = all.into();
            book.tell_all(&Work::Welcome(welcome))?;
        }
        Ok(())
    }

    fn uploaded(&self, host: u32, sender: u32, round: u32, upload: &[u8]) -> Result<(), BaselineError> {
        let mut book = self.book.borrow_mut();
        self.is_of(host, sender)?;
        if round != book.round || book.entering.missing > 0 {
            return Err(BaselineError::Protocol(format!("host {host} is in a round that is not now")));
        }
        if book.uploads.put(sender, upload)? {
            book.round = book.round.wrapping_add(1);
            let next = Gathering::new(self.setup.senders, self.trade.upload_bytes());
            let uploads = std::mem::replace(&mut book.uploads, next).bytes;
            let introductions = Rc::clone(&book.introductions);
            book.tell_all(&Work::Round(Rc::new(Delivery { introductions, uploads })))?;
        }
        Ok(())
    }

    fn is_of(&self, host: u32, user: u32) -> Result<(), BaselineError> {
        if user >= self.setup.members || user % self.setup.hosts != host {
            return Err(BaselineError::Protocol(format!("host {host} speaks for user {user}")));
        }
        Ok(())
    }

    async fn send(&self, mut works: mpsc::Receiver<Work>, mut outlet: Outlet) -> io::Result<()> {
        while let Some(work) = works.recv().await {
            match work {
                Work::Welcome(bytes) => outlet.write(&bytes).await?,
                Work::Round(round) => self.trade.deliver(&round, &mut outlet).await?,
            }
        }
        Ok(())
    }
}

impl Book {
    fn tell_all(&self, work: &Work) -> Result<(), BaselineError> {
        for (host, outlet) in self.outlets.iter().enumerate() {
            let told = outlet.as_ref().is_some_and(|outlet| outlet.try_send(work.clone()).is_ok());
            if !told {
                return Err(BaselineError::Protocol(format!(
                    "host {host} has gone, or does not wait for its round"
                )));
            }
        }
        Ok(())
    }
}

impl Gathering {
    fn new(users: u32, piece_bytes: usize) -> Gathering {
        let users = users as usize;
        Gathering { bytes: vec![0; users * piece_bytes], there: vec![false; users], missing: users }
    }

    /// Takes the piece of one user; whether it was the last.
    fn put(&mut self, user: u32, piece: &[u8]) -> Result<bool, BaselineError> {
        let user = user as usize;
        if self.there.get(user) != Some(&false) {
            return Err(BaselineError::Protocol(format!("user {user} says more than is its turn")));
        }
        self.there[user] = true;
        self.missing -= 1;
        self.bytes[user * piece.len()..][..piece.len()].copy_from_slice(piece);
        Ok(self.missing == 0)
    }
}

/// Fills the buffer; `false` if the connection has ended before its first byte.
async fn whole(reader: &mut BufReader<OwnedReadHalf>, buffer: &mut [u8]) -> Result<bool, BaselineError> {
    let failed = BaselineError::io("cannot read from a host");
    let first = match reader.read(buffer).await {
        Ok(0) => return Ok(false),
        Ok(first) => first,
        Err(error) => return Err(failed(error)),
    };
    reader.read_exact(&mut buffer[first..]).await.map_err(failed)?;
    Ok(true)
}
