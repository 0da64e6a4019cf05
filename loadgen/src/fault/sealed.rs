//! What an adversary between users and servers can do to a Noise channel: a TCP proxy that sees records, and nothing of
//! what is in them.
//!
//! Only the host of user 0 goes through it, and of its connections the first, which is that user's: nothing in the records
//! says so. Which round a record is of follows from sizes: the proxy counts what goes up, and in lockstep the bytes of so
//! many submissions have passed when a round begins. In an accountable group each member has also asked for headers at the
//! ends of the rounds that were its turns. That adds to the same sum: a client asks as soon as a round has ended at both
//! servers, and begins the next round only when both have been sent all of it, so that the requests of a round lie between
//! its submissions and the next ones, in every run.
//!
//! S1's first record of the fault's round is kept back until both servers have all submissions of the connection, so that
//! everybody else finds its users present in that round. Then the fault is done to that record, once. It is the first that
//! comes after the round's submissions have begun to pass: of the round's tiles, or of headers that were asked for before
//! them and are not all there, whose length depends on what is asked for. It makes no difference: either comes before the
//! last of the round's tiles, so that the channel breaks in a round for which its users have submitted.
//!
//! When the client gives its connections up, what it had sent still reaches the servers, before the end.

use super::{Fault, FaultKind, USER};
use crate::cost::{asked_bytes_before, submission_bytes};
use crate::plan::Plan;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use twincast_protocol::channel::{
    FIRST_BYTES, RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES, SECOND_BYTES, THIRD_BYTES,
};
use twincast_protocol::ids::{MemberIndex, ServerSide};

/// What a thread of the proxy reads at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes of a record's length.
const LENGTH_BYTES: usize = 2;

/// A running proxy. Its threads end with their connections, and with the process.
pub struct SealedProxy {
    /// Where the host of user 0 connects instead of to S1 and S2.
    pub addresses: [SocketAddr; 2],
    shared: Arc<Shared>,
}

struct Shared {
    kind: FaultKind,
    /// Bytes inside the records of all that the connection says of rounds before it begins the fault's round, and with that
    /// round's submissions: to S1 and to S2.
    before: [u64; 2],
    with: [u64; 2],
    passed: Mutex<Passed>,
    more: Condvar,
}

/// What has passed over the connection that the fault is done to.
#[derive(Debug, Default)]
struct Passed {
    /// Bytes inside records, up to each server.
    up: [u64; 2],
    /// Of those, what came before the rounds.
    dialling: Option<[u64; 2]>,
    /// How often the fault was done.
    done: u64,
    /// The client has gone.
    ended: bool,
}

impl SealedProxy {
    /// Listens for the host of user 0.
    ///
    /// # Errors
    /// No port, no thread, or a plan whose sizes are not known.
    pub fn start(plan: &Plan, fault: Fault, servers: [SocketAddr; 2]) -> io::Result<SealedProxy> {
        let [before, with] = uploads(plan, fault.round).map_err(io::Error::other)?;
        let (kind, passed, more) = (fault.kind, Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { kind, before, with, passed, more });
        let mut addresses = servers;
        for server in ServerSide::BOTH {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let upstream = std::mem::replace(&mut addresses[server.index()], listener.local_addr()?);
            let shared = Arc::clone(&shared);
            let accept = move || {
                // A connection that cannot be passed on is closed, which its host tells.
                for (index, client) in listener.incoming().map_while(Result::ok).enumerate() {
                    let _ = match index {
                        0 => shared.pass(server, client, upstream),
                        _ => pass_as_it_is(client, upstream),
                    };
                }
            };
            spawn(&format!("sealed proxy of {server}"), accept)?;
        }
        Ok(SealedProxy { addresses, shared })
    }

    /// All users have dialled: what goes up from here on is of rounds.
    pub fn dialled(&self) {
        let mut passed = self.shared.passed();
        passed.dialling = Some(passed.up);
    }

    /// How often it has done the fault.
    pub fn done(&self) -> u64 {
        self.shared.passed().done
    }
}

impl std::fmt::Debug for SealedProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedProxy").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// What the connection of user 0 sends each server before it begins this round, and with its submissions of it.
fn uploads(plan: &Plan, round: u64) -> Result<[[u64; 2]; 2], String> {
    let users = (0..plan.group).filter(|user| super::shares_connection(plan, *user));
    let (count, asked) = users.fold((0, 0), |(count, asked), user| {
        (count + 1, asked + asked_bytes_before(plan, MemberIndex(user), round))
    });
    let each = submission_bytes(plan)?;
    let of = |rounds: u64| each.map(|bytes| rounds * count * bytes + asked);
    Ok([of(round - 1), of(round)])
}

/// Passes on what nothing is done to.
fn pass_as_it_is(client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let upstream = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    for (mut from, mut to) in
        [(client.try_clone()?, upstream.try_clone()?), (upstream.try_clone()?, client.try_clone()?)]
    {
        spawn("sealed proxy", move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        })?;
    }
    Ok(())
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(run).map(drop)
}

impl Shared {
    fn passed(&self) -> MutexGuard<'_, Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(
        self: &Arc<Shared>,
        server: ServerSide,
        client: TcpStream,
        upstream: SocketAddr,
    ) -> io::Result<()> {
        let upstream = TcpStream::connect(upstream)?;
        client.set_nodelay(true)?;
        upstream.set_nodelay(true)?;
        let (from, to) = (client.try_clone()?, upstream.try_clone()?);
        let up = Arc::clone(self);
        spawn("sealed proxy up", move || {
            let _ = up.upward(server, &from, &to);
            // Everything that was sent goes before the end, and what comes back goes nowhere.
            up.passed().ended = true;
            up.more.notify_all();
            let _ = to.shutdown(Shutdown::Write);
        })?;
        let down = Arc::clone(self);
        spawn("sealed proxy down", move || {
            let mut from = BufReader::with_capacity(BUFFER_BYTES, &upstream);
            if down.downward(server, &mut from, &client).is_err() {
                let _ = client.shutdown(Shutdown::Both);
                let _ = io::copy(&mut from, &mut io::sink());
            }
            let _ = client.shutdown(Shutdown::Write);
        })
    }

    /// What the host sends: two messages of the handshake, then records.
    fn upward(&self, server: ServerSide, from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut from = BufReader::with_capacity(BUFFER_BYTES, from);
        let mut record = vec![0; FIRST_BYTES + THIRD_BYTES];
        from.read_exact(&mut record[..FIRST_BYTES])?;
        to.write_all(&record[..FIRST_BYTES])?;
        from.read_exact(&mut record[FIRST_BYTES..])?;
        to.write_all(&record[FIRST_BYTES..])?;
        while next(&mut from, &mut record)? {
            // Counted before it goes on its way: what the servers say to it comes after.
            let mut passed = self.passed();
            passed.up[server.index()] += (record.len() - RECORD_OVERHEAD_BYTES) as u64;
            self.more.notify_all();
            drop(passed);
            to.write_all(&record)?;
        }
        Ok(())
    }

    /// What a server sends: one message of the handshake, then records.
    fn downward(&self, server: ServerSide, from: &mut impl Read, mut to: &TcpStream) -> io::Result<()> {
        let mut record = vec![0; SECOND_BYTES];
        from.read_exact(&mut record)?;
        to.write_all(&record)?;
        while next(from, &mut record)? {
            if server == ServerSide::Two || !self.is_due() {
                to.write_all(&record)?;
                continue;
            }
            match self.kind {
                FaultKind::NetFlip => {
                    let middle = (LENGTH_BYTES + record.len()) / 2;
                    record[middle] ^= 1;
                    to.write_all(&record)?;
                }
                FaultKind::NetReplay => {
                    to.write_all(&record)?;
                    to.write_all(&record)?;
                }
                FaultKind::NetReorder => {
                    let mut second = Vec::with_capacity(RECORD_BYTES_MAX);
                    next(from, &mut second)?;
                    to.write_all(&second)?;
                    to.write_all(&record)?;
                }
                // Dropped. No other kind is done to records.
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether this record is the one that the fault is done to; if so, waits until both servers have all of the round.
    fn is_due(&self) -> bool {
        let mut passed = self.passed();
        let has = |passed: &Passed, wanted: [u64; 2], server: usize| {
            passed.dialling.is_some_and(|dialling| passed.up[server] >= dialling[server] + wanted[server])
        };
        let begun = passed.dialling.is_some_and(|dialling| passed.up[0] > dialling[0] + self.before[0]);
        if passed.done > 0 || !begun {
            return false;
        }
        let late =
            |passed: &mut Passed| !(passed.ended || has(passed, self.with, 0) && has(passed, self.with, 1));
        passed = self.more.wait_while(passed, late).unwrap_or_else(PoisonError::into_inner);
        passed.done += 1;
        true
    }
}

/// Reads a record, length and all; false at the stream's end.
fn next(from: &mut impl Read, record: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; LENGTH_BYTES];
    if from.read(&mut length[..1])? == 0 {
        return Ok(false);
    }
    from.read_exact(&mut length[1..])?;
    record.clear();
    record.extend_from_slice(&length);
    record.resize(LENGTH_BYTES + usize::from(u16::from_be_bytes(length)), 0);
    from.read_exact(&mut record[LENGTH_BYTES..])?;
    Ok(true)
}

/// Why a fault of one record cannot be done to a plan's rounds, if it cannot: more than one record of them has to come to
/// the connection of user 0, so that what is missing is missed.
#[must_use]
pub fn too_small(plan: &Plan) -> Option<String> {
    let users = (0..plan.group).filter(|user| super::shares_connection(plan, *user)).count();
    let cell = plan.format().ok()?.cell_bytes(ServerSide::One);
    let tile = users * plan.group.min(64) as usize * cell;
    (tile < 2 * RECORD_BYTES_MAX).then(|| {
        format!(
            "S1's first tile for the connection of user {USER} has {tile} bytes, and what one record of it costs shows in \
             those after it: at least {} are needed",
            2 * RECORD_BYTES_MAX
        )
    })
}

#[cfg(test)]
mod tests;
