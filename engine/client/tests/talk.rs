//! Two people talk through two real servers, by the program alone: keys, accounts, then messages over private channels.

use std::fs::{DirBuilder, read_to_string};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;
use twincast_server::Server;
use twincast_server::config::Config;
use twincast_server::keys::{Generated, Keys, generate};

fn start(side: u32, folder: &Path, own: &Generated, peer: &Generated, link: &str) -> Server {
    let registry = folder.join(format!("registry{side}"));
    DirBuilder::new().mode(0o700).create(&registry).unwrap();
    let [channel, verifying] = [peer.channel, peer.verifying].map(hex::encode);
    let text = format!(
        "side = {side}\n\
         listen = \"127.0.0.1:0\"\n\
         channel_key = \"{}\"\n\
         signing_key = \"{}\"\n\
         registry = {{ folder = \"{}\" }}\n\
         link = {{ {link}, peer_channel_key = \"{channel}\", peer_verifying_key = \"{verifying}\" }}\n\
         groups = [{{ id = 1, members = 2, round_mode = \"timed\", interval_ms = 100, registration = \"open\" }}]\n",
        own.channel_file.display(),
        own.signing_file.display(),
        registry.display()
    );
    let config = Config::from_toml(&text).unwrap();
    let keys = Keys::load(&config).unwrap();
    Server::start_with(config, keys).unwrap()
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twincast-client")).args(arguments).output().unwrap()
}

/// A run of `talk`, which does not outlive the test.
struct Talk(Child);

impl Talk {
    fn start(file: &str, to: &str) -> Talk {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twincast-client"));
        command.args(["talk", file, "--to", to]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Talk(command.spawn().unwrap())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_people_register_and_talk_through_two_servers() {
    let folder = TempDir::new().unwrap();
    let keys =
        [1, 2].map(|side| generate(&folder.path().join(format!("keys{side}")), &mut rand::rng()).unwrap());
    let [one, two] = &keys;
    let s2 = start(2, folder.path(), two, one, "listen = \"127.0.0.1:0\", peer = \"127.0.0.1\"");
    let link = format!("connect = \"{}\"", s2.link_address().unwrap());
    let s1 = start(1, folder.path(), one, two, &link);

    let addresses = [&s1, &s2].map(|server| server.address().to_string());
    let [channel1, channel2] = keys.each_ref().map(|keys| hex::encode(keys.channel));
    let [verifying1, verifying2] = keys.each_ref().map(|keys| hex::encode(keys.verifying));
    let files = ["0", "1"].map(|user| {
        let file = folder.path().join(format!("{user}.toml")).to_str().unwrap().to_owned();
        let [s1, s2] = &addresses;
        let made = program(&[
            "init",
            "--group",
            "1",
            "--user",
            user,
            "--out",
            &file,
            "--s1",
            s1,
            "--s2",
            s2,
            "--s1-key",
            &channel1,
            "--s2-key",
            &channel2,
            "--s1-verifying",
            &verifying1,
            "--s2-verifying",
            &verifying2,
        ]);
        assert!(made.status.success(), "{made:?}");
        let registered = program(&["register", &file]);
        assert!(registered.status.success(), "{registered:?}");
        assert_eq!(read_to_string(&file).unwrap().matches("\nsignature = ").count(), 2);
        file
    });
    let mut talks = [Talk::start(&files[0], "1"), Talk::start(&files[1], "0")];
    for (user, Talk(child)) in talks.iter_mut().enumerate() {
        writeln!(child.stdin.as_mut().unwrap(), "hello from {user}").unwrap();
    }
    for (user, Talk(child)) in talks.iter_mut().enumerate() {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let other = 1 - user;
        assert_eq!(line, format!("{other}: hello from {other}\n"));
    }
    for Talk(child) in &mut talks {
        drop(child.stdin.take());
    }
    for Talk(child) in &mut talks {
        assert!(child.wait().unwrap().success());
    }
    s1.stop().unwrap();
    s2.stop().unwrap();
}
