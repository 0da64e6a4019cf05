//! A server of one small group without bit confirmation, as plain as can be, for one connection.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex, UserId};
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::wire::{
    Body as _, Deliver, Dial, Dialled, EpochOpen, HEADER_BYTES, Header, Hello, Kind, Roster, RoundEnd,
    RoundSkipped, Submit, Welcome, roster_hash,
};

const FRAME_BYTES: usize = 288;
const SHARE_BYTES: usize = FRAME_BYTES + 48;

/// What a server does to a round before it sends it: the cells of all users one after the other, 336 bytes each.
pub(super) type Damage = fn(round: u64, cells: &mut [u8]);

/// A server that closes its connection once it is dropped and has delivered its rounds.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    _close: Sender<()>,
}

/// Serves one connection for so many rounds; `skipped` is left out.
pub(super) fn serve(members: u32, rounds: u64, damage: Damage, skipped: u64) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (close, closed) = channel();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a connection");
        let mut fake = Fake { socket, members, keys: BTreeMap::new(), shares: BTreeMap::new() };
        fake.run(rounds, damage, skipped);
        closed.recv().expect_err("nothing is sent");
    });
    Server { address, _close: close }
}

struct Fake {
    socket: TcpStream,
    members: u32,
    keys: BTreeMap<u32, SessionKey>,
    shares: BTreeMap<u32, Vec<u8>>,
}

impl Fake {
    fn run(&mut self, rounds: u64, damage: Damage, skipped: u64) {
        let mut round = 1;
        while round <= rounds {
            let mut header = [0; HEADER_BYTES];
            self.socket.read_exact(&mut header).expect("a client stays");
            let Header { kind, body_bytes } = Header::parse(&header).expect("a frame");
            let mut body = vec![0; body_bytes as usize];
            self.socket.read_exact(&mut body).expect("a whole frame");
            self.take(kind, &body);
            if self.shares.len() == self.members as usize {
                match round == skipped {
                    true => self.say(&RoundSkipped { round: round.into() }.frame()),
                    false => self.deliver(round, damage),
                }
                self.shares.clear();
                round += 1;
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("a client reads");
    }

    fn take(&mut self, kind: Kind, body: &[u8]) {
        match kind {
            Kind::Hello => {
                let (_, _, users, _) = Hello::read(body).expect("a valid HELLO");
                assert_eq!(users.len(), self.members as usize, "one connection plays everybody");
                self.say(&self.welcome().frame());
                self.say(&Roster::frames(Epoch(0), &users));
            }
            Kind::Dial => {
                let (dial, key) = Dial::parse_prefix(body).expect("a dial");
                let (sender, epoch) = (dial.sender.get(), Epoch(0));
                let dialled = Dialled::new(dial.dial_id.get(), epoch, MemberIndex(sender), SlotIndex(0));
                self.keys.insert(sender, SessionKey::from_bytes(self.members, key).expect("a key"));
                self.say(&dialled.frame());
                if self.keys.len() == self.members as usize {
                    self.say(&EpochOpen::new(epoch, self.members, RoundNumber(1)).frame());
                }
            }
            Kind::Submit => {
                let (submit, shares) = Submit::parse_prefix(body).expect("a submission");
                self.shares.insert(submit.sender.get(), shares.to_vec());
            }
            kind => panic!("a host sent {kind:?}"),
        }
    }

    fn deliver(&mut self, round: u64, damage: Damage) {
        let mut cells = Vec::new();
        for user in 0..self.members {
            for (sender, shares) in &self.shares {
                let half = usize::from(self.keys[sender].bit(MemberIndex(user)));
                cells.extend_from_slice(&shares[half * SHARE_BYTES..][..SHARE_BYTES]);
            }
        }
        damage(round, &mut cells);
        let head = Deliver {
            round: round.into(),
            present: (u64::MAX >> (64 - self.members)).into(),
            epoch: 0.into(),
            slot: 0.into(),
            tile: 0.into(),
            first_sender: 0.into(),
            senders: self.members.into(),
            cell_bytes: (SHARE_BYTES as u32).into(),
            users: self.members.into(),
            purpose: 0.into(),
            lost: 0.into(),
        };
        let mut out = Vec::new();
        head.put(cells.len(), &mut out);
        out.extend(cells);
        RoundEnd::new(round, 1, self.members).put(0, &mut out);
        self.say(&out);
    }

    fn welcome(&self) -> Welcome {
        let users: Vec<UserId> = (0..self.members).map(UserId).collect();
        Welcome {
            group: 0.into(),
            epoch: 0.into(),
            members: self.members.into(),
            slots: 1.into(),
            frame_bytes: (FRAME_BYTES as u32).into(),
            share_bytes: (SHARE_BYTES as u32).into(),
            confirm_tile_senders: 0.into(),
            key_tile_senders: 0.into(),
            round_timeout_ms: 10_000.into(),
            interval_ms: 0.into(),
            epoch_rounds: 0.into(),
            announce_rounds: 0.into(),
            round: 1.into(),
            roster_hash: roster_hash(GroupId(0), Epoch(0), &users),
            profile: 2,
            scheme: 0,
            subgroups_max: 0.into(),
            open: 0,
            delivery: 0,
            linked: 0,
            flags: 0,
            header_rounds: 0.into(),
        }
    }
}
