//! A team whose peers are threads at the other end of a socket pair: as an agent's connection is.

use super::*;
use crate::control::HostNews;
use std::os::unix::net::UnixStream;

const SOON: Duration = Duration::from_secs(20);

/// The far end of a peer.
struct Far(UnixStream);

impl Far {
    fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(&mut self.0).read_line(&mut line).unwrap();
        line
    }
}

fn join(team: &mut Team, role: Role, name: &str) -> (PeerId, Far) {
    let (near, far) = UnixStream::pair().unwrap();
    let orders = near.try_clone().unwrap();
    let peer = team.join(role, name.into(), Box::new(orders), Box::new(near), Hold::None).unwrap();
    (peer, Far(far))
}

fn played(_: usize, news: News) -> Take<u32> {
    match news {
        News::Host(HostNews::Progress { rounds }) if rounds > 1 => Take::Done(rounds),
        News::Host(HostNews::Progress { .. }) => Take::More,
        news => Take::Unexpected(news),
    }
}

#[test]
fn answers_come_back_in_the_order_of_those_asked() {
    let mut team = Team::deaf().unwrap();
    let (a, mut far_a) = join(&mut team, Role::Host, "host 0");
    let (b, mut far_b) = join(&mut team, Role::Host, "host 1");
    team.tell(a, &crate::control::HostOrder::RoofListen { address: std::net::Ipv4Addr::LOCALHOST.into() });
    assert_eq!(far_a.hear(), "{\"roof_listen\":{\"address\":\"127.0.0.1\"}}\n");
    far_b.say(r#"{"progress":{"rounds":7}}"#);
    far_a.say(r#"{"progress":{"rounds":1}}"#);
    far_a.say(r#"{"progress":{"rounds":5}}"#);
    assert_eq!(team.gather(&[a, b], "playing", SOON, played).unwrap(), [5, 7]);
}

#[test]
fn a_silent_peer_ends_the_wait_and_is_named_though_others_speak() {
    let mut team = Team::deaf().unwrap();
    let (a, _far_a) = join(&mut team, Role::Host, "host 0");
    let (b, mut far_b) = join(&mut team, Role::Host, "host 1");
    let speaker = std::thread::spawn(move || {
        for _ in 0..30 {
            far_b.say(r#"{"progress":{"rounds":0}}"#);
            std::thread::sleep(Duration::from_millis(10));
        }
        far_b
    });
    let error = team.gather(&[a, b], "playing", Duration::from_millis(150), played).unwrap_err();
    assert_eq!(error.to_string(), "host 0 said nothing for 0 s while playing");
    speaker.join().unwrap();
}

#[test]
fn a_peer_that_tells_only_seconds_is_silent() {
    let mut team = Team::deaf().unwrap();
    let (a, mut far_a) = join(&mut team, Role::Host, "host 0");
    let second = serde_json::to_string(&HostNews::Second(crate::control::HostSecond::default())).unwrap();
    let speaker = std::thread::spawn(move || {
        for _ in 0..30 {
            far_a.say(&second);
            std::thread::sleep(Duration::from_millis(10));
        }
        far_a
    });
    let error = team.gather(&[a], "playing", Duration::from_millis(150), played).unwrap_err();
    assert_eq!(error.to_string(), "host 0 said nothing for 0 s while playing");
    assert!(!team.series.hosts.is_empty(), "they are kept all the same");
    speaker.join().unwrap();
}

#[test]
fn a_peer_that_fails_is_named_with_its_sentence() {
    let mut team = Team::deaf().unwrap();
    let (a, _far_a) = join(&mut team, Role::Host, "host 0");
    let (_, mut far_b) = join(&mut team, Role::Host, "host 1");
    far_b.say(r#"{"failed":"the sky has fallen"}"#);
    let error = team.gather(&[a], "playing", SOON, played).unwrap_err();
    assert_eq!(error.to_string(), "host 1 cannot go on: the sky has fallen");
}

#[test]
fn who_died_without_a_word_is_blamed_before_those_who_complain_of_it() {
    let mut team = Team::deaf().unwrap();
    let (_server, far_server) = join(&mut team, Role::Server, "server 2");
    let (a, mut far_a) = join(&mut team, Role::Host, "host 0");
    far_a.say(r#"{"failed":"server 2 closed the connection"}"#);
    drop(far_server);
    let error = team.gather(&[a], "playing", SOON, played).unwrap_err();
    assert_eq!(error.to_string(), "server 2 closed its stream");
}

#[test]
fn what_is_no_news_or_unasked_ends_the_run() {
    let mut team = Team::deaf().unwrap();
    let (a, mut far_a) = join(&mut team, Role::Host, "host 0");
    far_a.say("hello there");
    let error = team.gather(&[a], "playing", SOON, played).unwrap_err();
    assert_eq!(error.to_string(), "host 0 said what is no news: hello there");

    let mut team = Team::deaf().unwrap();
    let (a, mut far_a) = join(&mut team, Role::Host, "host 0");
    far_a.say(r#""stopped""#);
    let error = team.gather(&[a], "playing", SOON, played).unwrap_err();
    assert!(error.to_string().starts_with("host 0 said what nobody had asked for while playing"), "{error}");
}

#[test]
fn all_are_told_to_stop_and_waited_for() {
    let mut team = Team::deaf().unwrap();
    let (_, mut far_a) = join(&mut team, Role::Host, "host 0");
    let (_, mut far_b) = join(&mut team, Role::Server, "server 1");
    let both = std::thread::spawn(move || [far_a.hear(), far_b.hear()]);
    assert_eq!(team.stop_all().unwrap(), Vec::<String>::new());
    assert_eq!(both.join().unwrap(), ["\"stop\"\n", "\"stop\"\n"]);
    assert_eq!(team.stop_all().unwrap(), Vec::<String>::new(), "nobody is left");
}

#[test]
fn a_peer_that_is_killed_as_part_of_the_run_is_not_waited_for() {
    let mut team = Team::deaf().unwrap();
    let (a, mut far_a) = join(&mut team, Role::Host, "host 0");
    let (b, mut far_b) = join(&mut team, Role::Host, "host 1");
    let kill = team.killer("host 1".into());
    kill();
    far_b.say(r#"{"failed":"what a dying peer says"}"#);
    drop(far_b);
    far_a.say(r#"{"progress":{"rounds":5}}"#);
    assert_eq!(team.gather(&[a, b], "playing", SOON, played).unwrap(), [5]);
}

/// Says a line again and again until it is dropped.
struct Beating(std::sync::mpsc::Sender<()>, Option<std::thread::JoinHandle<()>>);

impl Beating {
    fn start(mut far: Far, line: String) -> Beating {
        let (beating, ended) = channel();
        let thread = std::thread::spawn(move || {
            while ended.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                far.say(&line);
            }
        });
        Beating(beating, Some(thread))
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.0 = channel().0;
        let _ = self.1.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn who_stands_still_is_named_long_before_those_who_wait_for_it() {
    let second = serde_json::to_string(&crate::control::ServerNews::Second(Default::default())).unwrap();
    for (which, said) in
        [("server 2 at 10.0.0.2:7400", second), ("host 7 at 10.0.0.7:7400", "\"alive\"".into())]
    {
        let mut team = Team::deaf().unwrap();
        team.standstill_max = Duration::from_secs(1);
        let (a, far_a) = join(&mut team, Role::Host, "host 0");
        let role = if which.starts_with("server") { Role::Server } else { Role::Host };
        let (_, mut still) = join(&mut team, role, which);
        // It never told that it lives, so nobody counts its silence.
        let (_, _quiet) = join(&mut team, Role::RoofSender, "plain sender 1");
        still.say(&said);
        let _beating = Beating::start(far_a, "\"alive\"".into());
        let error = team.gather(&[a], "playing", SOON, played).unwrap_err();
        let began = format!("{which} has said nothing at all for 1 s while playing");
        assert!(error.to_string().starts_with(&began), "{error}");
    }
}

#[test]
fn at_the_silence_limit_who_stands_still_is_blamed_and_not_who_waits_for_it() {
    let mut team = Team::deaf().unwrap();
    team.standstill_max = Duration::from_millis(1500);
    let (a, far_a) = join(&mut team, Role::Host, "host 0");
    let (b, mut far_b) = join(&mut team, Role::Host, "host 1");
    far_b.say("\"alive\"");
    let _beating = Beating::start(far_a, "\"alive\"".into());
    let error = team.gather(&[a, b], "playing", Duration::from_secs(1), played).unwrap_err();
    assert!(error.to_string().starts_with("host 1 has said nothing at all"), "{error}");
}

#[test]
fn to_live_is_no_progress() {
    let mut team = Team::deaf().unwrap();
    let (a, far_a) = join(&mut team, Role::Host, "host 0");
    let _beating = Beating::start(far_a, "\"alive\"".into());
    let error = team.gather(&[a], "dialling", Duration::from_millis(150), played).unwrap_err();
    assert_eq!(error.to_string(), "host 0 said nothing for 0 s while dialling");
}

#[test]
fn what_a_peer_says_moves_no_cursor() {
    for line in [r#"{"failed":"\u001b[2Jgone\u202e\nmad"}"#, "\u{1b}[2J\u{7}\u{202e}what"] {
        let mut team = Team::deaf().unwrap();
        let (a, mut far_a) = join(&mut team, Role::Host, "host 0");
        far_a.say(line);
        let error = team.gather(&[a], "playing", SOON, played).unwrap_err().to_string();
        assert!(error.contains("[2J"), "{error:?}");
        assert!(!error.contains(|c: char| c.is_control() || c == '\u{202e}'), "{error:?}");
    }
}

/// A child that is a script.
fn child(team: &mut Team, script: &str) -> (PeerId, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script");
    std::fs::write(&path, script).unwrap();
    let program = std::path::Path::new("/bin/sh");
    let (child, stdin, stdout) =
        ChildProcess::start(program, path.to_str().unwrap(), None, "host 0").unwrap();
    let peer = team
        .join(Role::Host, "host 0".into(), Box::new(stdin), Box::new(stdout), Hold::Child(child))
        .unwrap();
    (peer, folder)
}

#[test]
fn who_says_why_needs_no_log_and_who_dies_without_a_word_shows_what_tells() {
    let log = "echo 'T  INFO begun' >&2\necho \"thread 'x' panicked at a.rs:1:\" >&2\necho 'of fear' >&2\n";
    for (end, said) in [
        ("echo '{\"failed\":\"no room\"}'\n", "host 0 cannot go on: no room"),
        (
            "exit 3\n",
            "host 0 ended with exit status 3; the last lines of its log:\n  | thread 'x' panicked at a.rs:1:\n  | of fear",
        ),
    ] {
        let mut team = Team::deaf().unwrap();
        let (peer, _folder) = child(&mut team, &format!("{log}{end}"));
        let error = team.gather(&[peer], "playing", SOON, played).unwrap_err();
        assert_eq!(error.to_string(), said);
    }
    let quiet: Vec<String> = (0..9).map(|line| format!("T  INFO line {line}")).collect();
    assert_eq!(telling(&quiet), quiet[4..]);
}
