//! What the binary says of groups whose delivery is `answer` that cannot be: by name, with file and line, and the remedy.

mod common;

use common::readers::{answering, server_key, server_seed, user_key};
use common::{Process, Readers, config, pair, run_to_end};
use rustix::process::Signal;
use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;
use twincast_protocol::ids::ServerSide;
use twincast_server::config::{Config, EXAMPLE, LinkConfig};

/// The files of one server, and its configuration.
struct Scene {
    folder: TempDir,
    config: Config,
}

impl Scene {
    fn new(side: ServerSide, link: LinkConfig, members: u32) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(vec![answering(4, members, 1)]);
        config.side = side.index() as u8 + 1;
        let peer = Some(hex::encode(server_key(side.other()).to_bytes()));
        config.link = Some(LinkConfig { peer_verifying_key: peer, ..link });
        config.signing_key = Some(folder.path().join("key"));
        config.groups[0].verifying_keys = Some(folder.path().join("members"));
        let scene = Scene { folder, config };
        scene.write("key", &hex::encode(server_seed(side)), 0o600);
        scene.write("members", &(0..members).map(line).collect::<String>(), 0o644);
        scene
    }

    fn s1() -> Scene {
        Scene::new(ServerSide::One, pair::s1_end("127.0.0.1:9".parse().unwrap()), 10)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.folder.path().join(name);
        write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    /// Neither checks nor starts: exit status 2, and all this is said.
    fn refused(&self, says: &[&str]) {
        for option in ["--check", "--config"] {
            let (status, _, stderr) = run_to_end("", option, &self.config.to_toml());
            assert_eq!(status, Some(2), "{option}: {stderr}");
            for part in says {
                assert!(stderr.contains(part), "{option}: {part} is not in: {stderr}");
            }
        }
    }
}

fn line(user: u32) -> String {
    format!("{user} {}\n", hex::encode(user_key(user).verifying_key().to_bytes()))
}

#[test]
fn what_a_group_that_answers_needs_is_asked_for_by_name() {
    let mut scene = Scene::s1();
    scene.config.link = None;
    scene.refused(&["groups[id = 4].delivery = answer needs the other server", "[link]"]);
    type Change = fn(&mut Config);
    let changes: [(Change, &[&str]); 6] = [
        (|config| config.signing_key = None, &["groups[id = 4].delivery = answer needs signing_key"]),
        (|config| config.groups[0].verifying_keys = None, &["groups[id = 4]", "verifying_keys"]),
        (
            |config| config.link.as_mut().unwrap().peer_verifying_key = None,
            &["groups[id = 4].delivery = answer needs link.peer_verifying_key"],
        ),
        (
            |config| config.link.as_mut().unwrap().peer_verifying_key = Some("zz".repeat(32)),
            &["link.peer_verifying_key", "64 hexadecimal digits"],
        ),
        (|config| config.groups[0].keys = true, &["groups[id = 4].keys = true"]),
        (|config| config.groups[0].frame_bytes = 288, &["groups[id = 4].frame_bytes = 288", "272"]),
    ];
    for (change, says) in changes {
        let mut scene = Scene::s1();
        change(&mut scene.config);
        scene.refused(says);
    }
}

#[test]
fn a_group_beyond_the_memory_is_refused_with_what_it_needs() {
    let mut scene = Scene::s1();
    scene.config.groups[0].members = 262_144;
    scene.refused(&["limits.group_memory_bytes_max", "which is what the groups need"]);
    // What it would take to have it is said, to the byte.
    let needed = scene.config.group_memory_bytes();
    assert!(needed > 2 * 262_144 * 262_144 / 8);
    scene.refused(&[&needed.to_string()]);
    scene.config.groups[0].members = 262_145;
    scene.refused(&["groups[id = 4].members = 262145"]);
}

#[test]
fn key_files_are_refused_with_file_and_line() {
    let scene = Scene::s1();
    scene.write("key", &hex::encode(server_seed(ServerSide::One)), 0o644);
    scene.refused(&["signing_key", "mode 0644", "chmod 600"]);
    scene.write("key", "12", 0o600);
    scene.refused(&["signing_key", "64 hexadecimal digits"]);

    let scene = Scene::s1();
    scene.write("members", &(0..10).filter(|user| *user != 6).map(line).collect::<String>(), 0o644);
    scene.refused(&["members, line 9: ", "no key of user 6", "the users 0 to 9"]);
    let text = (0..10).map(|user| if user == 7 { line(3).replacen('3', "7", 1) } else { line(user) });
    scene.write("members", &text.collect::<String>(), 0o644);
    scene.refused(&["members, line 8: user 7 has the key of user 3 (line 4)"]);
    let text = (0..10).map(|user| if user == 2 { format!("2 {}\n", "00".repeat(32)) } else { line(user) });
    scene.write("members", &text.collect::<String>(), 0o644);
    scene.refused(&["members, line 3: ", "for which anybody can sign"]);
    let text = (0..10).map(|user| if user == 4 { "4 12zz\n".to_owned() } else { line(user) });
    scene.write("members", &text.collect::<String>(), 0o644);
    scene.refused(&["members, line 5: ", "64 hexadecimal digits"]);
}

#[test]
fn a_good_configuration_says_what_its_queries_take() {
    let mut scene = Scene::s1();
    scene.config.groups[0].members = 4_000;
    scene.write("members", &(0..4_000).map(line).collect::<String>(), 0o644);
    let (status, stdout, stderr) = run_to_end("", "--check", &scene.config.to_toml());
    assert_eq!(status, Some(0), "{stderr}");
    let queries = 2.0 * (63 * 4_000 * 8) as f64 / f64::from(1 << 20);
    assert!(stdout.contains(&format!("({queries:.1} MiB of it for queries)")), "{stdout}");
}

/// Each operator sees the own key first, whatever else is missing; then both see the same of each group.
#[test]
fn what_two_operators_compare_is_printed() {
    let check = |scene: &Scene| run_to_end("", "--check", &scene.config.to_toml());
    let give = |side: ServerSide| {
        let digits = hex::encode(server_key(side).to_bytes());
        format!("give this to the other server's operator: link.peer_verifying_key = \"{digits}\"\n")
    };
    let mut one = Scene::s1();
    one.config.link.as_mut().unwrap().peer_verifying_key = None;
    one.config.groups[0].verifying_keys = None;
    let (status, stdout, stderr) = check(&one);
    assert_eq!((status, stdout), (Some(2), give(ServerSide::One)), "{stderr}");

    let (mut one, two) = (Scene::s1(), Scene::new(ServerSide::Two, pair::s2_end(), 10));
    let groups = |stdout: &str| {
        stdout.lines().filter(|line| line.starts_with("  group")).map(str::to_owned).collect::<Vec<_>>()
    };
    let printed = [(&one, ServerSide::One), (&two, ServerSide::Two)].map(|(scene, side)| {
        let (status, stdout, stderr) = check(scene);
        assert_eq!(status, Some(0), "{stderr}");
        assert!(stderr.lines().all(|line| line.contains("channel = \"plain\"")), "{stderr}");
        assert!(stdout.starts_with(&give(side)), "{stdout}");
        assert!(stdout.contains(&hex::encode(server_key(side.other()).to_bytes())), "{stdout}");
        groups(&stdout)
    });
    assert_eq!(printed[0], printed[1]);
    assert!(printed[0].len() == 1 && printed[0][0].contains("(10 users)"), "{printed:?}");
    one.config.groups[0].members_max = 12;
    let (status, stdout, stderr) = check(&one);
    assert_eq!(status, Some(0));
    assert_ne!(groups(&stdout), printed[0]);
    assert!(stderr.contains("warning: groups[id = 4].members_max = 12"), "{stderr}");
}

/// What a member, or an operator before there is a configuration, sees of a key.
#[test]
fn a_key_file_has_its_verifying_key_printed() {
    let scene = Scene::s1();
    let key = scene.folder.path().join("key");
    let print =
        || Command::new(env!("CARGO_BIN_EXE_twincast-server")).arg("--verifying-key").arg(&key).output();
    let output = print().unwrap();
    let expected = format!("{}\n", hex::encode(server_key(ServerSide::One).to_bytes()));
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(0), expected));
    set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let output = print().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("chmod 600"));
}

/// The key that the example shows is none, so that nobody runs with it.
#[test]
fn the_examples_key_is_no_key() {
    let shown = EXAMPLE.lines().find_map(|line| line.strip_prefix("# peer_verifying_key = \""));
    let mut scene = Scene::s1();
    scene.config.link.as_mut().unwrap().peer_verifying_key =
        Some(shown.expect("it is shown").trim_end_matches('"').to_owned());
    scene.refused(&["link.peer_verifying_key", "64 hexadecimal digits"]);
}

/// Both are linked, and say at once that a list, or the other one's key, is not the same at both.
#[test]
fn two_processes_that_differ_say_which_group_and_what_to_compare() {
    let changes: [fn(&mut Scene); 3] = [
        |two| {
            let lines =
                (0..10).map(|user| if user == 9 { line(99).replacen("99", "9", 1) } else { line(user) });
            two.write("members", &lines.collect::<String>(), 0o644);
        },
        |two| {
            let other = hex::encode(user_key(0).verifying_key().to_bytes());
            two.config.link.as_mut().unwrap().peer_verifying_key = Some(other);
        },
        |two| two.config.groups[0].slots = 2,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let _permit = common::Permit::wait_for(2);
        let mut two = Scene::new(ServerSide::Two, pair::s2_end(), 10);
        change(&mut two);
        let mut second = Process::start_permitted(&two.config);
        let mut one = Scene::new(ServerSide::One, pair::s1_end(second.link.unwrap()), 10);
        one.config.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
        let mut first = Process::start_permitted(&one.config);
        let metrics = first.metrics.unwrap();
        common::wait_until("the link", || common::metric(metrics, "twincast_link_up") == 1);
        assert_eq!(common::metric(metrics, "twincast_groups_differing"), 1, "change {index}");
        for process in [&mut first, &mut second] {
            process.signal(Signal::TERM);
            let (status, stderr) = process.end();
            assert_eq!(status.code(), Some(0), "change {index}: {stderr}");
            for part in ["WARN", "settings differ", "groups=\"4\"", "--check", "link.peer_verifying_key"] {
                assert!(stderr.contains(part), "change {index}: {part} is not in: {stderr}");
            }
            assert!(!stderr.contains("same settings"), "change {index}: {stderr}");
        }
    }
}

/// The real binaries, with keys from files.
#[test]
fn two_processes_with_keys_in_files_answer() {
    let _permit = common::Permit::wait_for(2);
    let two = Scene::new(ServerSide::Two, pair::s2_end(), 130);
    let mut second = Process::start_permitted(&two.config);
    let one = Scene::new(ServerSide::One, pair::s1_end(second.link.unwrap()), 130);
    let mut first = Process::start_permitted(&one.config);
    let sets = [(0..50).collect(), (50..130).collect()];
    let mut readers = Readers::open_at([first.address, second.address], &one.config.groups[0], &sets, 1);
    (1..4).for_each(|round| readers.play(round));
    drop(readers);
    for process in [&mut first, &mut second] {
        process.signal(Signal::TERM);
        let (status, stderr) = process.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("query_mib"), "{stderr}");
        assert!(stderr.contains("give this to the other server's operator: "), "{stderr}");
        assert!(stderr.contains("is up; both have the same groups with the same settings"), "{stderr}");
    }
}
