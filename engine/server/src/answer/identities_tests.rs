use super::*;
use crate::config::LinkConfig;
use std::fs::{Permissions, set_permissions, write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

/// A whole configuration in a folder of its own, with keys for the users 0 to 3.
struct Scene {
    folder: tempfile::TempDir,
    config: Config,
}

fn key_of(number: u8) -> VerifyingKey {
    SigningKey::from_seed(&[number; KEY_BYTES]).verifying_key()
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let text = "side = 1\nlisten = \"127.0.0.1:0\"\n[[groups]]\nid = 5\nmembers = 4\ndelivery = \"answer\"\nfirst_epoch = 0\n";
        let mut config: Config = toml::from_str(text).unwrap();
        config.link = Some(LinkConfig {
            listen: None,
            peer: None,
            connect: Some(SocketAddr::from(([127, 0, 0, 1], 7_712))),
            peer_verifying_key: Some(hex::encode(key_of(101).to_bytes())),
            peer_channel_key: None,
            peer_timeout_ms: 1,
        });
        config.signing_key = Some(folder.path().join("key"));
        config.groups[0].verifying_keys = Some(folder.path().join("members"));
        let scene = Scene { folder, config };
        scene.write("key", &format!("{}\n", hex::encode([100; KEY_BYTES])), 0o600);
        let lines: Vec<String> = (0..4).map(|user| Scene::line(user, user as u8)).collect();
        scene.write("members", &format!("# USER KEY\n\n{}", lines.concat()), 0o644);
        scene
    }

    fn line(user: u32, number: u8) -> String {
        format!("{user} {}\n", hex::encode(key_of(number).to_bytes()))
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.folder.path().join(name);
        write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn refused(&self) -> String {
        Identities::load(&self.config).unwrap_err().to_string()
    }
}

#[test]
fn keys_are_read_from_the_files_that_are_named() {
    let scene = Scene::new();
    scene.config.check().unwrap();
    let identities = Identities::load(&scene.config).unwrap().unwrap();
    assert_eq!(format!("{identities:?}"), "Identities { groups: 1, .. }");
    let setup = identities.setup(&scene.config.groups[0], ServerSide::One, &Arc::default());
    assert_eq!((setup.group, setup.side), (GroupId(5), ServerSide::One));
    assert_eq!((setup.signing.verifying_key(), setup.peer), (key_of(100), key_of(101)));
    for user in 0..5 {
        assert_eq!(setup.members.key(UserId(user)), (user < 4).then(|| key_of(user as u8)));
    }
    let mut config = scene.config.clone();
    config.groups[0].delivery = Delivery::Broadcast;
    config.groups[0].identities = IdentitiesName::Open;
    config.signing_key = None;
    assert!(Identities::load(&config).unwrap().is_none(), "nobody needs them");
    config.groups[0].identities = IdentitiesName::Registered;
    let error = Identities::load(&config).unwrap_err().to_string();
    assert!(error.starts_with("groups[id = 5].identities = registered needs signing_key"), "{error}");
}

#[test]
fn what_is_not_named_is() {
    type Change = fn(&mut Config);
    let changes: [(Change, &str); 3] = [
        (|config| config.signing_key = None, "signing_key"),
        (|config| config.link.as_mut().unwrap().peer_verifying_key = None, "link.peer_verifying_key"),
        (|config| config.groups[0].verifying_keys = None, "verifying_keys"),
    ];
    for (change, key) in changes {
        let mut scene = Scene::new();
        change(&mut scene.config);
        let error = scene.refused();
        assert!(
            error.starts_with("groups[id = 5].delivery = answer needs ") && error.contains(key),
            "{error}"
        );
    }
}

#[test]
fn a_signing_key_that_others_may_read_is_not_taken() {
    for mode in [0o640, 0o604, 0o660, 0o601, 0o755] {
        let scene = Scene::new();
        scene.write("key", &hex::encode([100; KEY_BYTES]), mode);
        let error = scene.refused();
        assert!(error.contains(&format!("mode {mode:04o}")) && error.contains("chmod 600"), "{error}");
    }
    let scene = Scene::new();
    scene.write("key", &hex::encode([100; KEY_BYTES]), 0o400);
    assert!(Identities::load(&scene.config).is_ok(), "tighter is good");
}

#[test]
fn a_signing_key_is_64_digits_and_is_not_repeated_in_the_error() {
    let digits = hex::encode([0xab; KEY_BYTES]);
    for text in [
        String::new(),
        digits[1..].to_owned(),
        format!("{digits}ab"),
        format!("{digits} ab"),
        digits.replace('a', "x"),
        digits.repeat(9),
    ] {
        let scene = Scene::new();
        scene.write("key", &text, 0o600);
        let error = scene.refused();
        assert!(error.starts_with("signing_key: ") && error.contains("64 hexadecimal digits"), "{error}");
        assert!(!error.contains("abab") && !error.contains("xbxb"), "{error}");
    }
    let scene = Scene::new();
    std::fs::remove_file(scene.folder.path().join("key")).unwrap();
    let error = scene.refused();
    assert!(error.starts_with("signing_key: cannot read ") && error.contains("key ("), "{error}");
}

#[test]
fn a_wrong_line_is_named_with_its_number() {
    let good = Scene::line(0, 0);
    for (line, what) in [
        ("1 00\n".to_owned(), "64 hexadecimal digits"),
        (Scene::line(1, 1).replace(' ', "  x "), "a line is"),
        (format!("one {}\n", hex::encode(key_of(1).to_bytes())), "user's number"),
        (format!("1 {}\n", "02".repeat(32)), "no verifying key"),
        (format!("1 01{}\n", "00".repeat(31)), "for which anybody can sign"),
        (Scene::line(0, 1), "user 0 has a key already"),
        (Scene::line(1, 0), "user 1 has the key of user 0 (line 2): each user has a key of its own"),
        ("7\n".to_owned(), "a line is"),
    ] {
        let scene = Scene::new();
        scene.write("members", &format!("# first\n{good}\n{line}"), 0o644);
        let error = scene.refused();
        assert!(
            error.starts_with("groups[id = 5].verifying_keys: ") && error.contains("members, line 4: "),
            "{error}"
        );
        assert!(error.contains(what), "{what}: {error}");
    }
}

#[test]
fn a_member_without_a_key_and_a_peer_that_is_oneself_are_named() {
    let scene = Scene::new();
    let lines: Vec<String> = [0, 1, 3, 9].map(|user| Scene::line(user, user as u8)).to_vec();
    scene.write("members", &lines.concat(), 0o644);
    let error = scene.refused();
    assert!(error.starts_with("groups[id = 5].verifying_keys: "), "{error}");
    assert!(error.contains("members, line 4: the list ends, and has no key of user 2"), "{error}");
    assert!(error.contains("the users 0 to 3 are members"), "{error}");
    scene.write("members", "", 0o644);
    assert!(scene.refused().contains("members, line 0: the list ends, and has no key of user 0"));
    let mut scene = Scene::new();
    scene.config.link.as_mut().unwrap().peer_verifying_key = Some(hex::encode(key_of(100).to_bytes()));
    assert!(scene.refused().starts_with("link.peer_verifying_key is this server's own"));
}

#[test]
fn both_servers_have_the_same_hash_and_every_key_shows_in_it() {
    let members: HashMap<_, _> = (0..4).map(|user| (UserId(user), key_of(user as u8))).collect();
    let hash = |side: ServerSide, change: fn(&mut Setup)| {
        let numbers = [100, 101];
        let mut setup = Setup {
            group: GroupId(5),
            side,
            signing: SigningKey::from_seed(&[numbers[side.index()]; KEY_BYTES]),
            peer: key_of(numbers[1 - side.index()]),
            members: Members::List(members.clone()),
        };
        change(&mut setup);
        setup.settings_hash(&[7; 32])
    };
    let one = hash(ServerSide::One, |_| {});
    assert_eq!(one, hash(ServerSide::Two, |_| {}));
    let changes: [fn(&mut Setup); 4] = [
        |setup| setup.peer = key_of(50),
        |setup| {
            list(setup).insert(UserId(1), key_of(50));
        },
        |setup| {
            list(setup).remove(&UserId(3));
        },
        |setup| {
            list(setup).insert(UserId(4), key_of(4));
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert_ne!(hash(ServerSide::One, change), one, "change {index}");
    }
}

fn list(setup: &mut Setup) -> &mut HashMap<UserId, VerifyingKey> {
    match &mut setup.members {
        Members::List(list) => list,
        Members::Registry(..) => panic!("it has a list"),
    }
}

/// Who gives keys by hand is told the same, by the group's number.
#[test]
fn keys_that_are_given_are_checked_too() {
    let scene = Scene::new();
    let peer = key_of(101);
    let members = [0, 1, 2].map(|user| (UserId(user), key_of(user as u8))).into();
    let given = Identities::new(&[100; KEY_BYTES], peer, [(GroupId(5), members)].into());
    let error = given.check(&scene.config).unwrap_err().to_string();
    assert!(error.starts_with("group 5 has no verifying key of user 3: "), "{error}");
}

/// Two operators need each other's key before anything else is there.
#[test]
fn the_own_key_is_known_before_everything_else_is() {
    let mut scene = Scene::new();
    scene.config.link.as_mut().unwrap().peer_verifying_key = None;
    scene.config.groups[0].verifying_keys = None;
    assert_eq!(Identities::own_key(&scene.config).unwrap(), Some(key_of(100)));
    assert_eq!(Identities::verifying_key_of(&scene.folder.path().join("key")).unwrap(), key_of(100));
    scene.config.signing_key = None;
    assert_eq!(Identities::own_key(&scene.config).unwrap(), None);
    scene.write("key", &hex::encode([100; KEY_BYTES]), 0o644);
    assert!(Identities::verifying_key_of(&scene.folder.path().join("key")).is_err());
    let scene = Scene::new();
    let identities = Identities::load(&scene.config).unwrap().unwrap();
    assert_eq!((identities.own(), identities.peer()), (key_of(100), Some(key_of(101))));
}

#[test]
fn a_list_has_a_hash_that_every_line_shows_in() {
    let hash = |lines: &[(u32, u8)]| {
        let scene = Scene::new();
        let lines: Vec<String> = lines.iter().map(|(user, number)| Scene::line(*user, *number)).collect();
        scene.write("members", &lines.concat(), 0o644);
        let identities = Identities::load(&scene.config).unwrap().unwrap();
        assert_eq!(identities.list_of(GroupId(6)), None);
        let (users, hash) = identities.list_of(GroupId(5)).unwrap();
        assert_eq!(users, lines.len());
        hash
    };
    let one = hash(&[(0, 0), (1, 1), (2, 2), (3, 3)]);
    assert_eq!(one, hash(&[(3, 3), (0, 0), (1, 1), (2, 2)]), "the order of lines means nothing");
    for other in [vec![(0, 0), (1, 2), (2, 1), (3, 3)], vec![(0, 0), (1, 1), (2, 2), (3, 3), (9, 9)]] {
        assert_ne!(one, hash(&other));
    }
}

#[test]
fn a_list_that_is_shorter_than_the_group_may_become_is_warned_of() {
    let mut scene = Scene::new();
    let warnings = |scene: &Scene| Identities::load(&scene.config).unwrap().unwrap().warnings(&scene.config);
    assert!(warnings(&scene).is_empty());
    scene.config.groups[0].members_max = 6;
    let said = warnings(&scene);
    assert_eq!(said.len(), 1);
    for part in ["groups[id = 5].members_max = 6", "list 4 users", "cannot join"] {
        assert!(said[0].contains(part), "{said:?}");
    }
    let lines: Vec<String> = [0, 1, 2, 3, 70, 80].map(|user| Scene::line(user, user as u8)).to_vec();
    scene.write("members", &lines.concat(), 0o644);
    assert!(warnings(&scene).is_empty());
}
