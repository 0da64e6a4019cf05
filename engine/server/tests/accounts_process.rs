//! Accounts of the real binary: killed at any time, and changed by `admin` while it runs and while it does not.

mod common;

use common::accounts::{Folders, GROUP, hello, proofs, registered};
use common::client::{is_error, kind};
use common::pair::{s1_end, s2_end};
use common::readers::{server_key, server_seed, user_key};
use common::{Client, Permit, Process, config, run_to_end, wait_until};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{Code, Kind};
use twincast_server::config::{Config, GroupConfig, LinkConfig, RegistrationName, RegistryConfig};

const USERS: u32 = 60;

/// The configuration of one of two servers, whose signing key is a file of its own.
fn side_config(
    folders: &Folders,
    side: ServerSide,
    registration: RegistrationName,
    link: LinkConfig,
) -> Config {
    let key = folders.of(side).join("signing.key");
    std::fs::write(&key, hex::encode(server_seed(side))).expect("a file");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("its mode");
    let peer_verifying_key = Some(hex::encode(server_key(side.other()).to_bytes()));
    let mut config = Config {
        side: side.index() as u8 + 1,
        link: Some(LinkConfig { peer_verifying_key, ..link }),
        registry: Some(RegistryConfig { folder: folders.of(side).to_owned() }),
        signing_key: Some(key),
        ..config(vec![GroupConfig { members: USERS, ..registered(registration) }])
    };
    config.limits.registration_timeout_ms = 2_000;
    config
}

/// Registers one user after the other at one server, for as long as it answers: whom it registered.
fn register_until_cut(address: SocketAddr, side: ServerSide) -> BTreeSet<u32> {
    let mut answered = BTreeSet::new();
    let mut client = Client::connect(address);
    for user in 0..USERS {
        let frame = common::accounts::register_frame(&client.binding, side, user, &user_key(user));
        if !client.send_if_open(&frame) {
            break;
        }
        match client.next() {
            Ok(frame) if kind(&frame) == Kind::Registered => answered.insert(user),
            _ => break,
        };
    }
    answered
}

/// Whoever was told that it is registered is, also when the server is killed in the middle of it.
#[test]
fn a_kill_takes_no_registration_that_was_answered() {
    let seed = 0x6b69_6c6c;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let folders = Folders::new();
    let _permit = Permit::wait_for(2);
    let open = RegistrationName::Open;
    let two = Process::start_permitted(&side_config(&folders, ServerSide::Two, open, s2_end()));
    let link = two.link.expect("S2 listens");
    let one_config = side_config(&folders, ServerSide::One, open, s1_end(link));
    let mut registered = BTreeSet::new();
    for kill in 0..3 {
        let mut one = Process::start_permitted(&one_config);
        let (one_address, two_address) = (one.address, two.address);
        let at_one = std::thread::spawn(move || register_until_cut(one_address, ServerSide::One));
        let at_two = std::thread::spawn(move || register_until_cut(two_address, ServerSide::Two));
        std::thread::sleep(std::time::Duration::from_millis(rng.random_range(50..400)));
        one.signal(Signal::KILL);
        one.end();
        registered.extend(at_one.join().expect("it registers"));
        at_two.join().expect("it registers");
        let what = format!("seed {seed}, kill {kill}, of {registered:?}");
        let one = Process::start_permitted(&one_config);
        for &user in &registered {
            let mut client = Client::connect(one.address);
            client.send(&hello(ServerSide::One, &[user], &proofs(&client.binding, &[user])));
            let frame = client.frame(&what);
            assert_eq!(kind(&frame), Kind::Welcome, "user {user} is there: {what}");
        }
        // Whoever was not answered has an account whole, or none.
        for user in (0..USERS).filter(|user| !registered.contains(user)).take(3) {
            let mut client = Client::connect(one.address);
            client.send(&hello(ServerSide::One, &[user], &proofs(&client.binding, &[user])));
            let frame = client.frame(&what);
            assert!(kind(&frame) == Kind::Welcome || is_error(&frame, Code::NotRegistered), "{what}");
        }
        for row in admin_export(&one_config, &folders) {
            let whole = row.matches("null").count() == 0;
            assert!(whole, "no half account is kept: {row}");
        }
    }
    assert!(!registered.is_empty(), "seed {seed}: some were registered before a kill");
}

/// `--check` refuses the folder of accounts that a start refuses, in the same words, after all that operators compare.
#[test]
fn a_registry_that_is_not_there_is_refused_by_check_as_by_a_start() {
    let folders = Folders::new();
    let one = ServerSide::One;
    let connect = "127.0.0.1:9".parse().expect("an address");
    let good = side_config(&folders, one, RegistrationName::Closed, s1_end(connect));
    let (code, stdout, stderr) = run_to_end("", "--check", &good.to_toml());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("good;"), "{stdout}");
    let at = |folder: PathBuf| Config { registry: Some(RegistryConfig { folder }), ..good.clone() };
    let file = good.signing_key.clone().expect("it has one");
    let refuses = |config: &Config, says: &str| {
        for option in ["--check", "--config"] {
            let (code, stdout, stderr) = run_to_end("", option, &config.to_toml());
            assert_eq!(code, Some(1), "{option}: {stderr}");
            assert!(stderr.contains("registry.folder: ") && stderr.contains(says), "{option}: {stderr}");
            assert!(!stdout.contains("good;") && !stdout.contains("listening"), "{option}: {stdout}");
            assert_eq!(stdout.contains("to compare with"), option == "--check", "{stdout}");
        }
    };
    refuses(&at(folders.of(one).join("missing")), "make it with `mkdir -m 700");
    refuses(&at(file), "make it with `mkdir -m 700");
    std::fs::set_permissions(folders.of(one), PermissionsExt::from_mode(0o750)).expect("its mode");
    refuses(&good, "mode 0750, and others could read or change who is a user: `chmod 700");
}

fn write_config(config: &Config, folders: &Folders) -> PathBuf {
    let path = folders.of(config.server_side()).join("server.toml");
    std::fs::write(&path, config.to_toml()).expect("a file");
    path
}

fn admin(config: &Config, folders: &Folders, arguments: &[&str]) -> Output {
    let path = write_config(config, folders);
    let mut command = Command::new(env!("CARGO_BIN_EXE_twincast-server"));
    command.args(["admin", "--config"]).arg(path).args(arguments);
    command.output().expect("the binary runs")
}

fn admin_export(config: &Config, folders: &Folders) -> Vec<String> {
    let output = admin(config, folders, &["export"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn admin_works_on_servers_that_run_and_on_the_files_of_those_that_do_not() {
    let folders = Folders::new();
    let _permit = Permit::wait_for(2);
    let closed = RegistrationName::Closed;
    let two_config = side_config(&folders, ServerSide::Two, closed, s2_end());
    let key = |user: u32| hex::encode(user_key(user).verifying_key().to_bytes());
    let list = folders.of(ServerSide::Two).join("users");
    std::fs::write(&list, format!("# USER KEY\n\n0 {}\n1 {}\n", key(0), key(1))).expect("a file");
    let group = GROUP.to_string();
    let add_list = ["add", "--group", &group, "--from", list.to_str().expect("text")];
    // While it does not run.
    let said = |output: &Output| {
        let text = [&output.stdout[..], &output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    };
    let (status, text) = said(&admin(&two_config, &folders, &add_list));
    assert!(status == Some(0) && text.contains("2 account(s) added") && text.contains("its file"), "{text}");
    let two = Process::start_permitted(&two_config);
    let one_config = side_config(&folders, ServerSide::One, closed, s1_end(two.link.expect("S2 listens")));
    let one = Process::start_permitted(&one_config);
    // While it runs.
    for user in [0, 1] {
        let (user_text, key) = (user.to_string(), key(user));
        let add = ["add", "--group", &group, "--user", &user_text, "--key", &key];
        let (status, text) = said(&admin(&one_config, &folders, &add));
        assert!(status == Some(0) && !text.contains("its file"), "{text}");
    }
    wait_until("both accounts", || {
        let (_, text) = said(&admin(&one_config, &folders, &["list"]));
        text.matches(" yes ").count() == 2
    });
    let mut client = Client::connect(one.address);
    client.attach_proved(ServerSide::One, &[0]);
    let remove = ["remove", "--group", &group, "--user", "0"];
    assert_eq!(said(&admin(&one_config, &folders, &remove)).0, Some(0));
    client.expect_refused(Code::NotRegistered, 0);
    let (status, text) = said(&admin(&one_config, &folders, &remove));
    assert!(status == Some(1) && text.contains("has no account"), "{text}");
    let exported = admin_export(&one_config, &folders);
    assert!(exported.len() == 1 && exported[0].contains(&key(1)), "{exported:?}");
    // What is wrong is said, with its place, and before anybody is asked.
    for wrong in ["abc", &format!("01{}", "0".repeat(62))] {
        let (add, rotate) = (["add", "--group", &group, "--user", "3", "--key", wrong], ["rotate"]);
        let rotate = [&rotate[..], &add[1..]].concat();
        for command in [&add[..], &rotate] {
            let (status, text) = said(&admin(&one_config, &folders, command));
            assert!(status == Some(2) && text.contains("the key of user 3 is"), "{text}");
        }
    }
    std::fs::write(&list, format!("0 {}\n1 zz\n", key(0))).expect("a file");
    let (status, text) = said(&admin(&one_config, &folders, &add_list));
    assert!(status == Some(2) && text.contains("line 2"), "{text}");
    let other = Config { registry: None, ..one_config.clone() };
    let (status, text) = said(&admin(&other, &folders, &["list"]));
    assert!(status == Some(2) && text.contains("[registry]"), "{text}");
    drop((client, one, two));
    // What was done over the socket is in the file.
    let exported = admin_export(&one_config, &folders);
    assert!(exported.len() == 1 && exported[0].contains(&key(1)), "{exported:?}");
    let rotate = ["rotate", "--group", &group, "--user", "1", "--key", &key(5)];
    let (status, text) = said(&admin(&one_config, &folders, &rotate));
    assert!(status == Some(0) && text.contains("epoch 1"), "{text}");
}
