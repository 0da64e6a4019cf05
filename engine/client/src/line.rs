//! One connection's private channel: its handshake, and the records that everything goes in afterwards.
//!
//! What comes lies in a buffer of its own until its record is whole; opening it is what moves it into the receive
//! buffer, where cells are decoded in place. What goes out is sealed as it is moved from the frames that are made into
//! the queue of what is sent. A server that refuses the connection before there is a channel says so in the clear, with
//! an ERROR frame; whoever is on the way may have said it instead. So only the few codes are taken that a server has a
//! reason to say then, none of which says anything about a user or a group; the sentence says that it is not
//! authenticated, and nothing is lost that was not lost with the connection.

use crate::inbound::Inbound;
use crate::limits::{SEALED_BYTES, SEND_BYTES};
use crate::queue::Queue;
use rand::CryptoRng;
use std::fmt;
use twincast_protocol::channel::{
    ChannelError, Cipher, Initiator, LENGTH_BYTES, Purpose, RECORD_BYTES_MAX, RECORD_PLAIN_BYTES_MAX,
    ReceiveKeys, SECOND_BYTES, SendKeys, StaticKey, TAG_BYTES,
};
use twincast_protocol::identity::KEY_BYTES;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::statements::Binding;
use twincast_protocol::wire::{Body, Code, ErrorFrame, HEADER_BYTES, Header, Kind, SENTENCE_BYTES_MAX};

/// Who is shown what goes through a private channel, in the clear: whether it goes up to the server, and the next bytes,
/// up to any byte of a frame.
pub type Watch = Box<dyn FnMut(bool, &[u8]) + Send>;

/// The private channel with one server, which the key that it is pinned to must be that of.
pub(crate) struct Line {
    server: ServerSide,
    key: [u8; KEY_BYTES],
    state: State,
    /// What came and is not opened.
    came: Came,
    /// What is to be sent: messages of the handshake, then records.
    sealed: Queue,
    /// Who is shown what goes through it.
    watch: Option<Watch>,
}

enum State {
    /// Nothing was said yet.
    New,
    /// The server's message of the handshake comes next.
    Begun(Box<Initiator>),
    Up(Box<Keys>),
    /// The server refused the connection: nothing that comes is of any use.
    Refused,
    Broken(ChannelError),
}

/// What a channel is used with.
struct Keys {
    send: SendKeys,
    receive: ReceiveKeys,
    binding: Binding,
}

impl Line {
    /// A channel that is still to be begun.
    pub(crate) fn new(server: ServerSide, key: [u8; KEY_BYTES]) -> Line {
        Line { server, key, state: State::New, came: Came::new(), sealed: Queue::default(), watch: None }
    }

    /// Shows somebody what goes through it from here on.
    pub(crate) fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Whether the first message of the handshake is still to be made.
    pub(crate) fn begins(&self) -> bool {
        matches!(self.state, State::New)
    }

    /// Makes the first message of the handshake, if that is still to be done. The client's own key serves for this
    /// channel alone: nobody is to be known by it.
    pub(crate) fn begin(&mut self, rng: &mut impl CryptoRng) {
        if !self.begins() {
            return;
        }
        let own = StaticKey::random(rng);
        let (cipher, purpose) = (Cipher::best(), Purpose::Client);
        let initiator = Initiator::with_rng(&own, self.key, cipher, purpose, self.server, rng);
        self.sealed.end().extend_from_slice(&initiator.first());
        self.state = State::Begun(Box::new(initiator));
    }

    /// What a proof is tied to, once there is a channel.
    pub(crate) fn binding(&self) -> Option<Binding> {
        match &self.state {
            State::Up(keys) => Some(keys.binding),
            _ => None,
        }
    }

    /// Why nothing comes through it any more, if that is so.
    pub(crate) fn broken(&self) -> Option<ChannelError> {
        match &self.state {
            State::Broken(reason) => Some(*reason),
            _ => None,
        }
    }

    /// Where bytes from the server go; empty when there is no room.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.came.space()
    }

    /// `bytes` bytes from the server were written to the front of [`space`](Line::space).
    ///
    /// # Panics
    /// When there was less room than that.
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.came.filled(bytes);
    }

    /// Opens what came into `inbound`, as far as there is room. Whether anything was opened.
    pub(crate) fn open(&mut self, inbound: &mut Inbound, may_grow: bool) -> bool {
        let mut opened = false;
        loop {
            let step = match &mut self.state {
                State::New => Ok(false),
                State::Begun(_) => self.shake_hands(inbound),
                State::Up(keys) => keys.open_record(&mut self.came, inbound, may_grow, &mut self.watch),
                State::Refused | State::Broken(_) => {
                    self.came.clear();
                    Ok(false)
                }
            };
            match step {
                Ok(true) => opened = true,
                Ok(false) => return opened,
                Err(reason) => self.state = State::Broken(reason),
            }
        }
    }

    /// Takes the server's message of the handshake, or its refusal, if all of it is there.
    fn shake_hands(&mut self, inbound: &mut Inbound) -> Result<bool, ChannelError> {
        let data = self.came.data();
        let Some(start) = data.first_chunk::<LENGTH_BYTES>() else { return Ok(false) };
        if usize::from(u16::from_be_bytes(*start)) != SECOND_BYTES - LENGTH_BYTES {
            let Some(code) = refusal(data)? else { return Ok(false) };
            let told = unauthenticated(code);
            inbound.room(told.len(), false)[..told.len()].copy_from_slice(&told);
            inbound.filled(told.len());
            self.state = State::Refused;
            return Ok(true);
        }
        let Some(second) = data.first_chunk::<SECOND_BYTES>() else { return Ok(false) };
        let State::Begun(initiator) = std::mem::replace(&mut self.state, State::New) else {
            unreachable!("the handshake has begun");
        };
        let (third, channel) = initiator.second(second)?;
        self.came.consume(SECOND_BYTES);
        self.sealed.end().extend_from_slice(&third);
        let binding = channel.statement_binding(&self.key);
        let (send, receive) = (channel.send, channel.receive);
        self.state = State::Up(Box::new(Keys { send, receive, binding }));
        Ok(true)
    }

    /// Seals what is made, until enough is sealed to be sent next.
    pub(crate) fn seal(&mut self, made: &mut Queue) {
        let State::Up(keys) = &mut self.state else { return };
        while self.sealed.unsent().len() < SEND_BYTES && !made.unsent().is_empty() {
            let bytes = made.unsent().len().min(RECORD_PLAIN_BYTES_MAX);
            self.watch.iter_mut().for_each(|watch| watch(true, &made.unsent()[..bytes]));
            keys.send.seal_all(&made.unsent()[..bytes], self.sealed.end());
            made.sent(bytes);
        }
    }

    /// What is to be sent next.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.sealed.unsent()
    }

    /// The first `bytes` of [`unsent`](Line::unsent) are sent.
    ///
    /// # Panics
    /// When there are fewer.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sealed.sent(bytes);
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Keys {
    /// Opens the next record, if it is whole and there is room for it.
    fn open_record(
        &mut self,
        came: &mut Came,
        inbound: &mut Inbound,
        may_grow: bool,
        watch: &mut Option<Watch>,
    ) -> Result<bool, ChannelError> {
        let Some(length) = came.data().first_chunk::<LENGTH_BYTES>() else { return Ok(false) };
        let bytes = ReceiveKeys::body_bytes(*length)?;
        let Some(body) = came.data()[LENGTH_BYTES..].get(..bytes) else { return Ok(false) };
        let plain_bytes = bytes - TAG_BYTES;
        let room = inbound.room(plain_bytes, may_grow);
        let Some(room) = room.get_mut(..plain_bytes) else { return Ok(false) };
        self.receive.open(body, room)?;
        watch.iter_mut().for_each(|watch| watch(false, room));
        inbound.filled(plain_bytes);
        came.consume(LENGTH_BYTES + bytes);
        Ok(true)
    }
}

/// What a server may say before there is a channel: that it does not take the connection, and nothing about anybody's
/// account, key or group.
const BEFORE_CHANNEL: [Code; 7] = [
    Code::ChannelWanted,
    Code::ChannelUnknown,
    Code::ChannelBroken,
    Code::StrangersFull,
    Code::ConnectionsFull,
    Code::HelloTimeout,
    Code::ShuttingDown,
];

/// The frame that tells of a refusal in the clear.
fn unauthenticated(code: Code) -> Vec<u8> {
    let sentence =
        format!("{} (not authenticated: whoever is on the way may have said so instead)", code.sentence());
    let head = ErrorFrame {
        round: 0u64.into(),
        sender: u32::MAX.into(),
        slot: u32::MAX.into(),
        code: (code as u16).into(),
        closes: u8::from(code.closes()),
        reserved: [0; 5],
    };
    let mut out = Vec::new();
    head.put(sentence.len(), &mut out);
    out.extend_from_slice(sentence.as_bytes());
    out
}

/// The code of an ERROR frame in the clear, if all of it is there.
fn refusal(data: &[u8]) -> Result<Option<Code>, ChannelError> {
    let Some(header) = data.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let header = Header::parse(header).map_err(|_| ChannelError::NotAChannel)?;
    let bytes = header.body_bytes as usize;
    let fits = (size_of::<ErrorFrame>()..=size_of::<ErrorFrame>() + SENTENCE_BYTES_MAX).contains(&bytes);
    if header.kind != Kind::Error || !fits {
        return Err(ChannelError::NotAChannel);
    }
    let Some(body) = data[HEADER_BYTES..].get(..bytes) else { return Ok(None) };
    let (head, _) = ErrorFrame::parse_prefix(body).map_err(|_| ChannelError::NotAChannel)?;
    let code = Code::from_number(head.code.get()).filter(|code| BEFORE_CHANNEL.contains(code));
    code.map(Some).ok_or(ChannelError::NotAChannel)
}

/// What came and is not opened. A rest of less than a record is moved to the front where there is no room behind it.
struct Came {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Came {
    fn new() -> Came {
        Came { bytes: vec![0; SEALED_BYTES].into(), start: 0, end: 0 }
    }

    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn space(&mut self) -> &mut [u8] {
        let rest = self.end - self.start;
        if rest == 0 {
            (self.start, self.end) = (0, 0);
        } else if self.bytes.len() - self.end < RECORD_BYTES_MAX && rest < RECORD_BYTES_MAX {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, rest);
        }
        &mut self.bytes[self.end..]
    }

    fn filled(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes.len() - self.end, "{bytes} bytes filled into less room");
        self.end += bytes;
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_of_refusals_in_the_clear_fit_their_frame() {
        for code in BEFORE_CHANNEL {
            let frame = unauthenticated(code);
            let (head, sentence) = ErrorFrame::read(&frame[HEADER_BYTES..]).unwrap();
            assert_eq!((head.code.get(), head.closes), (code as u16, 1));
            assert!(sentence.starts_with(code.sentence()) && sentence.contains("not authenticated"));
        }
    }
}
