//! Errors of form: whoever sends what is no frame of this group gets the documented error and the end of its
//! connection, it is counted, and nobody else's round is harmed.

mod common;

use common::client::hello_frame;
use common::model::{confirm_frame, dial_frame, frame, parts_frame, submit_frame};
use common::{Client, End, Party, TestServer, config, count, group};
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{Body, Code, Hello};
use twincast_server::config::Config;

const MEMBERS: u32 = 5;
/// A member that has dialled and that no bystander plays.
const OFFENDER: u32 = 4;

/// A group with an open epoch in which members 0 to 2 go on playing, whatever is done to the server.
struct Scene {
    party: Party,
    rounds: u64,
    offences: Vec<Code>,
    side: ServerSide,
    server: TestServer,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(ServerSide::One, |_| {})
    }

    fn with(side: ServerSide, change: impl FnOnce(&mut Config)) -> Scene {
        let mut config = config(vec![group(7, MEMBERS)]);
        config.side = side.index() as u8 + 1;
        change(&mut config);
        let group = config.groups[0].clone();
        let server = TestServer::start(config);
        let mut party = Party::new(server.address(), &group, side, 1);
        for users in [vec![0, 2], vec![1], vec![3, 4]] {
            party.join(users);
        }
        party.dial();
        party.expect_open();
        drop(party.take(2));
        server.wait_for_connections(2);
        let mut scene = Scene { party, rounds: 0, offences: Vec::new(), side, server };
        scene.play();
        scene
    }

    fn play(&mut self) {
        self.rounds += 1;
        self.party.play(self.rounds);
    }

    /// A connection of the offender, after its HELLO or before.
    fn offender(&self, attached: bool) -> Client {
        let mut client = Client::connect(self.server.address());
        if attached {
            client.hello(self.side, 7, &[OFFENDER]);
            client.expect(&self.party.model.dialled(OFFENDER, 0), "the dial that stands");
        }
        client
    }

    /// Who sends these bytes is told this and closed, and the others play a round.
    fn refused(&mut self, attached: bool, bytes: &[u8], code: Code) {
        let mut client = self.offender(attached);
        client.send(bytes);
        client.expect_closed(code);
        self.offences.push(code);
        self.play();
    }

    /// Everything was counted and everybody forgotten.
    fn end(self) {
        for &code in &self.offences {
            let times = self.offences.iter().filter(|&&other| other == code).count() as u64;
            assert_eq!(self.server.metrics().refusals(code), times, "{}", code.label());
        }
        self.server.wait_for_connections(2);
        assert_eq!(count(&self.server.metrics().rounds_sealed), self.rounds);
    }
}

fn submit_bytes() -> usize {
    16 + 2 * 64
}

#[test]
fn a_frame_of_an_unknown_version_is_refused() {
    let mut scene = Scene::new();
    for version in [0, 1, 255] {
        let mut hello = hello_frame(ServerSide::One, 7, &[OFFENDER]);
        hello[0] = version;
        scene.refused(false, &hello, Code::VersionUnknown);
        let mut submit = submit_frame(1, OFFENDER, &[0; 128]);
        submit[0] = version;
        scene.refused(true, &submit, Code::VersionUnknown);
    }
    scene.end();
}

#[test]
fn a_kind_that_is_unknown_or_not_a_clients_and_reserved_bytes_are_refused() {
    let mut scene = Scene::new();
    for kind in [0x00, 0x08, 0x41, 0x46, 0x77, 0x81, 0x85, 0x8a, 0xff] {
        scene.refused(true, &frame(kind, &[]), Code::KindUnknown);
    }
    for index in [2, 3] {
        let mut hello = hello_frame(ServerSide::One, 7, &[OFFENDER]);
        hello[index] = 1;
        scene.refused(false, &hello, Code::KindUnknown);
        let mut submit = submit_frame(1, OFFENDER, &[0; 128]);
        submit[index] = 0x80;
        scene.refused(true, &submit, Code::KindUnknown);
    }
    scene.end();
}

#[test]
fn a_body_of_the_wrong_length_is_refused() {
    for side in ServerSide::BOTH {
        let mut scene = Scene::with(side, |_| {});
        let parts = 16 + 64 * MEMBERS as usize;
        for (kind, bytes) in
            [(0x02, 24 + 1), (0x03, 16 + 32), (0x04, parts), (0x05, submit_bytes()), (0x06, 8), (0x07, 24)]
        {
            if kind == 0x04 && side == ServerSide::One {
                continue;
            }
            for bytes in [bytes - 1, bytes + 1, 0] {
                // The purpose of parts, which comes before their length, is right.
                let mut body = vec![0; bytes];
                if (0x03..=0x04).contains(&kind) && bytes >= 16 {
                    body[12] = 1;
                }
                scene.refused(true, &frame(kind, &body), Code::LengthWrong);
            }
        }
        scene.end();
    }
}

#[test]
fn a_session_key_of_the_wrong_length_is_refused() {
    let mut scene = Scene::new();
    for key in [&[][..], &[0, 0], &[0; 16]] {
        scene.refused(true, &dial_frame(1, 0, OFFENDER, 0, key), Code::LengthWrong);
    }
    scene.end();
}

#[test]
fn a_hello_of_the_wrong_length_is_refused() {
    let mut scene = Scene::new();
    let good = hello_frame(ServerSide::One, 7, &[3, OFFENDER]);
    // One user fewer or more than it says, half a user, less than its head.
    for bytes in [good.len() - 8 - 4, good.len() - 8 + 4, good.len() - 8 + 2, 15, 0] {
        let mut body = good[8..].to_vec();
        body.resize(bytes, 0);
        scene.refused(false, &frame(0x01, &body), Code::LengthWrong);
    }
    scene.end();
}

#[test]
fn a_frame_too_large_is_refused_at_its_header() {
    let mut scene = Scene::new();
    for bytes in [(1u32 << 30) + 1, u32::MAX] {
        let mut header = frame(0x05, &[]);
        header[4..8].copy_from_slice(&bytes.to_le_bytes());
        scene.refused(true, &header, Code::FrameTooLarge);
        header[1] = 0x01;
        scene.refused(false, &header, Code::FrameTooLarge);
    }
    // Within the format, and more than any frame of this group.
    for kind in [0x02, 0x03, 0x04, 0x05] {
        let mut header = frame(kind, &[]);
        header[4..8].copy_from_slice(&(1u32 << 30).to_le_bytes());
        scene.refused(true, &header, Code::FrameTooLarge);
    }
    scene.end();
}

#[test]
fn a_connection_that_does_not_begin_with_hello_is_refused() {
    let mut scene = Scene::new();
    scene.refused(false, &submit_frame(1, OFFENDER, &[0; 128]), Code::HelloExpected);
    scene.refused(false, &dial_frame(1, 0, OFFENDER, 0, &[0]), Code::HelloExpected);
    scene.refused(false, &frame(0x81, &[0; 48]), Code::HelloExpected);
    scene.end();
}

#[test]
fn a_second_hello_is_refused() {
    let mut scene = Scene::new();
    scene.refused(true, &hello_frame(ServerSide::One, 7, &[OFFENDER]), Code::HelloRepeated);
    scene.refused(true, &hello_frame(ServerSide::One, 9, &[0, 1]), Code::HelloRepeated);
    scene.end();
}

#[test]
fn a_hello_with_too_many_users_is_refused_at_its_header() {
    let mut scene = Scene::with(ServerSide::One, |config| config.limits.users_per_connection_max = 2);
    let hello = hello_frame(ServerSide::One, 7, &[2, 3, 4]);
    scene.refused(false, &hello, Code::UsersTooMany);
    // More than so many users and their proofs take.
    let many: Vec<u32> = (2..40).collect();
    scene.refused(false, &hello_frame(ServerSide::One, 7, &many)[..8], Code::UsersTooMany);
    scene.end();
}

/// The cells of a tile for so many users would be more than a frame's body may have.
#[test]
fn a_hello_with_more_users_than_a_delivery_can_hold_is_refused() {
    let mut large = group(8, 300);
    large.frame_bytes = 65_536;
    let mut scene = Scene::with(ServerSide::One, |config| config.groups.push(large));
    let most = ((1u64 << 30) - 56) / (64 * (65_536 + 48));
    let users: Vec<u32> = (0..=most as u32).collect();
    scene.refused(false, &hello_frame(ServerSide::One, 8, &users), Code::UsersTooMany);
    let (_client, welcome) =
        Client::attach(scene.server.address(), ServerSide::One, 8, &users[..most as usize]);
    assert_eq!(welcome.members.get(), 300);
    drop(_client);
    scene.end();
}

#[test]
fn a_hello_whose_members_do_not_ascend_is_refused() {
    let mut scene = Scene::new();
    for users in [&[][..], &[3, 3], &[4, 3], &[0, 4, 1]] {
        scene.refused(false, &hello_frame(ServerSide::One, 7, users), Code::UsersNotAscending);
    }
    scene.end();
}

#[test]
fn a_hello_with_a_member_out_of_range_is_refused_and_the_member_is_named() {
    let mut scene = Scene::new();
    for users in [&[MEMBERS][..], &[OFFENDER, MEMBERS], &[3, u32::MAX]] {
        let mut client = scene.offender(false);
        client.send(&hello_frame(ServerSide::One, 7, users));
        client.expect_error(Code::UserUnknown, *users.last().unwrap(), u32::MAX, 0);
        client.expect_end("after the error");
        scene.offences.push(Code::UserUnknown);
        scene.play();
    }
    scene.end();
}

#[test]
fn a_hello_for_the_other_server_or_none_is_refused() {
    let mut scene = Scene::new();
    scene.refused(false, &hello_frame(ServerSide::Two, 7, &[OFFENDER]), Code::SideWrong);
    for side in [0, 3] {
        let mut hello = hello_frame(ServerSide::One, 7, &[OFFENDER]);
        hello[8 + 8] = side;
        scene.refused(false, &hello, Code::SideWrong);
    }
    scene.end();
    let mut other = Scene::with(ServerSide::Two, |_| {});
    other.refused(false, &hello_frame(ServerSide::One, 7, &[OFFENDER]), Code::SideWrong);
    other.end();
}

#[test]
fn a_hello_for_an_unknown_group_is_refused() {
    let mut scene = Scene::new();
    for group in [0, 6, u32::MAX] {
        scene.refused(false, &hello_frame(ServerSide::One, group, &[OFFENDER]), Code::GroupUnknown);
    }
    scene.end();
}

#[test]
fn reserved_bytes_and_flags_that_are_neither_are_refused() {
    for side in ServerSide::BOTH {
        let mut scene = Scene::with(side, |_| {});
        let mut hello = hello_frame(side, 7, &[OFFENDER]);
        for (at, value) in [(9, 2), (10, 2), (11, 0x80)] {
            hello[8 + at] = value;
            scene.refused(false, &hello, Code::ReservedSet);
            hello[8 + at] = 0;
        }
        let mut dial = dial_frame(1, 0, OFFENDER, 0, &[0]);
        dial[8 + 20] = 1;
        let mut submit = submit_frame(1, OFFENDER, &[0; 128]);
        submit[8 + 12] = 2;
        let leave = frame(0x06, &[OFFENDER as u8, 0, 0, 0, 1, 0, 0, 0]);
        let mut fetch = frame(0x07, &[0; 24]);
        fetch[8 + 23] = 1;
        for bytes in [dial, submit, leave, fetch] {
            scene.refused(true, &bytes, Code::ReservedSet);
        }
        scene.end();
    }
}

#[test]
fn parts_of_no_purpose_are_refused() {
    for (side, kind, bytes) in [(ServerSide::One, 0x03, 32), (ServerSide::Two, 0x04, 64 * MEMBERS as usize)] {
        let mut scene = Scene::with(side, |_| {});
        for purpose in [0, 4, 256 + 1, u32::MAX] {
            let parts = parts_frame(kind, 0, OFFENDER, 0, purpose, &vec![0; bytes]);
            scene.refused(true, &parts, Code::PartsForm);
        }
        scene.end();
    }
}

#[test]
fn a_hello_for_another_epoch_is_refused() {
    let mut scene = Scene::new();
    for epoch in [1u32, u32::MAX - 1] {
        let mut hello = hello_frame(ServerSide::One, 7, &[OFFENDER]);
        hello[8 + 4..8 + 8].copy_from_slice(&epoch.to_le_bytes());
        scene.refused(false, &hello, Code::HelloEpochWrong);
    }
    scene.end();
}

#[test]
fn parts_for_s1_and_a_seed_for_s2_are_refused() {
    for (side, kind, bytes) in [(ServerSide::One, 0x04, 64 * MEMBERS as usize), (ServerSide::Two, 0x03, 32)] {
        let mut scene = Scene::with(side, |_| {});
        scene.refused(true, &confirm_frame(kind, 0, OFFENDER, 0, &vec![0; bytes]), Code::PartsForm);
        scene.end();
    }
}

#[test]
fn the_error_reaches_a_peer_that_goes_on_sending() {
    let mut scene = Scene::new();
    let mut rest = vec![0; 1 << 20];
    Xoshiro256PlusPlus::seed_from_u64(3).fill_bytes(&mut rest);
    for (attached, code) in [(true, Code::VersionUnknown), (false, Code::HelloExpected)] {
        let mut client = scene.offender(attached);
        let mut bytes = submit_frame(1, OFFENDER, &[0; 128]);
        if attached {
            bytes[0] = 9;
        }
        client.send(&bytes);
        client.send(&rest);
        client.expect_closed(code);
        scene.offences.push(code);
        scene.play();
    }
    scene.end();
}

#[test]
fn nothing_after_an_error_of_form_is_looked_at() {
    let mut scene = Scene::new();
    let mut client = scene.offender(true);
    let mut bytes = frame(0x77, &[]);
    // Were it taken, the offender would be present in the round that is played next.
    bytes.extend(submit_frame(scene.rounds + 1, OFFENDER, &[1; 128]));
    client.send(&bytes);
    client.expect_closed(Code::KindUnknown);
    scene.offences.push(Code::KindUnknown);
    scene.play();
    scene.end();
}

/// Random bytes; headers that are good with bodies that are not; frames that are good but for some bytes. Members 3
/// and 4 send them, 0 to 2 play on.
#[test]
fn garbage_harms_nobody() {
    for seed in 0..4 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let side = ServerSide::BOTH[seed as usize % 2];
        let mut scene = Scene::with(side, |config| config.groups.push(group(8, 3)));
        for _ in 0..12 {
            let mut offenders: Vec<Client> = Vec::new();
            let round = scene.rounds + 1;
            scene.party.submit(round);
            for _ in 0..3 {
                let mut client = scene.offender(false);
                let mut stream = Vec::new();
                if rng.random_range(0..4) > 0 {
                    stream.extend(hello_frame(side, [7, 8][rng.random_range(0..2)], &[OFFENDER - 2]));
                    let user = if stream[8] == 8 { 2u32 } else { rng.random_range(3..5) };
                    let at = stream.len() - 4;
                    stream[at..].copy_from_slice(&user.to_le_bytes());
                }
                for _ in 0..rng.random_range(1..4) {
                    stream.extend(garbage(&mut rng));
                }
                // Closed in the middle of it, perhaps.
                for piece in stream.chunks(rng.random_range(1..3_000)) {
                    if !client.send_if_open(piece) {
                        break;
                    }
                }
                offenders.push(client);
            }
            // Some wait for what the server says, some do not.
            for client in offenders.iter_mut().take(1) {
                client.send_end();
                let (end, _) = client.drain();
                assert!(matches!(end, End::Whole | End::Reset), "seed {seed}: {end:?}");
            }
            drop(offenders);
            scene.party.expect(round);
            scene.rounds = round;
        }
        scene.server.wait_for_connections(2);
        assert_eq!(count(&scene.server.metrics().rounds_sealed), scene.rounds, "seed {seed}");
    }
}

/// Never a SUBMIT that could be taken for one of the members' that are looked at.
fn garbage(rng: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let mut random = |bytes: usize| {
        let mut out = vec![0; bytes];
        rng.fill_bytes(&mut out);
        out
    };
    let mut bytes = random(600);
    match bytes[0] % 6 {
        0 => bytes,
        1 => frame(bytes[1] % 6, &bytes[8..8 + usize::from(bytes[2])]),
        2 => frame(0x05, &bytes[8..8 + submit_bytes()]),
        3 => frame(0x02, &bytes[8..8 + 25]),
        4 => {
            let mut hello = hello_frame(ServerSide::One, 7, &[OFFENDER]);
            let at = bytes[1] as usize % hello.len();
            hello[at] ^= bytes[2];
            hello
        }
        _ => {
            let kind = 0x03 + bytes[1] % 2;
            let tail = [32, 64 * MEMBERS as usize][usize::from(kind - 0x03)];
            bytes.resize(tail, 0);
            let mut confirm = confirm_frame(kind, 0, OFFENDER, u32::from(bytes[2] % 3), &bytes);
            confirm.truncate(confirm.len() - usize::from(bytes[3] % 2) * usize::from(bytes[4] % 20));
            confirm
        }
    }
}

#[test]
fn the_sizes_of_this_file_are_those_of_the_format() {
    assert_eq!(frame(0x05, &vec![0; submit_bytes()]).len(), submit_frame(1, 0, &[0; 128]).len());
    assert_eq!(hello_frame(ServerSide::One, 7, &[1]).len(), 8 + size_of::<Hello>() + 4);
    assert_eq!(Hello::KIND as u8, 0x01);
}
