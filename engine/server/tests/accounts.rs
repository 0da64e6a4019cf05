//! Accounts over real sockets: two linked servers that sign users' keys for each other, users who register and prove who
//! they are, and operators who add, remove and change.

mod common;

use common::accounts::{Folders, GROUP, connect, hello, proofs, register_all, register_frame, registered};
use common::readers::{server_key, user_key};
use common::{Client, PATIENCE, count, wait_until};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use twincast_protocol::accountable::Certificate;
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};
use twincast_protocol::wire::Code;
use twincast_server::accounts::{Command, Done, Row};
use twincast_server::config::{ChannelName, RegistrationName};

const ONE: ServerSide = ServerSide::One;
const TWO: ServerSide = ServerSide::Two;
const PLAIN: ChannelName = ChannelName::Plain;
const NOISE: ChannelName = ChannelName::Noise;

fn hex_key(user: u32) -> String {
    hex::encode(user_key(user).verifying_key().to_bytes())
}

fn add(users: &[u32]) -> Command {
    let accounts = users.iter().map(|&user| (user, hex_key(user))).collect();
    Command::Add { group: GROUP, epoch: 0, accounts }
}

fn list(folders: &Folders, side: ServerSide) -> Vec<Row> {
    match folders.ask(side, &Command::List { group: None }) {
        Ok(Done::Listed(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

#[test]
fn users_register_at_both_servers_and_attach_by_their_keys() {
    for channel in [PLAIN, NOISE] {
        let folders = Folders::new();
        let servers = folders.servers(channel, registered(RegistrationName::Open), |_| {});
        for registered in register_all(&servers, channel, &[0, 1, 4]) {
            let user = UserId(registered.user.get());
            let certificate = Certificate {
                key: user_key(user.0).verifying_key(),
                epoch: Epoch(0),
                signatures: registered.signatures,
            };
            assert!(certificate.verify(GroupId(GROUP), user, &ServerSide::BOTH.map(server_key)));
        }
        for side in ServerSide::BOTH {
            let mut client = connect(&servers, side, channel);
            client.attach_proved(side, &[0, 1, 4]);
            let refused = |users: &[u32], make: &dyn Fn(&Client) -> Vec<[u8; 64]>, code: Code, user: u32| {
                let mut client = connect(&servers, side, channel);
                let proofs = make(&client);
                client.send(&hello(side, users, &proofs));
                client.expect_refused(code, user);
            };
            refused(&[0], &|_| vec![], Code::ProofWanted, u32::MAX);
            refused(&[0, 2], &|client| proofs(&client.binding, &[0, 2]), Code::NotRegistered, 2);
            refused(&[0, 1], &|client| proofs(&client.binding, &[0, 4]), Code::ProofWrong, 1);
            refused(&[0], &|_| vec![[0; 64]], Code::ProofWrong, 0);
        }
        // Asked again it is the same, at once and at one server alone.
        let mut client = connect(&servers, ONE, channel);
        client.register(ONE, 4);
        client.expect_registered(4);
        let mode = |name: &str| {
            std::fs::metadata(folders.of(ONE).join(name)).expect("it is there").permissions().mode() & 0o777
        };
        assert_eq!((mode("accounts.redb"), mode("admin.sock")), (0o600, 0o600));
    }
}

/// What is proved to one server is worth nothing at the other, nor on another channel with the same one.
#[test]
fn attach_proof_relayed_by_other_server_is_refused() {
    let folders = Folders::new();
    let servers = folders.servers(NOISE, registered(RegistrationName::Open), |_| {});
    register_all(&servers, NOISE, &[3]);
    let mut one = connect(&servers, ONE, NOISE);
    // S1 has this proof, and plays its user at S2 with it.
    let proof = proofs(&one.binding, &[3]);
    let mut relayed = connect(&servers, TWO, NOISE);
    relayed.send(&hello(TWO, &[3], &proof));
    relayed.expect_refused(Code::ProofWrong, 3);
    let mut again = connect(&servers, ONE, NOISE);
    again.send(&hello(ONE, &[3], &proof));
    again.expect_refused(Code::ProofWrong, 3);
    one.send(&hello(ONE, &[3], &proof));
    one.welcome();
    let mut registering = connect(&servers, TWO, NOISE);
    registering.send(&register_frame(&one.binding, TWO, 4, &user_key(4)));
    registering.expect_refused(Code::RegistrationWrong, 4);
}

#[test]
fn registrations_that_are_wrong_are_refused_by_name() {
    let folders = Folders::new();
    let servers = folders.servers(PLAIN, registered(RegistrationName::Open), |config| {
        config.limits.registration_timeout_ms = 300;
    });
    register_all(&servers, PLAIN, &[0]);
    let refused = |frame: Vec<u8>, code: Code, user: u32| {
        let mut client = connect(&servers, ONE, PLAIN);
        client.send(&frame);
        client.expect_refused(code, user);
    };
    let binding = twincast_protocol::statements::Binding::PLAIN;
    let good = register_frame(&binding, ONE, 1, &user_key(1));
    let changed = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[8 + at] = value;
        frame
    };
    refused(changed(0, 99), Code::GroupUnknown, 1);
    refused(changed(4, 1), Code::RegistrationWrong, 1);
    refused(changed(8, 2), Code::RegistrationWrong, 2);
    refused(changed(12, 2), Code::SideWrong, 1);
    refused(changed(13, 1), Code::ReservedSet, u32::MAX);
    refused(changed(48, good[56] ^ 1), Code::RegistrationWrong, 1);
    let mut small_order = good.clone();
    small_order[24..56].fill(0);
    small_order[24] = 1;
    small_order[56..].fill(0);
    small_order[56] = 1;
    refused(small_order, Code::RegistrationWrong, 1);
    let mut long = good.clone();
    long[4] += 1;
    refused(long, Code::LengthWrong, u32::MAX);
    refused(register_frame(&binding, ONE, 0, &user_key(9)), Code::AccountTaken, 0);
    refused(register_frame(&binding, ONE, 5, &user_key(0)), Code::AccountTaken, 5);
    // The other server hears nothing of this one.
    refused(good, Code::RegistrationHalf, 1);
    assert_eq!(list(&folders, ONE).len(), 1, "nothing of it is kept");
    // What came before a bad one is registered and answered.
    let mut clients = ServerSide::BOTH.map(|side| connect(&servers, side, PLAIN));
    for (side, client) in ServerSide::BOTH.into_iter().zip(&mut clients) {
        client.register(side, 2);
        client.register_with(side, 0, &user_key(9));
    }
    for client in &mut clients {
        client.expect_registered(2);
        client.expect_refused(Code::AccountTaken, 0);
    }
    assert_eq!(servers.counts(|metrics| &metrics.registrations), [2, 2]);
}

#[test]
fn unequal_keys_are_refused_by_both() {
    let folders = Folders::new();
    let servers = folders.servers(NOISE, registered(RegistrationName::Open), |config| {
        config.limits.registration_timeout_ms = 1_000;
    });
    let mut clients = ServerSide::BOTH.map(|side| connect(&servers, side, NOISE));
    for (side, client) in ServerSide::BOTH.into_iter().zip(&mut clients) {
        client.register_with(side, 1, &user_key(10 + side.index() as u32));
    }
    // S1 signs what it keeps, which is none: it knows why, and S2 that it did not sign.
    for (client, code) in clients.iter_mut().zip([Code::KeysUnequal, Code::RegistrationHalf]) {
        client.expect_refused(code, 1);
    }
    assert!(ServerSide::BOTH.iter().all(|side| list(&folders, *side).is_empty()), "neither keeps one");
    register_all(&servers, NOISE, &[1]);
}

#[test]
fn a_closed_group_takes_what_its_operators_add() {
    let folders = Folders::new();
    let servers = folders.servers(PLAIN, registered(RegistrationName::Closed), |_| {});
    let mut client = connect(&servers, ONE, PLAIN);
    client.register(ONE, 1);
    client.expect_refused(Code::RegistrationClosed, 1);
    assert_eq!(folders.ask(ONE, &add(&[0, 1])), Ok(Done::Added(2)));
    assert!(list(&folders, ONE).iter().all(|row| !row.serves && row.signatures[1].is_none()));
    let mut half = connect(&servers, ONE, PLAIN);
    half.send(&hello(ONE, &[1], &proofs(&half.binding, &[1])));
    half.expect_refused(Code::NotRegistered, 1);
    assert_eq!(folders.ask(TWO, &add(&[0, 1])), Ok(Done::Added(2)));
    wait_until("both accounts", || list(&folders, ONE).iter().all(|row| row.serves));
    let twice = Command::Add { group: GROUP, epoch: 0, accounts: vec![(4, hex_key(1))] };
    assert!(folders.ask(ONE, &twice).unwrap_err().contains("a key of its own"));
    let small = Command::Add { group: GROUP, epoch: 0, accounts: vec![(4, format!("01{}", "0".repeat(62)))] };
    assert!(folders.ask(ONE, &small).unwrap_err().contains("anybody can sign"));
    // A user whom the operators added fetches its certificate.
    register_all(&servers, PLAIN, &[0, 1]);
}

/// What the rules refuse is refused whoever signed it: no stranger makes a server verify anything where it cannot register.
#[test]
fn what_the_rules_refuse_is_refused_before_a_signature_is_looked_at() {
    let folders = Folders::new();
    let servers = folders.servers(PLAIN, registered(RegistrationName::Closed), |_| {});
    assert_eq!(folders.ask(ONE, &add(&[0])), Ok(Done::Added(1)));
    let binding = twincast_protocol::statements::Binding::PLAIN;
    for (user, key, code) in
        [(1, 1, Code::RegistrationClosed), (0, 9, Code::AccountTaken), (0, 0, Code::RegistrationWrong)]
    {
        let mut client = connect(&servers, ONE, PLAIN);
        let mut frame = register_frame(&binding, ONE, user, &user_key(key));
        *frame.last_mut().expect("a signature") ^= 1;
        client.send(&frame);
        client.expect_refused(code, user);
    }
}

/// A stranger who comes to one server with a user's number, again and again, does not keep the user from it.
#[test]
fn a_number_that_a_stranger_holds_at_one_server_is_still_its_users() {
    for side in ServerSide::BOTH {
        let folders = Folders::new();
        let servers = folders.servers(PLAIN, registered(RegistrationName::Open), |_| {});
        let elsewhere = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        elsewhere.bind(&SocketAddr::from(([127, 0, 0, 66], 0)).into()).expect("all of 127/8 is this machine");
        elsewhere.connect(&servers.get(side).address().into()).expect("the server listens");
        let mut stranger = TcpStream::from(elsewhere);
        let binding = twincast_protocol::statements::Binding::PLAIN;
        stranger.write_all(&register_frame(&binding, side, 1, &user_key(9))).expect("it is heard");
        wait_until("the stranger waits", || {
            servers.counts(|metrics| &metrics.registrations_pending) != [0, 0]
        });
        register_all(&servers, PLAIN, &[1]);
        let mut said = Vec::new();
        stranger.set_read_timeout(Some(PATIENCE)).expect("an option");
        stranger.read_to_end(&mut said).expect("an answer, and the end");
        assert_eq!(said, Code::AccountTaken.frame(1, u32::MAX, 0));
    }
}

#[test]
fn a_removed_user_goes_at_once_and_a_rotated_key_proves_nothing() {
    let folders = Folders::new();
    let servers = folders.servers(NOISE, registered(RegistrationName::Closed), |_| {});
    for side in ServerSide::BOTH {
        folders.ask(side, &add(&[0, 1, 2])).expect("they are new");
    }
    wait_until("all accounts", || {
        ServerSide::BOTH.iter().all(|side| list(&folders, *side).iter().all(|row| row.serves))
    });
    let attach = |users: &[u32]| {
        let mut client = connect(&servers, ONE, NOISE);
        client.attach_proved(ONE, users);
        client
    };
    let (mut removed, mut rotated, mut stays) = (attach(&[0]), attach(&[1]), attach(&[2]));
    assert_eq!(folders.ask(ONE, &Command::Remove { group: GROUP, user: 0 }), Ok(Done::Removed));
    removed.expect_refused(Code::NotRegistered, 0);
    let rotate = Command::Rotate { group: GROUP, user: 1, key: hex_key(11), epoch: None };
    assert_eq!(folders.ask(ONE, &rotate), Ok(Done::Rotated(1)));
    rotated.expect_refused(Code::NotRegistered, 1);
    let mut old = connect(&servers, ONE, NOISE);
    old.send(&hello(ONE, &[1], &proofs(&old.binding, &[1])));
    old.expect_refused(Code::NotRegistered, 1);
    assert_eq!(folders.ask(TWO, &rotate), Ok(Done::Rotated(1)));
    wait_until("the new key", || list(&folders, ONE).iter().any(|row| row.epoch == 1 && row.serves));
    let mut old = connect(&servers, ONE, NOISE);
    old.send(&hello(ONE, &[1], &proofs(&old.binding, &[1])));
    old.expect_refused(Code::ProofWrong, 1);
    // Nobody else noticed anything.
    stays.send(&[3, 0x06, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    stays.expect_error(Code::NotAttached, 5, u32::MAX, 0);
}

#[test]
fn accounts_outlive_a_restart_and_belong_to_one_server() {
    let folders = Folders::new();
    let group = registered(RegistrationName::Open);
    let servers = folders.servers(NOISE, group.clone(), |_| {});
    register_all(&servers, NOISE, &[0, 5]);
    assert_eq!(folders.ask(ONE, &add(&[1])), Ok(Done::Added(1)));
    drop(servers);
    let servers = folders.servers(NOISE, group, |_| {});
    for side in ServerSide::BOTH {
        connect(&servers, side, NOISE).attach_proved(side, &[0, 5]);
    }
    // What S2 never heard of it hears when the link is up.
    let rows = list(&folders, ONE);
    assert_eq!(
        rows.iter().map(|row| (row.user, row.serves)).collect::<Vec<_>>(),
        [(0, true), (1, false), (5, true)]
    );
    assert_eq!(folders.ask(TWO, &add(&[1])), Ok(Done::Added(1)));
    wait_until("the account", || list(&folders, ONE).iter().all(|row| row.serves));
    assert_eq!(count(&servers.get(ONE).metrics().keys_signed_false), 0);
}
