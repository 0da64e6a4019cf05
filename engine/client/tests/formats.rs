//! Every profile and scheme, and messages that are sealed.

mod model;

use model::{EPOCH, Record, SMALL, Shape, Workload, World, id};
use rand::SeedableRng;
use rand::rngs::StdRng;
use twincast_client::{
    Client, ClientError, ClientSettings, Deal, Event, Messages, Observer, Outbox, Sealing, Tile, User,
};
use twincast_protocol::format::{Profile, Scheme};
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::parts::PartKind;
use twincast_protocol::receive::Verdicts;
use twincast_protocol::sealed::SealKey;

const KEYS: Shape =
    Shape { members: 6, key_tile_senders: 4, confirm_tile_senders: 4, frame_bytes: 64, slots: 2, ..SMALL };

#[test]
fn every_profile_and_scheme_carries_every_message() {
    let schemes = [Scheme::Plain, Scheme::Algorithm4, Scheme::OneToMany { subgroups_max: 4 }];
    for (seed, profile) in Profile::ALL.into_iter().enumerate() {
        for scheme in schemes {
            for keys in [false, true] {
                let one_to_many = matches!(scheme, Scheme::OneToMany { .. });
                let shape = Shape {
                    members: 6,
                    slots: if one_to_many { 1 } else { 2 },
                    confirm_tile_senders: if one_to_many { 0 } else { 4 },
                    key_tile_senders: if keys { 2 } else { 0 },
                    profile,
                    scheme,
                    frame_bytes: if profile.is_paper() { 256 } else { 64 },
                    answer: false,
                    header_rounds: 0,
                };
                let mut world = World::opened(shape, seed as u64);
                (1..=2).for_each(|round| world.play(round));
                for player in &world.players {
                    assert_eq!(player.record.sum(|verdicts| verdicts.tampered), 0, "{shape:?}");
                    assert!(player.record.events.contains(&Event::Dialled { epoch: EPOCH }), "{shape:?}");
                }
                let roster: Vec<UserId> = (0..shape.members).map(id).collect();
                let epoch = world.announce(&roster, 3);
                world.switch(epoch, 3);
                world.play(3);
            }
        }
    }
}

#[test]
fn a_paper_profile_is_refused_unless_it_is_accepted() {
    let shape = Shape { profile: Profile::PaperAdd, frame_bytes: 256, ..SMALL };
    let settings = ClientSettings { accept_baseline: false, ..model::settings() };
    let mut world = World::new(shape, 1);
    let ids = world.players[0].ids.clone();
    world.players[0] = model::Player::with(shape, settings, ids, &world.servers[0]);
    world.carry();
    let player = &mut world.players[0];
    let error = player.give_all(&mut world.rng, world.now).expect_err("a baseline");
    assert_eq!(error, ClientError::Baseline { profile: Profile::PaperAdd });
    assert!(error.to_string().contains("paper-add") && error.to_string().contains("THREAT_MODEL.md"));
}

#[test]
fn keys_are_exchanged_with_those_wanted_and_with_nobody_else() {
    let world = World::opened(KEYS, 1);
    let mut pairs = 0;
    for player in &world.players {
        for (position, user) in player.ids.iter().enumerate() {
            let index = (0..6).find(|member| id(*member) == *user).expect("a member");
            for other in 0..6 {
                let wanted = (index + 1) % 6 == other || (other + 1) % 6 == index;
                assert_eq!(player.client.pair_key(position, id(other)).is_some(), wanted);
            }
        }
        let told = player.record.events.iter().find_map(|event| match event {
            Event::KeysExchanged { epoch: EPOCH, pairs, failed: 0 } => Some(*pairs),
            _ => None,
        });
        pairs += told.expect("keys were exchanged");
    }
    assert_eq!(pairs, 12, "six pairs, known to both");
}

/// Finds a user's client, and its position there.
fn player_of(world: &World, member: u32) -> (usize, usize) {
    let find = |player: &model::Player| player.ids.iter().position(|user| *user == id(member));
    let mut found = world.players.iter().enumerate().filter_map(|(at, player)| Some((at, find(player)?)));
    found.next().expect("somebody plays it")
}

#[test]
fn what_comes_sealed_and_is_for_somebody_else_is_silent() {
    // Everybody dials everybody; a message that is sealed for one opens for that one only.
    struct Open<'a>(&'a mut Workload, SealKey);
    impl Outbox for Open<'_> {
        fn recipients(&mut self, epoch: Epoch, _sender: User, _slot: SlotIndex) -> &[UserId] {
            &self.0.rosters[&epoch.0]
        }
        fn message(&mut self, round: RoundNumber, sender: User, slot: SlotIndex) -> &[u8] {
            self.0.message(round, sender, slot)
        }
        fn key_partners(&mut self, epoch: Epoch, sender: User) -> &[UserId] {
            self.0.key_partners(epoch, sender)
        }
        fn seal_with(&mut self, _round: RoundNumber, _sender: User, slot: SlotIndex) -> Option<Sealing<'_>> {
            match slot.0 {
                0 => Some(Sealing::Key { key: &self.1, recipient_set: 99 }),
                _ => None,
            }
        }
    }
    /// Knows the key of slot 0 where the sender's number is even.
    struct Reader<'a>(&'a mut Record, SealKey);
    impl Observer for Reader<'_> {
        fn opens_with(&mut self, tile: &Tile, _user: User, sender: UserId) -> Option<(&SealKey, u64)> {
            (tile.slot.0 == 0 && sender.0 % 4 == 1).then_some((&self.1, 99))
        }
        fn verdicts(&mut self, tile: &Tile, user: User, verdicts: &Verdicts, messages: &Messages<'_>) {
            self.0.verdicts(tile, user, verdicts, messages);
        }
        fn event(&mut self, event: Event) {
            self.0.event(event);
        }
    }
    let key = || SealKey::from_bytes(&[7; 32]);
    let mut world = World::new(KEYS, 2);
    let carry = |world: &mut World| {
        for connection in 0..2 {
            for side in ServerSide::BOTH {
                let player = &mut world.players[connection];
                let mut outbox = Open(&mut player.workload, key());
                let mut out = Vec::new();
                loop {
                    let bytes = player.client.outgoing(side, &mut world.rng, &mut outbox).unwrap();
                    if bytes.is_empty() {
                        break;
                    }
                    out.extend_from_slice(bytes);
                    let all = bytes.len();
                    player.client.sent(side, all);
                }
                player.coming[side.index()].extend(world.servers[side.index()].take(connection, &out));
            }
        }
        world.give_all();
    };
    carry(&mut world);
    carry(&mut world);
    for kind in world.kinds() {
        world.put_both(|server, _| server.grants_of(EPOCH, kind));
        world.give_all();
        carry(&mut world);
        world.put_both(|server, users| server.all_parts(EPOCH, kind, users));
        world.give_all();
    }
    world.open(1);
    world.players.iter_mut().for_each(|player| assert!(player.client.submit().is_some()));
    carry(&mut world);
    world.put_both(|server, users| server.round(1, users));
    for player in &mut world.players {
        for side in ServerSide::BOTH {
            let bytes = std::mem::take(&mut player.coming[side.index()]);
            player.client.space(side, world.now)[..bytes.len()].copy_from_slice(&bytes);
            player.client.filled(side, bytes.len());
        }
        player.client.advance(world.now, &mut Reader(&mut player.record, key())).unwrap();
        assert_eq!(player.record.closed(), [1]);
        for user in &player.users {
            for sender in 0..6 {
                let sealed = player.record.messages.get(&(1, sender, 0, user.0));
                let known = id(sender).0 % 4 == 1;
                assert_eq!(sealed, known.then(|| Workload::text(1, id(sender), 0)).as_ref());
                let silent = player.record.verdicts[&(1, 0, 0, user.0)].ignore >> sender & 1 == 1;
                assert_eq!(silent, !known, "what does not open is no alarm");
                // Several recipients: not sealed.
                let plain = player.record.messages.get(&(1, sender, 1, user.0));
                assert_eq!(plain, Some(&Workload::text(1, id(sender), 1)));
            }
        }
        assert_eq!(player.record.sum(|verdicts| verdicts.tampered), 0);
    }
}

#[test]
fn messages_for_one_partner_are_sealed_and_other_members_cannot_open_them() {
    let mut world = World::opened(KEYS, 3);
    world.submit(1);
    // Servers who pool what they got of the message of member 0 for member 1.
    let [one, two] = world.servers.each_ref().map(|server| server.shares[&(1, 0)].clone());
    let text = Workload::text(1, id(0), 0);
    let format = KEYS.format();
    let row = format.row_bytes(ServerSide::One);
    let mut seen = 0;
    for half1 in 0..2 {
        for half2 in 0..2 {
            let cells = [&one[..row], &two[..row]].map(|row| row.as_chunks::<112>().0);
            let sum: Vec<u8> = cells[0][half1].iter().zip(&cells[1][half2]).map(|(a, b)| a ^ b).collect();
            if sum[0] == 1 && sum[3] == 1 {
                let length = usize::from(u16::from_le_bytes([sum[1], sum[2]]));
                assert_eq!(length, 1 + text.len() + 16);
                assert!(!sum.windows(text.len()).any(|window| window == text), "it is sealed");
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "the frame is where the test looks for it");
    world.put_both(|server, users| server.round(1, users));
    world.give_all();
    let roster = world.roster().to_vec();
    for player in &world.players {
        player.record.check_round(KEYS, 1, &player.users, &roster);
    }
    assert_eq!(player_of(&world, 0).1, 0);
}

/// Sends messages of some length, sealed or not.
struct Lengths(Vec<u8>, bool, Vec<UserId>);

impl Outbox for Lengths {
    fn recipients(&mut self, _epoch: Epoch, _sender: User, _slot: SlotIndex) -> &[UserId] {
        &self.2
    }
    fn message(&mut self, _round: RoundNumber, _sender: User, _slot: SlotIndex) -> &[u8] {
        &self.0
    }
    fn seal_with(&mut self, _round: RoundNumber, _sender: User, _slot: SlotIndex) -> Option<Sealing<'_>> {
        if self.1 { None } else { Some(Sealing::Plain) }
    }
}

#[test]
fn a_group_that_exchanges_keys_has_less_room_and_the_error_says_so() {
    let world = World::opened(KEYS, 4);
    let group = *world.players[0].client.group().expect("attached");
    assert_eq!((group.message_bytes_max(false), group.message_bytes_max(true)), (60, 44));
    for (bytes, sealed, fits) in [(60, false, true), (61, false, false), (44, true, true), (45, true, false)]
    {
        let mut world = World::opened(KEYS, 4);
        let client = &mut world.players[0].client;
        client.submit().expect("round 1");
        let mut rng = StdRng::seed_from_u64(1);
        let end = client.outgoing(ServerSide::One, &mut rng, &mut Lengths(vec![1; bytes], sealed, vec![]));
        match end {
            Ok(_) => assert!(fits, "{bytes} bytes"),
            Err(error) => {
                assert!(!fits, "{bytes} bytes: {error}");
                let inside = ClientError::MessageInside {
                    sender: id(0),
                    slot: SlotIndex(0),
                    round: RoundNumber(1),
                    bytes,
                    bytes_max: bytes - 1,
                    sealed,
                };
                assert_eq!(error, inside);
                let says = if sealed { "that is sealed" } else { "that is not sealed" };
                assert!(error.to_string().contains(says), "{error}");
            }
        }
    }
}

#[test]
fn callers_who_ask_too_much_of_a_scheme_are_told() {
    struct Greedy(Vec<(UserId, Vec<u8>)>, u16);
    impl Outbox for Greedy {
        fn recipients(&mut self, _: Epoch, _: User, _: SlotIndex) -> &[UserId] {
            &[UserId(5), UserId(15), UserId(25), UserId(35)]
        }
        fn message(&mut self, _: RoundNumber, _: User, _: SlotIndex) -> &[u8] {
            b""
        }
        fn deal(&mut self, _: RoundNumber, _: User) -> Deal<'_> {
            Deal { messages: &self.0, noise: self.1 }
        }
    }
    let refused = |shape: Shape, greedy: &mut Greedy| {
        let mut world = World::new(shape, 1);
        // HELLO, and what the servers say of the group; nothing is dialled yet.
        world.carry();
        world.give_all();
        if !shape.dials() {
            world.open(1);
            world.players[0].client.submit().expect("round 1");
        }
        let client: &mut Client = &mut world.players[0].client;
        client.outgoing(ServerSide::One, &mut world.rng, greedy).expect_err("too much").to_string()
    };
    let six = Shape { members: 6, confirm_tile_senders: 0, ..SMALL };
    let algorithm4 = Shape { scheme: Scheme::Algorithm4, ..six };
    let says = refused(algorithm4, &mut Greedy(vec![], 0));
    assert!(says.contains("4 recipients for Algorithm 4"), "{says}");
    let paper = Shape { profile: Profile::PaperXor, frame_bytes: 256, ..six };
    let says = refused(paper, &mut Greedy(vec![], 0));
    assert!(says.contains("4 recipients in a paper profile's plain dial"), "{says}");
    let deal = Shape { scheme: Scheme::OneToMany { subgroups_max: 3 }, ..six };
    let says = refused(deal, &mut Greedy(vec![(UserId(5), vec![])], 3));
    assert!(says.contains("4 one-to-many subgroups"), "{says}");
    let says = refused(deal, &mut Greedy(vec![(UserId(5), vec![]), (UserId(5), vec![])], 0));
    assert!(says.contains("more than one message"), "{says}");
    let says = refused(deal, &mut Greedy(vec![(UserId(5), vec![0; 999])], 0));
    assert!(says.contains("does not fit"), "{says}");
}

#[test]
fn replies_are_made_once_all_keys_are_read() {
    let mut world = World::attached(KEYS, 5);
    let grant = |world: &mut World, kind| {
        world.put_both(|server, _| server.grants_of(EPOCH, kind));
        world.settle();
    };
    let deliver = |world: &mut World, kind| {
        world.put_both(|server, users| server.all_parts(EPOCH, kind, users));
        world.give_all();
    };
    grant(&mut world, PartKind::Confirmation);
    deliver(&mut world, PartKind::Confirmation);
    grant(&mut world, PartKind::Key);
    grant(&mut world, PartKind::KeyReply);
    let replies = |world: &World| {
        let reply = PartKind::KeyReply.number();
        world.servers.each_ref().map(|server| server.parts.keys().filter(|key| key.1 == reply).count())
    };
    assert_eq!(replies(&world), [0, 0], "nobody knows whom to answer");
    deliver(&mut world, PartKind::Key);
    world.settle();
    assert_eq!(replies(&world), [6, 6]);
    deliver(&mut world, PartKind::KeyReply);
    world.open(1);
    world.play(1);
    for player in &world.players {
        let exchanged = |event: &Event| matches!(event, Event::KeysExchanged { failed: 0, .. });
        assert!(player.record.events.iter().any(exchanged));
    }
}
