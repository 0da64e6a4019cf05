//! The servers' ends of private channels.

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::HashMap;
use twincast_client::ChannelSettings;
use twincast_protocol::channel::{
    FIRST_BYTES, Purpose, RECORD_PLAIN_BYTES_MAX, Responder, SendKeys, StaticKey, THIRD_BYTES, Unsealer,
};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::statements::Binding;

/// One server's end of one connection.
pub enum End {
    /// The first message is not all there.
    New(Vec<u8>),
    /// The third one is not all there.
    Begun(Box<Responder>, Vec<u8>),
    Up(Box<Up>),
}

pub struct Up {
    pub send: SendKeys,
    receive: Unsealer,
    pub binding: Binding,
    /// The client's static key.
    pub peer: [u8; 32],
    /// The sizes of what was opened, by record.
    pub sizes: Vec<usize>,
}

/// Both servers' keys, and their ends of all connections.
pub struct Ends {
    pub keys: [StaticKey; 2],
    pub ends: HashMap<(usize, usize), End>,
    /// Records are as long as may be, where this is not set, else of random lengths.
    pub pieces: bool,
}

impl Ends {
    pub fn new(rng: &mut StdRng) -> Ends {
        let keys = [StaticKey::random(rng), StaticKey::random(rng)];
        Ends { keys, ends: HashMap::new(), pieces: true }
    }

    pub fn settings(&self) -> ChannelSettings {
        ChannelSettings::Noise { servers: self.keys.each_ref().map(StaticKey::public) }
    }

    pub fn forget(&mut self, connection: usize) {
        self.ends.retain(|(of, _), _| *of != connection);
    }

    pub fn up(&mut self, connection: usize, side: ServerSide) -> &mut Up {
        match self.ends.get_mut(&(connection, side.index())) {
            Some(End::Up(up)) => up,
            _ => panic!("connection {connection} has no private channel with {side}"),
        }
    }

    /// Takes what a client sent: what it says, and what the server's end answers by itself.
    pub fn take(
        &mut self,
        connection: usize,
        side: ServerSide,
        bytes: &[u8],
        rng: &mut StdRng,
    ) -> (Vec<u8>, Vec<u8>) {
        let key = &self.keys[side.index()];
        let end = self.ends.entry((connection, side.index())).or_insert(End::New(Vec::new()));
        let (mut said, mut answer) = (Vec::new(), Vec::new());
        let mut bytes = bytes.to_vec();
        loop {
            let (next, rest) = match std::mem::replace(end, End::New(Vec::new())) {
                End::New(mut came) => {
                    came.append(&mut bytes);
                    match came.split_first_chunk::<FIRST_BYTES>() {
                        None => (End::New(came), None),
                        Some((first, rest)) => {
                            let mut responder = Responder::with_rng(key, Purpose::Client, side, rng);
                            answer.extend(responder.first(first).expect("a client's first message"));
                            (End::Begun(Box::new(responder), Vec::new()), Some(rest.to_vec()))
                        }
                    }
                }
                End::Begun(responder, mut came) => {
                    came.append(&mut bytes);
                    match came.split_first_chunk::<THIRD_BYTES>() {
                        None => (End::Begun(responder, came), None),
                        Some((third, rest)) => {
                            let channel = responder.third(third).expect("a client's third message");
                            let binding = channel.statement_binding(&key.public());
                            let receive = channel.receive.into_unsealer();
                            let (send, peer) = (channel.send, channel.peer);
                            let up = Up { send, receive, binding, peer, sizes: Vec::new() };
                            (End::Up(Box::new(up)), Some(rest.to_vec()))
                        }
                    }
                }
                End::Up(mut up) => {
                    up.receive.push(&bytes);
                    while let Some(record) = up.receive.next_record().expect("a client's records open") {
                        up.sizes.push(record.len());
                        said.extend_from_slice(record);
                    }
                    (End::Up(up), None)
                }
            };
            *end = next;
            match rest {
                Some(rest) => bytes = rest,
                None => return (said, answer),
            }
        }
    }

    /// Seals what a server says, in records of any size.
    pub fn seal(
        &mut self,
        connection: usize,
        side: ServerSide,
        mut said: &[u8],
        rng: &mut StdRng,
    ) -> Vec<u8> {
        let (mut out, pieces) = (Vec::new(), self.pieces);
        while !said.is_empty() {
            let most = match pieces && rng.random() {
                true => rng.random_range(1..2000),
                false => RECORD_PLAIN_BYTES_MAX,
            };
            let (record, rest) = said.split_at(said.len().min(most));
            self.up(connection, side).send.seal_all(record, &mut out);
            said = rest;
        }
        out
    }
}
