//! The task that meets a new connection: the handshake of a private channel, HELLO, and where it goes from here.

use super::executor::{Handle, Shared};
use super::frames::Buffer;
use super::inlet::{Cut, Inlet};
use super::net::{Ear, within};
use super::outlet::Outlet;
use super::queue::{Adopted, FrontMessage};
use super::reader::serve;
use super::register::{self, Refused};
use super::strangers::{Stranger, key as address_key};
use crate::accounts::Proved;
use crate::group::ConnectionId;
use crate::keys::ChannelKeys;
use crate::limits::{FLUSH_TIMEOUT_MS, STRANGER_BYTES};
use std::net::TcpStream;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use twincast_protocol::channel::{ChannelError, FIRST_BYTES, MAGIC, Purpose, Responder, THIRD_BYTES};
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::{Epoch, GroupId, UserId};
use twincast_protocol::statements::Binding;
use twincast_protocol::wire::{Code, Hello, Kind};

/// Bytes of a HELLO without its users.
const HELLO_HEAD_BYTES: usize = size_of::<Hello>();

/// Bytes of one user in a HELLO: its number and, where it proves who it is, a signature.
const HELLO_USER_BYTES: usize = size_of::<u32>() + SIGNATURE_BYTES;

/// A connection that nobody has adopted.
pub(super) struct Guest {
    pub(super) connection: ConnectionId,
    pub(super) inlet: Inlet,
    pub(super) outlet: Outlet,
    /// Where it comes from, as strangers are counted.
    pub(super) address: u64,
    /// What its proofs have to be made for.
    pub(super) binding: Binding,
    /// What it has said, in plain, and nobody has taken.
    pub(super) buffer: Buffer,
}

/// Meets a new connection, and passes it on to the executor that owns its group.
pub(super) async fn greet(
    executor: Handle,
    connection: ConnectionId,
    socket: Rc<TcpStream>,
    stranger: Stranger,
) {
    let shared = executor.borrow().shared.clone();
    let adopted = meet(&executor, connection, &socket, stranger).await;
    executor.borrow_mut().greeting.remove(&connection);
    drop(socket);
    if let Some(adopted) = adopted {
        let owner = shared.owner(adopted.group).expect("the group was looked up");
        if owner == executor.borrow().index {
            serve(executor, adopted).await;
            return;
        }
        if shared.fronts[owner].send(FrontMessage::Adopt(Box::new(adopted))).is_ok() {
            return;
        }
        shared.metrics.connections_dropped.fetch_add(1, Relaxed);
        tracing::warn!("a connection was dropped: its executor has too much to do");
    }
    shared.metrics.connections.fetch_sub(1, Relaxed);
}

/// Hears HELLO, or turns the peer away.
async fn meet(
    executor: &Handle,
    connection: ConnectionId,
    socket: &Rc<TcpStream>,
    stranger: Stranger,
) -> Option<Adopted> {
    let shared = executor.borrow().shared.clone();
    let Ok(copy) = socket.try_clone() else {
        shared.metrics.connections_dropped.fetch_add(1, Relaxed);
        tracing::warn!("a connection was dropped: no descriptor is left; raise `ulimit -n`");
        return None;
    };
    // Who is gone already has no address, and needs none.
    let address = socket.peer_addr().map_or(0, |peer| address_key(peer.ip()));
    let mut guest = Guest {
        connection,
        address,
        inlet: Inlet::of_stranger(Ear::new(copy), stranger, shared.channel.is_some()),
        outlet: Outlet::new(socket.clone()),
        binding: Binding::PLAIN,
        buffer: Buffer::new(STRANGER_BYTES, &[]),
    };
    let timeout = Duration::from_millis(shared.config.limits.hello_timeout_ms);
    let first = within(timeout, hear_first(&shared, &mut guest)).await;
    let heard = match first.unwrap_or(Err(Some(Code::HelloTimeout))) {
        Ok((Kind::Hello, body)) => read_hello(&shared, &guest, body).await,
        Ok((_, body)) => Err(register::serve(executor, &shared, &mut guest, body).await),
        Err(code) => Err(code.into()),
    };
    let stopping = executor.borrow().is_stopping();
    let (code, user) = match heard {
        // A stop ends the stream, so that nobody waits for a HELLO.
        Ok(_) | Err(Refused { code: None, .. }) if stopping => (Code::ShuttingDown, u32::MAX),
        Ok(heard) => return adopt(&shared, socket, guest, heard),
        Err(Refused { code: Some(code), user }) => (code, user),
        Err(Refused { code: None, .. }) => return None,
    };
    turn_away(&shared, &mut guest, code, user).await;
    None
}

/// Shakes hands where channels are private, and reads until the first frame is whole. No code: the peer went away.
async fn hear_first(shared: &Shared, guest: &mut Guest) -> Result<(Kind, Range<usize>), Option<Code>> {
    if let Some(keys) = &shared.channel {
        let shaken = shake_hands(shared, keys, guest).await;
        let counter = match shaken {
            Ok(()) => &shared.metrics.handshakes,
            Err(_) => &shared.metrics.handshakes_failed,
        };
        counter.fetch_add(1, Relaxed);
        shaken?;
    }
    // No connection plays more users than its group has members.
    let config = &shared.config;
    let members = config.groups.iter().map(|group| group.members_most()).max().unwrap_or_default();
    let users_max = config.limits.users_per_connection_max.min(members) as usize;
    let hello_bytes_max = HELLO_HEAD_BYTES + HELLO_USER_BYTES * users_max;
    loop {
        // The first byte of a frame is its version, which this is none of.
        if shared.channel.is_none() && guest.buffer.rest().starts_with(&MAGIC) {
            return Err(Some(Code::ChannelUnknown));
        }
        if let Some(first) = guest.buffer.first(hello_bytes_max)? {
            return Ok(first);
        }
        match guest.inlet.read(guest.buffer.room()).await {
            Ok(bytes @ 1..) => guest.buffer.filled(bytes),
            end => {
                shared.metrics.cut_frames.fetch_add(u64::from(!guest.buffer.rest().is_empty()), Relaxed);
                return Err(end.err().and_then(code_of_cut));
            }
        }
    }
}

/// Answers a handshake. From its end on all that is said and heard is sealed.
async fn shake_hands(shared: &Shared, keys: &ChannelKeys, guest: &mut Guest) -> Result<(), Option<Code>> {
    if !guest.inlet.begins_with(&MAGIC).await.map_err(code_of_cut)? {
        return Err(Some(Code::ChannelWanted));
    }
    let busy = |begun: Instant| {
        let busy = begun.elapsed().as_micros() as u64;
        shared.metrics.handshake_busy_microseconds.fetch_add(busy, Relaxed);
    };
    let first = guest.inlet.exactly::<FIRST_BYTES>().await.map_err(code_of_cut)?;
    let begun = Instant::now();
    let mut responder = Responder::new(keys.own(), Purpose::Client, shared.side);
    let second = responder.first(&first);
    busy(begun);
    let second = second.map_err(|error| code_of_channel(&error))?;
    guest.outlet.say(&second).await.map_err(|_| None)?;
    let third = guest.inlet.exactly::<THIRD_BYTES>().await.map_err(code_of_cut)?;
    let begun = Instant::now();
    let channel = responder.third(&third);
    busy(begun);
    let channel = channel.map_err(|error| code_of_channel(&error))?;
    guest.binding = channel.statement_binding(&keys.public());
    guest.inlet.open_with(channel.receive);
    guest.outlet.seal_with(channel.send);
    Ok(())
}

pub(super) fn code_of_cut(cut: Cut) -> Option<Code> {
    match cut {
        Cut::Gone => None,
        Cut::Broken => Some(Code::ChannelBroken),
        Cut::Flood => Some(Code::StrangersFull),
    }
}

fn code_of_channel(error: &ChannelError) -> Option<Code> {
    tracing::debug!(%error, "a handshake failed");
    Some(match error {
        ChannelError::UnknownVersion { .. } | ChannelError::UnknownCipher { .. } => Code::ChannelUnknown,
        _ => Code::ChannelBroken,
    })
}

/// What HELLO says.
struct Heard {
    group: GroupId,
    epoch: Epoch,
    join: bool,
    users: Box<[UserId]>,
    proved: Proved,
}

async fn read_hello(shared: &Shared, guest: &Guest, body: Range<usize>) -> Result<Heard, Refused> {
    let (hello, side, users, proofs) = Hello::read(guest.buffer.get(body))?;
    let (group, epoch) = (GroupId(hello.group.get()), Epoch(hello.epoch.get()));
    // Before anything is done for each of them. The length alone leaves room for more users, where they prove nothing.
    if users.len() > shared.config.limits.users_per_connection_max as usize {
        return Err(Code::UsersTooMany.into());
    }
    if side != shared.side {
        return Err(Code::SideWrong.into());
    }
    if shared.owner(group).is_none() {
        return Err(Code::GroupUnknown.into());
    }
    let proved = register::prove(shared, guest, (group, epoch), &users, proofs).await?;
    Ok(Heard { group, epoch, join: hello.join == 1, users: users.into(), proved })
}

/// The connection as its group's executor takes it. None: no descriptor is left.
fn adopt(shared: &Shared, socket: &TcpStream, guest: Guest, heard: Heard) -> Option<Adopted> {
    let Ok(socket) = socket.try_clone() else {
        shared.metrics.connections_dropped.fetch_add(1, Relaxed);
        tracing::warn!("a connection was dropped: no descriptor is left; raise `ulimit -n`");
        return None;
    };
    let Guest { connection, inlet, outlet, binding, buffer, .. } = guest;
    let (rest, incoming, outgoing) = (buffer.rest().to_vec(), inlet.into_incoming(), outlet.into_keys());
    let Heard { group, epoch, join, users, proved } = heard;
    Some(Adopted { connection, socket, group, epoch, join, users, binding, proved, rest, incoming, outgoing })
}

/// Says why, and closes: nobody else writes to this socket yet.
async fn turn_away(shared: &Shared, guest: &mut Guest, code: Code, user: u32) {
    shared.metrics.refused(code);
    if code == Code::StrangersFull {
        shared.metrics.strangers_refused.fetch_add(1, Relaxed);
    }
    tracing::debug!(connection = guest.connection.0, code = code.label(), "turned away");
    let frame = code.frame(user, u32::MAX, 0);
    within(Duration::from_millis(FLUSH_TIMEOUT_MS), async {
        // An error: the peer is gone.
        let _ = guest.outlet.say(&frame).await;
        guest.outlet.end();
        // Bytes that are not read when the socket is closed would take the frame back. Whoever sends too many of them
        // goes without a reason.
        if code != Code::StrangersFull {
            guest.inlet.drop_all().await;
        }
    })
    .await;
}
