//! Two people talk through two real servers, by the program alone: keys, accounts, then messages over private channels.

use std::fs::{DirBuilder, read_to_string, remove_file};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use tempfile::TempDir;
use twincast_server::Server;
use twincast_server::config::Config;
use twincast_server::keys::{Generated, Keys, generate};

/// A group whose rounds go by the clock.
const TIMED: &str = "round_mode = \"timed\", interval_ms = 100";

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twincast-client")).args(arguments).output().unwrap()
}

/// Two servers with a group of users 0 and 1, who are registered.
struct Group {
    folder: TempDir,
    servers: Option<[Server; 2]>,
    files: [String; 2],
}

impl Group {
    /// `group`: what is said of the group besides. Whether S2 keeps parts for who is away.
    fn new(group: &str, keeps_parts: bool) -> Group {
        let folder = TempDir::new().unwrap();
        let parts = format!("box = {{ folder = \"{}\", bytes_max = 1048576 }}", folder.path().display());
        let besides = if keeps_parts { &parts } else { "" };
        let keys = [1, 2]
            .map(|side| generate(&folder.path().join(format!("keys{side}")), &mut rand::rng()).unwrap());
        let [one, two] = &keys;
        let start = |side, own, peer, link: &str, besides| {
            Group::start(side, folder.path(), (own, peer), (link, besides, group))
        };
        let s2 = start(2, two, one, "listen = \"127.0.0.1:0\", peer = \"127.0.0.1\"", besides);
        let s1 = start(1, one, two, &format!("connect = \"{}\"", s2.link_address().unwrap()), "");
        let files = ["0", "1"].map(|user| Group::register(folder.path(), user, [&s1, &s2], &keys));
        Group { folder, servers: Some([s1, s2]), files }
    }

    fn start(
        side: u32,
        folder: &Path,
        (own, peer): (&Generated, &Generated),
        (link, besides, group): (&str, &str, &str),
    ) -> Server {
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
             {besides}\n\
             groups = [{{ id = 1, members = 2, registration = \"open\", {group} }}]\n",
            own.channel_file.display(),
            own.signing_file.display(),
            registry.display()
        );
        let config = Config::from_toml(&text).unwrap();
        let keys = Keys::load(&config).unwrap();
        Server::start_with(config, keys).unwrap()
    }

    fn register(folder: &Path, user: &str, servers: [&Server; 2], keys: &[Generated; 2]) -> String {
        let file = folder.join(format!("{user}.toml")).to_str().unwrap().to_owned();
        let [s1, s2] = servers.map(|server| server.address().to_string());
        let [channel1, channel2] = keys.each_ref().map(|keys| hex::encode(keys.channel));
        let [verifying1, verifying2] = keys.each_ref().map(|keys| hex::encode(keys.verifying));
        let all = [
            ["--group", "1"],
            ["--user", user],
            ["--out", &file],
            ["--s1", &s1],
            ["--s2", &s2],
            ["--s1-key", &channel1],
            ["--s2-key", &channel2],
            ["--s1-verifying", &verifying1],
            ["--s2-verifying", &verifying2],
        ];
        let made = program(&[&["init"], &all.concat()[..]].concat());
        assert!(made.status.success(), "{made:?}");
        let registered = program(&["register", &file]);
        assert!(registered.status.success(), "{registered:?}");
        assert_eq!(read_to_string(&file).unwrap().matches("\nsignature = ").count(), 2);
        file
    }

    /// A run of `talk` for a user, with the other one or somebody else.
    fn talk(&self, user: usize, to: &str) -> Talk {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twincast-client"));
        command.args(["talk", &self.files[user], "--to", to]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let (tell, told) = channel();
        thread::spawn(move || {
            said.lines().map_while(Result::ok).try_for_each(|line| {
                // Shown where the test fails.
                eprintln!("{user}: {line}");
                tell.send(line)
            })
        });
        let heard = child.stdout.take().map(BufReader::new);
        Talk { child, heard, told, log: String::new() }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for server in self.servers.take().into_iter().flatten() {
            let stopped = server.stop();
            if !thread::panicking() {
                stopped.unwrap();
            }
        }
        assert!(self.folder.path().exists());
    }
}

/// A run of `talk`, which does not outlive the test.
struct Talk {
    child: Child,
    heard: Option<BufReader<ChildStdout>>,
    told: Receiver<String>,
    /// Everything that it said on standard error so far.
    log: String,
}

impl Talk {
    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line that it prints.
    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.heard.as_mut().unwrap().read_line(&mut line).unwrap();
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    /// Waits until it has said something like this on standard error.
    fn tells(&mut self, text: &str) {
        while !self.log.contains(text) {
            let line = self.told.recv().unwrap_or_else(|_| panic!("no `{text}` in:\n{}", self.log));
            self.log.push_str(&line);
            self.log.push('\n');
        }
    }

    /// Everything that it said on standard error until now.
    fn told(&mut self) -> &str {
        self.log.extend(self.told.try_iter().map(|line| line + "\n"));
        &self.log
    }

    /// Ends it as a person does, and returns its exit status and all that it said.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        self.log.extend(self.told.iter().map(|line| line + "\n"));
        (status.code(), std::mem::take(&mut self.log))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_people_register_and_talk_through_two_servers() {
    let group = Group::new(TIMED, false);
    let mut talks = [group.talk(0, "1"), group.talk(1, "0")];
    for (user, talk) in talks.iter_mut().enumerate() {
        talk.say(&format!("hello from {user}"));
    }
    for (user, talk) in talks.iter_mut().enumerate() {
        let other = 1 - user;
        assert_eq!(talk.hears(), format!("{other}: hello from {other}"));
    }
    let [zero, one] = talks;
    assert_eq!(zero.end().0, Some(0));
    assert_eq!(one.end().0, Some(0));
}

#[test]
fn every_line_arrives_whole_however_many_slots_there_are_and_however_long_it_is() {
    let group = Group::new(&format!("slots = 2, {TIMED}"), false);
    let [mut zero, mut one] = [group.talk(0, "1"), group.talk(1, "0")];
    for line in 1..=6 {
        zero.say(&format!("line {line}"));
    }
    // Of characters that no multiple of which fills a message.
    let long = "语".repeat(185);
    zero.say(&long);
    zero.say("the end");
    for line in 1..=6 {
        assert_eq!(one.hears(), format!("0: line {line}"));
    }
    let mut pieces = String::new();
    while pieces.len() < long.len() {
        pieces.push_str(one.hears().strip_prefix("0: ").unwrap());
    }
    assert_eq!(pieces, long);
    assert_eq!(one.hears(), "0: the end");
    zero.tells("longer lines go out in pieces");
    assert_eq!(zero.end().0, Some(0));
}

#[test]
fn who_was_away_when_confirmations_came_is_told_so_and_not_that_somebody_lies() {
    let group = Group::new(TIMED, false);
    let [mut zero, mut one] = [group.talk(0, "1"), group.talk(1, "0")];
    zero.say("hello");
    assert_eq!(one.hears(), "0: hello");
    // A run that is killed may have submitted to one server alone.
    assert_eq!(one.end().0, Some(0));
    let mut one = group.talk(1, "0");
    one.tells("you were away when the confirmations of 2 members came, and they were not kept");
    // Rounds go by, and it can still write.
    for line in ["again", "and again", "and once more"] {
        one.say(line);
        assert_eq!(zero.hears(), format!("1: {line}"));
    }
    let (status, log) = one.end();
    assert_eq!(status, Some(0));
    assert!(!log.contains("somebody altered"), "{log}");
    assert_eq!(log.matches("you were away").count(), 1, "{log}");
    assert!(!zero.told().contains("somebody altered"), "{}", zero.log);
}

#[test]
fn an_accountable_group_in_lockstep_goes_on_where_all_its_users_come_back() {
    let accountable = "accountable = true, header_rounds = 2";
    let group = Group::new(accountable, true);
    let mut talks = [group.talk(0, "1"), group.talk(1, "0")];
    for run in 0..3 {
        // What is said while the other one is away, nobody hears.
        talks.iter_mut().for_each(|talk| talk.tells("is open from round"));
        for (user, talk) in talks.iter_mut().enumerate() {
            talk.say(&format!("run {run} of {user}"));
        }
        for (user, talk) in talks.iter_mut().enumerate() {
            let other = 1 - user;
            assert_eq!(talk.hears(), format!("{other}: run {run} of {other}"));
            assert!(!talk.told().contains("somebody altered"), "{}", talk.log);
            assert!(!talk.told().contains("silent"), "{}", talk.log);
        }
        // One is killed, one ends, and both are gone before one comes back.
        let [zero, one] = talks;
        let (killed, ends) = if run % 2 == 0 { (zero, one) } else { (one, zero) };
        drop(killed);
        assert_eq!(ends.end().0, Some(0));
        talks = [group.talk(0, "1"), group.talk(1, "0")];
    }
    // What both have signed is lost: each waits until somebody else has taken rounds on, and says so.
    drop(talks);
    for file in &group.files {
        remove_file(format!("{file}.signed")).unwrap();
    }
    for mut talk in [group.talk(0, "1"), group.talk(1, "0")] {
        talk.tells("silent until round");
        talk.tells("since an earlier run may have signed for the rounds before");
    }
}

#[test]
fn a_user_is_at_one_place_at_a_time_and_writes_to_members_alone() {
    let group = Group::new(TIMED, false);
    let [mut zero, mut one] = [group.talk(0, "1"), group.talk(1, "0")];
    zero.tells("is open from round");
    let (status, log) = group.talk(0, "1").end();
    assert_eq!(status, Some(1));
    assert!(log.contains("another `twincast-client talk` runs with"), "{log}");

    zero.say("hello");
    assert_eq!(one.hears(), "0: hello");
    // A run that is killed may have submitted to one server alone.
    assert_eq!(one.end().0, Some(0));
    // Its dials of this epoch reach user 0.
    let mut one = group.talk(1, "1");
    one.say("for nobody else");
    one.tells("an earlier run dialled for epoch 0, and perhaps somebody else than user 1: what you write is not sent");
    let (status, log) = one.end();
    assert_eq!(status, Some(1));
    assert!(log.contains("not everything was sent"), "{log}");

    let mut one = group.talk(1, "9");
    one.say("hello, nobody");
    one.tells("user 9 is not in epoch 0: what you write is not sent");
    assert_eq!(one.end().0, Some(1));
    assert!(group.talk(1, "9").end().1.contains("user 9 is not in epoch 0"));

    // Nothing of all that got to user 0.
    let mut one = group.talk(1, "0");
    one.say("hello again");
    assert_eq!(zero.hears(), "1: hello again");
}

#[test]
fn a_conversation_that_nobody_reads_any_more_ends_without_an_error() {
    let group = Group::new(TIMED, false);
    let [mut zero, mut one] = [group.talk(0, "1"), group.talk(1, "0")];
    drop(one.heard.take());
    zero.say("hello");
    let status = one.child.wait().unwrap();
    one.log.extend(one.told.iter().map(|line| line + "\n"));
    assert_eq!(status.code(), Some(0), "{}", one.log);
    assert!(!one.log.contains("panicked"), "{}", one.log);
}
