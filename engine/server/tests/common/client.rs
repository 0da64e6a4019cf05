//! A blocking client: bytes out, whole frames in.

use super::PATIENCE;
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use twincast_protocol::channel::{
    Channel, Cipher, Initiator, Purpose, SECOND_BYTES, SendKeys, StaticKey, Unsealer,
};
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};
use twincast_protocol::statements::Binding;
use twincast_protocol::wire::{Body, Code, ErrorFrame, HEADER_BYTES, Header, Hello, Kind, Roster, Welcome};

/// Bytes that a read asks for.
const READ_BYTES: usize = 256 << 10;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After a whole frame.
    Whole,
    /// In the middle of a frame.
    Cut,
    /// Not at all: the peer reset the connection.
    Reset,
    /// Not at all: nothing came for a long time.
    Silence,
}

/// One connection.
pub(crate) struct Client {
    socket: TcpStream,
    /// Where the channel is private.
    channel: Option<(SendKeys, Unsealer)>,
    /// What its proofs are made for.
    pub(crate) binding: Binding,
    inbound: Vec<u8>,
    at: usize,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).expect("the server listens"))
    }

    /// A connection whose two sockets hold about 100 kB of what this one does not read, where loopback holds 3 MB
    /// otherwise.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(2_048).expect("a small buffer");
        socket.set_mss(536).expect("small segments, which make the sender's buffer small");
        socket.connect(&address.into()).expect("the server listens");
        Client::over(socket.into())
    }

    /// A connection of which the server's socket holds all but a few kB of what this one does not read, 3 MB in all.
    pub(crate) fn connect_with_small_window(address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        socket.connect(&address.into()).expect("the server listens");
        Client::over(socket.into())
    }

    fn over(socket: TcpStream) -> Client {
        socket.set_nodelay(true).expect("an option");
        socket.set_read_timeout(Some(PATIENCE)).expect("an option");
        socket.set_write_timeout(Some(PATIENCE)).expect("an option");
        Client { socket, channel: None, binding: Binding::PLAIN, inbound: Vec::new(), at: 0 }
    }

    /// A connection with a private channel to that server.
    pub(crate) fn connect_private(address: SocketAddr, side: ServerSide) -> Client {
        let mut client = Client::connect(address);
        client.shake_hands(side, Cipher::best());
        client
    }

    /// Makes the channel private.
    pub(crate) fn shake_hands(&mut self, side: ServerSide, cipher: Cipher) {
        self.shake_hands_with(side, cipher, super::channel_key(side).public());
    }

    /// The same with a server that has this key.
    pub(crate) fn shake_hands_with(&mut self, side: ServerSide, cipher: Cipher, server: [u8; 32]) {
        let own = StaticKey::random(&mut rand::rng());
        let initiator = Initiator::new(&own, server, cipher, Purpose::Client, side);
        self.send(&initiator.first());
        let mut second = [0; SECOND_BYTES];
        self.socket.read_exact(&mut second).expect("the server answers a handshake");
        let (third, channel) = initiator.second(&second).expect("the server has the pinned key");
        self.send(&third);
        let Channel { binding, send, receive, .. } = channel;
        self.binding = Binding { server, handshake: binding };
        self.channel = Some((send, receive.into_unsealer()));
    }

    /// The bytes on the wire of what there is to say, which are then said by [`send_raw`](Client::send_raw), or not.
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        self.channel.as_mut().expect("a private channel").0.seal_all(bytes, &mut sealed);
        sealed
    }

    /// Sends bytes as they are, whatever the channel.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server takes what is sent");
    }

    /// A connection that says HELLO and is welcome.
    pub(crate) fn attach(
        address: SocketAddr,
        side: ServerSide,
        group: u32,
        users: &[u32],
    ) -> (Client, Welcome) {
        let mut client = Client::connect(address);
        let welcome = client.hello(side, group, users);
        (client, welcome)
    }

    pub(crate) fn hello(&mut self, side: ServerSide, group: u32, users: &[u32]) -> Welcome {
        self.send(&hello_frame(side, group, users));
        self.welcome()
    }

    /// WELCOME, and ROSTER behind it.
    pub(crate) fn welcome(&mut self) -> Welcome {
        let frame = self.frame("WELCOME");
        assert_eq!(kind(&frame), Kind::Welcome, "got {}", show(&frame));
        let welcome = Welcome::parse(&frame[HEADER_BYTES..]).expect("a WELCOME of its one length");
        let mut listed = 0;
        while listed < welcome.members.get() {
            let frame = self.frame("ROSTER");
            assert_eq!(kind(&frame), Kind::Roster, "got {}", show(&frame));
            let (roster, users) = Roster::read(&frame[HEADER_BYTES..]).expect("a ROSTER");
            assert_eq!((roster.epoch, roster.first.get()), (welcome.epoch, listed));
            listed += users.len() as u32;
        }
        welcome
    }

    /// Sends all of it.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        assert!(self.send_if_open(bytes), "the server takes what is sent");
    }

    /// Sends all of it, or less where the server has closed the connection.
    pub(crate) fn send_if_open(&mut self, bytes: &[u8]) -> bool {
        match &mut self.channel {
            None => self.socket.write_all(bytes).is_ok(),
            Some(_) => {
                let sealed = self.seal(bytes);
                self.socket.write_all(&sealed).is_ok()
            }
        }
    }

    /// Sends all of it in pieces of random sizes.
    pub(crate) fn send_in_pieces(&mut self, mut bytes: &[u8], rng: &mut Xoshiro256PlusPlus) {
        while !bytes.is_empty() {
            let piece = rng.random_range(1..=bytes.len().min(4_000));
            self.send(&bytes[..piece]);
            bytes = &bytes[piece..];
        }
    }

    /// Sends no more, and goes on reading.
    pub(crate) fn send_end(&self) {
        self.socket.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Reads once, at most so many bytes, without looking at them. Returns how many came.
    pub(crate) fn trickle(&mut self, bytes_max: usize) -> std::io::Result<usize> {
        let end = self.inbound.len();
        self.inbound.resize(end + bytes_max, 0);
        let read = self.socket.read(&mut self.inbound[end..]);
        self.inbound.truncate(end + *read.as_ref().unwrap_or(&0));
        if let Some((_, unsealer)) = &mut self.channel {
            let raw = self.inbound.split_off(end);
            unsealer.push(&raw);
            while let Some(text) = unsealer.next_record().expect("a record of the server") {
                self.inbound.extend_from_slice(text);
            }
        }
        read
    }

    /// The next frame, whole, or how the stream ended.
    pub(crate) fn next(&mut self) -> Result<Vec<u8>, End> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Ok(frame);
            }
            match self.trickle(READ_BYTES) {
                Ok(0) if self.at == self.inbound.len() => return Err(End::Whole),
                Ok(0) => return Err(End::Cut),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(End::Silence),
                    ErrorKind::Interrupted => {}
                    _ => return Err(End::Reset),
                },
            }
        }
    }

    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let rest = &self.inbound[self.at..];
        let header = rest.first_chunk::<HEADER_BYTES>()?;
        let header = Header::parse(header).expect("a server sends headers of this version");
        assert!(header.kind as u8 >= 0x80, "a server sends a client's frame: {:?}", header.kind);
        let frame = rest.get(..HEADER_BYTES + header.body_bytes as usize)?.to_vec();
        self.at += frame.len();
        if self.at == self.inbound.len() {
            self.inbound.clear();
            self.at = 0;
        }
        Some(frame)
    }

    /// The next frame.
    ///
    /// # Panics
    /// If the stream ends first.
    pub(crate) fn frame(&mut self, awaited: &str) -> Vec<u8> {
        self.next().unwrap_or_else(|end| panic!("{awaited} was awaited, and the stream ended: {end:?}"))
    }

    /// The next frame has to be exactly this one.
    pub(crate) fn expect(&mut self, expected: &[u8], what: &str) {
        let frame = self.frame(&format!("{what}: {}", show(expected)));
        same(&frame, expected, what);
    }

    /// The next frame has to be this error.
    pub(crate) fn expect_error(&mut self, code: Code, sender: u32, slot: u32, round: u64) {
        self.expect(&error_frame(code, sender, slot, round), code.label());
    }

    /// The next frame has to be this error, which concerns no sender, slot or round, and the stream has to end after
    /// it, and properly.
    pub(crate) fn expect_closed(&mut self, code: Code) {
        assert!(code.closes());
        self.expect_error(code, u32::MAX, u32::MAX, 0);
        self.expect_end(code.label());
    }

    /// The stream has to end here, and properly.
    pub(crate) fn expect_end(&mut self, what: &str) {
        match self.next() {
            Err(End::Whole) => {}
            Err(end) => panic!("{what}: the stream ended, but {end:?}"),
            Ok(frame) => panic!("{what}: the stream goes on with {}", show(&frame)),
        }
    }

    /// The next byte on the wire, if one comes.
    pub(crate) fn first_byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.socket.read_exact(&mut byte).ok().map(|()| byte[0])
    }

    /// The stream has to end, whatever comes before.
    pub(crate) fn expect_any_end(&mut self) {
        loop {
            match self.trickle(READ_BYTES) {
                Ok(1..) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the stream does not end")
                }
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// Reads to the end, for frames that have nothing to say: how the stream ended, and the last frame.
    pub(crate) fn drain(&mut self) -> (End, Option<Vec<u8>>) {
        let mut last = None;
        loop {
            match self.next() {
                Ok(frame) => last = Some(frame),
                Err(end) => return (end, last),
            }
        }
    }
}

/// HELLO, for epoch 0.
pub(crate) fn hello_frame(side: ServerSide, group: u32, users: &[u32]) -> Vec<u8> {
    hello_frame_for(side, group, Epoch(0), false, users)
}

/// HELLO.
pub(crate) fn hello_frame_for(
    side: ServerSide,
    group: u32,
    epoch: Epoch,
    join: bool,
    users: &[u32],
) -> Vec<u8> {
    let users: Vec<UserId> = users.iter().copied().map(UserId).collect();
    Hello::frame(GroupId(group), epoch, side, join, &users)
}

/// ERROR, by hand: header, head, sentence.
pub(crate) fn error_frame(code: Code, sender: u32, slot: u32, round: u64) -> Vec<u8> {
    let sentence = code.sentence();
    let mut frame = vec![3, 0x88, 0, 0];
    frame.extend((24 + sentence.len() as u32).to_le_bytes());
    frame.extend(round.to_le_bytes());
    frame.extend(sender.to_le_bytes());
    frame.extend(slot.to_le_bytes());
    frame.extend((code as u16).to_le_bytes());
    frame.extend([u8::from(code.closes()), 0, 0, 0, 0, 0]);
    frame.extend(sentence.as_bytes());
    frame
}

/// Whether a frame is an ERROR of this code.
pub(crate) fn is_error(frame: &[u8], code: Code) -> bool {
    kind(frame) == Kind::Error
        && ErrorFrame::read(&frame[HEADER_BYTES..]).is_ok_and(|(head, _)| head.code.get() == code as u16)
}

/// What a frame is.
pub(crate) fn kind(frame: &[u8]) -> Kind {
    Kind::from_number(frame[1]).expect("a known kind")
}

/// Both have to be the same, to the last byte.
pub(crate) fn same(got: &[u8], expected: &[u8], what: &str) {
    if got == expected {
        return;
    }
    let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
    let at = differs.unwrap_or(got.len().min(expected.len()));
    panic!("{what}: got {}, expected {}, first difference at byte {at}", show(got), show(expected));
}

/// A frame in a failure's message.
pub(crate) fn show(frame: &[u8]) -> String {
    let kind = kind(frame);
    let body = &frame[HEADER_BYTES..];
    if kind == Kind::Error
        && let Ok((head, sentence)) = ErrorFrame::read(body)
    {
        let (code, sender, slot, round) = (head.code, head.sender, head.slot, head.round);
        return format!("ERROR {code} (sender {sender}, slot {slot}, round {round}): {sentence}");
    }
    format!("{kind:?} of {} bytes beginning {:02x?}", body.len(), &body[..body.len().min(40)])
}
