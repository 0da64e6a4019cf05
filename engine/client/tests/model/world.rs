//! Clients and servers together.

use super::channel::Ends;
use super::{EPOCH, Record, Server, Shape, Workload, id, server_key, settings, user_key};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use twincast_client::{Client, ClientError, ClientSettings};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, UserId};
use twincast_protocol::parts::PartKind;

/// One client and what it has been told.
pub struct Player {
    pub client: Client,
    pub ids: Vec<UserId>,
    /// Its users' indices in the first epoch.
    pub users: Vec<MemberIndex>,
    pub record: Record,
    pub workload: Workload,
    /// Bytes from S1 and S2 that it has not taken.
    pub coming: [Vec<u8>; 2],
    /// It had enough of a server that sends what it must not, in a world where that happens.
    pub ended: bool,
}

impl Player {
    pub fn new(shape: Shape, users: Vec<u32>) -> Player {
        let ids = users.into_iter().map(id).collect();
        Player::with(shape, settings(), ids, &Server::new(ServerSide::One, shape))
    }

    pub fn with(shape: Shape, settings: ClientSettings, ids: Vec<UserId>, server: &Server) -> Player {
        Player {
            client: Client::new(settings, ids.clone()).unwrap(),
            users: server.members_of(server.epoch, &ids),
            ids,
            record: Record::default(),
            workload: Workload::new(shape, server.rosters.clone(), server.epoch),
            coming: Default::default(),
            ended: false,
        }
    }

    /// Everything that the client has for a server now.
    pub fn outgoing(&mut self, side: ServerSide, rng: &mut StdRng) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let bytes = self.client.outgoing(side, rng, &mut self.workload).unwrap();
            if bytes.is_empty() {
                assert!(self.client.is_drained(side));
                return out;
            }
            let some = bytes.len().min(rng.random_range(1..=100_000));
            out.extend_from_slice(&bytes[..some]);
            self.client.sent(side, some);
        }
    }

    /// Gives the client some bytes of one server; how many it took.
    pub fn give(&mut self, side: ServerSide, most: usize, now: Duration) -> Result<usize, ClientError> {
        let coming = &mut self.coming[side.index()];
        let space = self.client.space(side, now);
        let some = coming.len().min(space.len()).min(most);
        space[..some].copy_from_slice(&coming[..some]);
        coming.drain(..some);
        self.client.filled(side, some);
        self.client.advance(now, &mut self.record)?;
        Ok(some)
    }

    /// Gives what is coming in random pieces, as far as the client takes it.
    pub fn give_all(&mut self, rng: &mut StdRng, now: Duration) -> Result<(), ClientError> {
        let mut refused = [false; 2];
        while refused != [true; 2] {
            let side = ServerSide::BOTH[rng.random_range(0..2)];
            let most = if rng.random() { rng.random_range(1..100) } else { rng.random_range(1..50_000) };
            match self.give(side, most, now)? {
                0 => refused[side.index()] = true,
                _ => refused = [false; 2],
            }
        }
        Ok(())
    }
}

/// A whole group: clients and both servers.
pub struct World {
    pub shape: Shape,
    pub servers: [Server; 2],
    pub players: Vec<Player>,
    pub rng: StdRng,
    pub now: Duration,
    /// How often, one time in so many, S1 sends the first client a wrong byte.
    pub damage: Option<u32>,
    /// The servers' ends of private channels, where there are any.
    pub ends: Option<Ends>,
}

impl World {
    /// Members are dealt to two clients in turn.
    pub fn new(shape: Shape, seed: u64) -> World {
        let dealt = |turn: u32| (0..shape.members).filter(|member| member % 3 % 2 == turn).collect();
        World {
            shape,
            servers: ServerSide::BOTH.map(|side| Server::new(side, shape)),
            players: vec![Player::new(shape, dealt(0)), Player::new(shape, dealt(1))],
            rng: StdRng::seed_from_u64(seed),
            now: Duration::from_secs(1),
            damage: None,
            ends: None,
        }
    }

    /// The same over private channels.
    pub fn private(shape: Shape, seed: u64) -> World {
        let mut world = World::new(shape, seed);
        let ends = Ends::new(&mut world.rng);
        let settings = ClientSettings { channel: ends.settings(), ..settings() };
        for player in &mut world.players {
            *player = Player::with(shape, settings, player.ids.clone(), &world.servers[0]);
        }
        world.ends = Some(ends);
        world
    }

    /// A group that is accountable, in which epoch and rounds are open. Everybody writes to `besides` too. What becomes
    /// of the confirmations on their way can be changed.
    pub fn accountable(
        shape: Shape,
        seed: u64,
        besides: &[UserId],
        change: impl FnOnce(&mut [Server; 2]),
    ) -> World {
        let mut world = World::new(shape, seed);
        let settings = world.accountable_settings();
        for ids in std::mem::take(&mut world.players).into_iter().map(|player| player.ids) {
            let position = world.join_with(ids, settings);
            world.players[position].workload.besides = besides.to_vec();
        }
        world.settle();
        world.put_both(|server, _| server.grants());
        world.settle();
        change(&mut world.servers);
        world.servers.iter().for_each(Server::check_trees);
        world.put_both(|server, users| server.all_confirmations(users));
        world.give_all();
        world.open(1);
        world
    }

    /// What a client of an accountable group is told.
    pub fn accountable_settings(&self) -> ClientSettings {
        let accountable = Some(ServerSide::BOTH.map(|side| server_key(side).verifying_key()));
        ClientSettings { accountable, ..settings() }
    }

    /// A new client, of users who sign what they send; its position.
    pub fn join_with(&mut self, ids: Vec<UserId>, settings: ClientSettings) -> usize {
        let mut player = Player::with(self.shape, settings, ids, &self.servers[0]);
        player.workload.identities = player.ids.iter().map(|id| (*id, user_key(*id))).collect();
        self.players.push(player);
        self.players.len() - 1
    }

    /// Plays a round as the servers have it, with what is asked for after it.
    pub fn play_accountable(&mut self, round: u64) {
        self.submit(round);
        self.put_both(|server, users| server.round(round, users));
        self.servers.iter_mut().for_each(|server| server.round = round + 1);
        self.give_all();
        self.settle();
    }

    /// What a server held back goes out.
    pub fn release(&mut self, side: ServerSide) {
        let books = &mut self.servers[side.index()].books;
        books.holds = false;
        for (connection, headers) in std::mem::take(&mut books.held) {
            self.say(connection, side, headers);
        }
        self.give_all();
    }

    pub fn epoch(&self) -> Epoch {
        self.servers[0].epoch
    }

    /// The members of the epoch that runs.
    pub fn roster(&self) -> &[UserId] {
        &self.servers[0].rosters[&self.epoch().0]
    }

    /// Carries what a client has to send to a server, and the answers to the client's door.
    pub fn carry_one(&mut self, connection: usize, side: ServerSide) {
        let player = &mut self.players[connection];
        if player.ended {
            return;
        }
        let mut bytes = player.outgoing(side, &mut self.rng);
        if let Some(ends) = &mut self.ends {
            let (opened, answer) = ends.take(connection, side, &bytes, &mut self.rng);
            player.coming[side.index()].extend(answer);
            bytes = opened;
        }
        let server = &mut self.servers[side.index()];
        server.strict = self.damage.is_none();
        let answers = server.take(connection, &bytes);
        self.say(connection, side, answers);
    }

    /// Puts what a server says at a client's door.
    pub fn say(&mut self, connection: usize, side: ServerSide, said: Vec<u8>) {
        let said = match &mut self.ends {
            Some(ends) => ends.seal(connection, side, &said, &mut self.rng),
            None => said,
        };
        self.players[connection].coming[side.index()].extend(said);
    }

    /// Carries what the clients have to send to the servers, and the answers to the clients' doors.
    pub fn carry(&mut self) {
        for connection in 0..self.players.len() {
            ServerSide::BOTH.into_iter().for_each(|side| self.carry_one(connection, side));
        }
    }

    /// Puts what `make` makes for each client, of its users in the epoch that runs, at its door.
    pub fn put(&mut self, side: ServerSide, make: impl Fn(&Server, &[MemberIndex]) -> Vec<u8>) {
        let epoch = self.servers[side.index()].epoch;
        self.put_of(epoch, side, make);
    }

    /// The same, of its users in some epoch.
    pub fn put_of(
        &mut self,
        epoch: Epoch,
        side: ServerSide,
        make: impl Fn(&Server, &[MemberIndex]) -> Vec<u8>,
    ) {
        for connection in 0..self.players.len() {
            let server = &self.servers[side.index()];
            let users = server.members_of(epoch, &self.players[connection].ids);
            let said = make(server, &users);
            self.say(connection, side, said);
        }
    }

    pub fn put_both(&mut self, make: impl Fn(&Server, &[MemberIndex]) -> Vec<u8>) {
        for side in ServerSide::BOTH {
            self.put(side, &make);
        }
    }

    pub fn give_all(&mut self) {
        let bytes = &mut self.players[0].coming[0];
        if self.damage.is_some_and(|one_in| self.rng.random_ratio(1, one_in)) && !bytes.is_empty() {
            let at = self.rng.random_range(0..bytes.len());
            bytes[at] ^= self.rng.random::<u8>();
        }
        for player in self.players.iter_mut().filter(|player| !player.ended) {
            let end = player.give_all(&mut self.rng, self.now);
            match self.damage {
                None => end.unwrap(),
                Some(_) => player.ended = end.is_err(),
            }
        }
    }

    /// Whoever can submits for the next round.
    pub fn submit_all(&mut self) {
        for player in &mut self.players {
            let _ = player.client.submit();
        }
        self.carry();
    }

    /// Carries and gives until nobody has anything to say.
    pub fn settle(&mut self) {
        for _ in 0..4 {
            self.carry();
            self.give_all();
        }
    }

    /// Has the parts of an epoch given and delivered.
    pub fn exchange_parts(&mut self, epoch: Epoch) {
        for kind in self.shape.kinds() {
            for side in ServerSide::BOTH {
                self.put_of(epoch, side, |server, _| server.grants_of(epoch, kind));
            }
            self.settle();
            for side in ServerSide::BOTH {
                self.put_of(epoch, side, |server, users| match users.is_empty() {
                    true => Vec::new(),
                    false => server.all_parts(epoch, kind, users),
                });
            }
            self.give_all();
        }
    }

    /// Both servers open the epoch.
    pub fn open(&mut self, first_round: u64) {
        for server in &mut self.servers {
            (server.open, server.round) = (true, first_round);
            server.books.open(first_round, server.epoch);
        }
        self.put_both(|server, _| server.open(first_round));
        self.give_all();
    }

    /// Attaches, dials, confirms and opens round 1.
    pub fn opened(shape: Shape, seed: u64) -> World {
        World::attached(shape, seed).brought_to_rounds()
    }

    /// The same over private channels.
    pub fn opened_privately(shape: Shape, seed: u64) -> World {
        let mut world = World::private(shape, seed);
        world.settle();
        world.brought_to_rounds()
    }

    /// Confirms and opens round 1.
    fn brought_to_rounds(mut self) -> World {
        self.exchange_parts(EPOCH);
        self.open(1);
        self
    }

    /// Attaches and dials.
    pub fn attached(shape: Shape, seed: u64) -> World {
        let mut world = World::new(shape, seed);
        world.settle();
        world
    }

    /// Attaches, dials and uploads confirmations.
    pub fn dialled(shape: Shape, seed: u64) -> World {
        let mut world = World::attached(shape, seed);
        if shape.confirm_tile_senders > 0 {
            world.put_both(|server, _| server.grants());
            world.give_all();
            world.carry();
        }
        world
    }

    /// Announces the next epoch, and has it dialled.
    pub fn announce(&mut self, roster: &[UserId], first_round: u64) -> Epoch {
        let epoch = Epoch(self.epoch().0 + 1);
        self.announce_only(epoch, roster, first_round);
        self.settle();
        epoch
    }

    /// Announces an epoch.
    pub fn announce_only(&mut self, epoch: Epoch, roster: &[UserId], first_round: u64) {
        for server in &mut self.servers {
            server.rosters.insert(epoch.0, roster.to_vec());
        }
        for player in &mut self.players {
            player.workload.rosters.insert(epoch.0, roster.to_vec());
        }
        self.put_both(|server, _| server.announce(epoch, first_round));
    }

    /// Goes on to an epoch that is announced and dialled.
    pub fn switch(&mut self, epoch: Epoch, first_round: u64) {
        self.exchange_parts(epoch);
        for server in &mut self.servers {
            server.epoch = epoch;
        }
        self.players.iter_mut().for_each(|player| player.workload.epoch = epoch);
        self.open(first_round);
    }

    /// Everybody submits for the next round.
    pub fn submit(&mut self, round: u64) {
        for player in &mut self.players {
            assert_eq!(player.client.submit(), Some(RoundNumber(round)));
        }
        self.carry();
    }

    /// Plays a round that goes well, and checks what came of it.
    pub fn play(&mut self, round: u64) {
        self.submit(round);
        self.put_both(|server, users| server.round(round, users));
        self.servers.iter_mut().for_each(|server| server.round = round + 1);
        self.give_all();
        let roster = self.roster().to_vec();
        for player in &self.players {
            let users = self.servers[0].members_of(self.servers[0].epoch, &player.ids);
            match self.shape.answer {
                true => player.record.check_answers(&player.workload, round, &users, &roster),
                false => player.record.check_round(self.shape, round, &users, &roster),
            }
        }
    }

    /// The client at this position connects anew to both servers.
    pub fn reconnect(&mut self, connection: usize) {
        self.servers.iter_mut().for_each(|server| server.forget(connection));
        if let Some(ends) = &mut self.ends {
            ends.forget(connection);
        }
        let player = &mut self.players[connection];
        player.coming = Default::default();
        player.client.reconnect();
    }

    /// A new client, of users who may ask to join; its position.
    pub fn join(&mut self, ids: Vec<UserId>, join: bool) -> usize {
        let settings = ClientSettings { join, ..settings() };
        self.players.push(Player::with(self.shape, settings, ids, &self.servers[0]));
        self.players.len() - 1
    }

    pub fn kinds(&self) -> Vec<PartKind> {
        self.shape.kinds()
    }
}
