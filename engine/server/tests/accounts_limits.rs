//! What who registers, or says whom it plays, can make a server keep, take or wait for: as much as is said here, and nobody
//! else is the worse for it.

mod common;

use common::accounts::{Folders, connect, hello, proofs, register_all, register_frame, registered};
use common::readers::user_key;
use common::{Client, NEVER_MS, PATIENCE};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::statements::Binding;
use twincast_protocol::wire::Code;
use twincast_server::config::{ChannelName, Config, GroupConfig, RegistrationName};
use twincast_server::limits::DROPPED_BYTES_MAX;

const ONE: ServerSide = ServerSide::One;
const PLAIN: ChannelName = ChannelName::Plain;

/// Whatever a stranger's address may send is more than enough, so that other limits are met first.
fn generous(config: &mut Config) {
    config.limits.stranger_bytes_per_second_max = 1 << 40;
    config.limits.users_per_connection_max = 65_536;
    config.limits.hello_timeout_ms = NEVER_MS;
}

/// Sends until the other end will not have it. How much it took.
fn send_until_closed(socket: &mut TcpStream, bytes: &[u8], most: usize) -> usize {
    socket.set_write_timeout(Some(PATIENCE)).expect("an option");
    let mut sent = 0;
    while sent < most {
        match socket.write(bytes) {
            Ok(some) => sent += some,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
    sent
}

/// A connection of which the two sockets hold about 100 kB of what this one does not read.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(2_048).expect("a small buffer");
    socket.set_mss(536).expect("small segments, which make the sender's buffer small");
    socket.connect(&address.into()).expect("the server listens");
    socket.into()
}

/// No connection plays more users than a group has members: a longer HELLO is refused when its length is read, before any
/// of it comes, whatever a connection may play by the configuration.
#[test]
fn a_hello_of_more_users_than_any_group_has_is_refused_at_its_head() {
    let folders = Folders::new();
    let group = GroupConfig { members_max: 8, ..registered(RegistrationName::Open) };
    let servers = folders.servers(PLAIN, group, generous);
    let users: Vec<u32> = (0..6).collect();
    register_all(&servers, PLAIN, &users);
    let body_bytes = |users: u32| 16 + (4 + 64) * users;
    for said in [body_bytes(8) + 1, body_bytes(9), body_bytes(65_536)] {
        let mut client = connect(&servers, ONE, PLAIN);
        client.send(&[&[3, 0x01, 0, 0][..], &said.to_le_bytes()].concat());
        client.expect_closed(Code::UsersTooMany);
    }
    // The longest that there may be is heard to its end, and refused for what it says.
    let mut client = connect(&servers, ONE, PLAIN);
    let all: Vec<u32> = (0..8).collect();
    client.send(&hello(ONE, &all, &proofs(&client.binding, &all)));
    client.expect_refused(Code::NotRegistered, 6);
    connect(&servers, ONE, PLAIN).attach_proved(ONE, &users);
}

/// Who is turned away hears why even if it had more to say, and the server does not listen to it for ever.
#[test]
fn a_flood_after_a_refusal_is_cut() {
    let folders = Folders::new();
    let servers = folders.servers(PLAIN, registered(RegistrationName::Open), generous);
    let address = servers.get(ONE).address();
    let flood = vec![0xa5; 64 << 10];
    // Two sockets hold so much of what nobody reads.
    let held = 32 << 20;
    let mut socket = TcpStream::connect(address).expect("the server listens");
    let sent = send_until_closed(&mut socket, &flood, 1 << 32);
    assert!(sent <= DROPPED_BYTES_MAX + held, "{sent} bytes were taken");
    // Less than that is dropped, and the refusal arrives.
    let mut client = Client::connect(address);
    client.send(&[&[3, 0x02, 0, 0, 4, 0, 0, 0][..], &flood[..flood.len() / 2]].concat());
    client.expect_error(Code::HelloExpected, u32::MAX, u32::MAX, 0);
    register_all(&servers, PLAIN, &[1]);
}

/// Who registers again and again and does not read the answers is cut when it has not taken one for a while.
#[test]
fn answers_that_nobody_reads_are_not_waited_for() {
    let folders = Folders::new();
    let servers = folders.servers(PLAIN, registered(RegistrationName::Open), generous);
    register_all(&servers, PLAIN, &[0]);
    let frame = register_frame(&Binding::PLAIN, ONE, 0, &user_key(0));
    let mut deaf = narrow(servers.get(ONE).address());
    let sent = send_until_closed(&mut deaf, &frame.repeat(64), 1 << 30);
    assert!(sent > frame.len() * 256, "it is heard for as long as its answers have room: {sent} bytes");
    register_all(&servers, PLAIN, &[0, 1]);
}
