//! Every key is known, every bound is named, and the example is whole.

use super::peers::{box_bytes_default, peer_timeout_default};
use super::*;
use twincast_protocol::ids::Epoch;

fn minimal() -> String {
    "side = 1\nlisten = \"127.0.0.1:0\"\n[[groups]]\nid = 0\nmembers = 10\n".into()
}

#[test]
fn the_example_is_valid_and_shows_every_default() {
    let example = Config::from_toml(EXAMPLE).unwrap();
    assert_eq!(example.front, Front::default());
    assert_eq!(example.fan_out, FanOut::default());
    assert_eq!(example.answer, AnswerConfig::default());
    assert_eq!(example.limits, Limits::default());
    assert_eq!(example.link.unwrap().peer_timeout_ms, peer_timeout_default());
    assert_eq!(example.parts_box.unwrap().bytes_max, box_bytes_default());
    assert!(!example.insecure_baseline && !example.insecure_plain);
    assert_eq!(example.channel, ChannelName::Noise);
    assert_eq!(example.groups, [GroupConfig::new(0, 1_000)]);
}

#[test]
fn the_example_shows_every_key() {
    fn keys(value: &toml::Value, into: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    into.push(key.clone());
                    keys(value, into);
                }
            }
            toml::Value::Array(list) => list.iter().for_each(|value| keys(value, into)),
            _ => {}
        }
    }
    let mut whole = Config::from_toml(EXAMPLE).unwrap();
    let link = whole.link.as_mut().unwrap();
    (link.listen, link.peer) = (Some(whole.listen), Some(whole.listen.ip()));
    link.peer_verifying_key = Some("00".into());
    link.peer_channel_key = Some("00".into());
    whole.channel_key = Some("key".into());
    whole.registry = Some(RegistryConfig { folder: "registry".into() });
    whole.signing_key = Some("key".into());
    whole.groups[0].verifying_keys = Some("keys".into());
    let mut all = Vec::new();
    keys(&toml::Value::try_from(&whole).unwrap(), &mut all);
    assert!(all.len() > 40, "{all:?}");
    for key in all.iter().filter(|key| *key != "fault") {
        let shown = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            line.starts_with(&format!("{key} = "))
                || line == format!("[{key}]")
                || line == format!("[[{key}]]")
        });
        assert!(shown, "{key}");
    }
}

#[test]
fn the_link_has_the_end_of_its_side_and_leads_elsewhere() {
    let with = |side: u8, link: &str| {
        let head =
            format!("side = {side}\nlisten = \"127.0.0.1:7701\"\nmetrics_listen = \"127.0.0.1:7791\"\n");
        Config::from_toml(&format!("{head}[link]\n{link}\n[[groups]]\nid = 0\nmembers = 10\n"))
    };
    let (connect, only_listen) = ("connect = \"127.0.0.1:7712\"", "listen = \"127.0.0.1:7712\"");
    let peer = "peer = \"127.0.0.1\"";
    let listen = &format!("{only_listen}\n{peer}");
    assert_eq!(with(1, connect).unwrap().shape(&GroupConfig::new(0, 10)).peer_timeout.as_millis(), 2_000);
    assert!(with(2, listen).unwrap().shape(&GroupConfig::new(0, 10)).linked);
    assert!(with(2, &format!("listen = \"127.0.0.1:0\"\n{peer}")).is_ok());
    for (side, link) in [(2, only_listen.to_owned()), (1, format!("{connect}\n{peer}"))] {
        let error = with(side, &link).unwrap_err();
        assert!(matches!(error, ConfigError::LinkPeer { .. }), "{link}: {error}");
        assert!(error.to_string().contains("link.peer"), "{error}");
    }
    for (side, link) in [
        (1, listen.to_owned()),
        (2, connect.to_owned()),
        (1, String::new()),
        (2, format!("{connect}\n{listen}")),
    ] {
        let error = with(side, &link).unwrap_err();
        assert!(matches!(error, ConfigError::LinkEnd { .. }), "{link}: {error}");
    }
    for (side, link) in
        [(1, "connect = \"127.0.0.1:7701\""), (2, &format!("listen = \"127.0.0.1:7791\"\n{peer}"))]
    {
        let error = with(side, link).unwrap_err();
        assert!(matches!(error, ConfigError::LinkSelf { .. }), "{link}: {error}");
        assert!(error.to_string().contains("own"), "{error}");
    }
    let error = with(2, &format!("{only_listen}\npeer = \"0.0.0.0\"")).unwrap_err().to_string();
    assert!(error.contains("link.peer"), "{error}");
    for (link, key) in [
        ("connect = \"127.0.0.1:0\"".to_owned(), "link.connect"),
        (format!("{connect}\npeer_timeout_ms = 0"), "link.peer_timeout_ms"),
        (format!("{connect}\ncolour = 0"), "colour"),
    ] {
        let error = with(1, &link).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

/// A group whose delivery is `answer`, at a linked S1; `change` is `from|to`.
fn answering(change: &str) -> Result<Config, ConfigError> {
    let text = "side = 1\nlisten = \"127.0.0.1:0\"\n[link]\nconnect = \"127.0.0.1:7712\"\n[registry]\nfolder = \"registry\"\n\
                [[groups]]\nid = 3\nmembers = 10\ndelivery = \"answer\"\n";
    let (from, to) = change.split_once('|').unwrap();
    assert!(text.contains(from), "{change}");
    Config::from_toml(&text.replacen(from, to, 1))
}

#[test]
fn a_group_that_answers_is_refused_by_name() {
    assert!(answering("|").is_ok());
    let error = answering("[link]\nconnect = \"127.0.0.1:7712\"\n|").unwrap_err();
    assert!(matches!(error, ConfigError::AnswerAlone { group: 3 }));
    let error = error.to_string();
    assert!(error.starts_with("groups[id = 3].delivery = answer needs the other server"), "{error}");
    assert!(error.contains("[link]"), "{error}");
    let line = "delivery = \"answer\"\n|delivery = \"answer\"\n";
    for (change, key) in [
        (format!("{line}profile = \"paper-xor\""), "groups[id = 3].profile"),
        (format!("{line}scheme = \"algorithm4\""), "groups[id = 3].scheme"),
        (format!("{line}frame_bytes = 288"), "groups[id = 3].frame_bytes"),
        (format!("{line}keys = true"), "groups[id = 3].keys"),
        ("members = 10|members = 262145".into(), "groups[id = 3].members"),
        ("members = 10|members = 262144".into(), "limits.group_memory_bytes_max"),
        (
            "\"answer\"|\"broadcast\"\nidentities = \"open\"\nverifying_keys = \"keys\"".into(),
            "groups[id = 3].verifying_keys",
        ),
        (format!("{line}identities = \"open\"\nregistration = \"open\""), "groups[id = 3].registration"),
        (format!("{line}verifying_keys = \"keys\"\nregistration = \"open\""), "groups[id = 3].registration"),
        // There is nowhere to keep what is registered.
        (
            "[registry]\nfolder = \"registry\"\n[[groups]]|[[groups]]\nregistration = \"open\"".into(),
            "groups[id = 3].registration",
        ),
        ("\"answer\"|\"broadcast\"\nfirst_epoch = 0".into(), "groups[id = 3].first_epoch"),
        (format!("{line}first_epoch = {}", u32::MAX - 4), "groups[id = 3].first_epoch"),
        ("[registry]|peer_verifying_key = \"00\"\n[registry]".into(), "link.peer_verifying_key"),
        ("[[groups]]|[answer]\nthreads = 0\n[[groups]]".into(), "answer.threads"),
        ("[[groups]]|[answer]\nthreads = 2\ncores = [1]\n[[groups]]".into(), "answer.cores"),
    ] {
        let error = answering(&change).unwrap_err();
        assert!(matches!(error, ConfigError::Bounds { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("{key} = ")), "{key}: {error}");
    }
}

/// What is signed by an epoch needs a place where it is kept how far epochs have come.
#[test]
fn a_group_that_signs_by_epochs_keeps_them_or_is_refused_by_name() {
    let unkept = "[registry]\nfolder = \"registry\"\n[[groups]]|[[groups]]";
    let error = answering(unkept).unwrap_err();
    assert!(matches!(error, ConfigError::EpochsUnkept { group: 3 }), "{error}");
    assert!(error.to_string().contains("configure [registry]"), "{error}");
    answering(&format!("{unkept}\nfirst_epoch = 0")).unwrap();
    let broadcast = answering(&format!("{unkept}\nidentities = \"open\"")).unwrap_err();
    assert!(matches!(broadcast, ConfigError::EpochsUnkept { .. }), "{broadcast}");
}

#[test]
fn what_a_group_that_answers_leaves_out_is_its_own() {
    let config = answering("|").unwrap();
    let shape = config.shape(&config.groups[0]);
    assert_eq!((shape.frame_bytes(), shape.row_bytes(), shape.answer_threads), (272, 352, 1));
    assert!(!shape.confirm && config.answer_threads() == 1);
    let hash = |change: &str| answering(change).unwrap().groups[0].hash();
    let file = "verifying_keys = \"here\"";
    for same in ["confirm = true", "confirm = false", "frame_bytes = 272", "first_epoch = 9", file] {
        assert_eq!(hash("|"), hash(&format!("id = 3|id = 3\n{same}")), "{same}");
    }
    assert_ne!(hash("|"), hash("id = 3|id = 3\nslots = 2"));
    let first_epoch = |change: &str| {
        let config = answering(change).unwrap();
        config
            .shape(&config.groups[0])
            .with_unix_at_zero(Duration::from_millis(1_700_000_000_900))
            .first_epoch()
    };
    assert_eq!(first_epoch("|"), Epoch(1_700_000_000), "as the clock says");
    assert_eq!(first_epoch("id = 3|id = 3\nfirst_epoch = 9"), Epoch(9));
    assert_eq!(Config::from_toml(&minimal()).unwrap().answer_threads(), 0);
}

/// The store of two epochs' queries is what a large group takes, and is said to the byte.
#[test]
fn the_memory_of_a_group_that_answers_counts_two_epochs_of_queries() {
    for (members, slots) in [(130_u64, 1), (1_000, 2), (10_000, 1), (50_000, 1)] {
        let queries = 2 * members.div_ceil(64) * members * slots * 8;
        let config = answering(&format!("members = 10|members = {members}\nslots = {slots}")).unwrap();
        let all = config.group_memory_bytes();
        assert_eq!(config.query_memory_bytes(), queries);
        assert!(all > queries, "{members} members");
        let answers = ROUNDS_BUFFERED as u64 * members * slots * 352;
        let records = 16 * members.next_multiple_of(64) * 352;
        assert!(all < queries + answers + records + 200 * members * slots, "{members} members: {all}");
    }
}

#[test]
fn a_paper_profile_is_refused_in_one_sentence_unless_asked_for() {
    for profile in ["paper-xor", "paper-add"] {
        let keys = format!("members = 10\nprofile = \"{profile}\"\nframe_bytes = 256");
        let text = minimal().replace("members = 10", &keys);
        let error = Config::from_toml(&text).unwrap_err().to_string();
        for part in [profile, "find recipients", "THREAT_MODEL.md", "--insecure-baseline"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(error.matches(". ").count(), 0, "one sentence: {error}");
        assert!(
            Config::from_toml_with(&text, Insecure { baseline: true, plain: false })
                .unwrap()
                .insecure_baseline
        );
        assert!(Config::from_toml(&format!("insecure_baseline = true\n{text}")).is_ok());
    }
}

#[test]
fn plain_channels_are_refused_where_others_could_listen_unless_asked_for() {
    let with = |listen: &str, link: &str, insecure: &str| {
        let text =
            minimal().replace("127.0.0.1:0", listen).replace("[[groups]]", &format!("{link}[[groups]]"));
        format!("channel = \"plain\"\n{insecure}{text}")
    };
    let s1 = "[link]\nconnect = \"10.0.0.2:7712\"\n";
    for (listen, link, key) in
        [("0.0.0.0:0", "", "listen"), ("[::]:0", "", "listen"), ("127.0.0.1:0", s1, "link.connect")]
    {
        let error = Config::from_toml(&with(listen, link, "")).unwrap_err();
        assert!(matches!(error, ConfigError::PlainReached { key: at, .. } if at == key), "{error}");
        assert!(error.to_string().contains("--insecure-plain"), "{error}");
        assert!(Config::from_toml(&with(listen, link, "insecure_plain = true\n")).is_ok());
        let asked = Insecure { plain: true, baseline: false };
        assert!(Config::from_toml_with(&with(listen, link, ""), asked).unwrap().insecure_plain);
        let private = with(listen, link, "").replace("plain", "noise");
        assert!(Config::from_toml(&private).is_ok());
    }
    for listen in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        let link = "[link]\nconnect = \"127.0.0.2:7712\"\n";
        assert!(Config::from_toml(&with(listen, link, "")).is_ok(), "{listen}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let mut config = Config::from_toml(&minimal()).unwrap();
    config.fan_out.cores = Cores::List(vec![1]);
    config.front.cores = Cores::Named(CoresNamed::None);
    config.fan_out.send_buffer_bytes = 4 << 20;
    config.link = Some(LinkConfig {
        listen: None,
        peer: None,
        connect: Some(SocketAddr::from(([10, 0, 0, 2], 7_712))),
        peer_verifying_key: None,
        peer_channel_key: None,
        peer_timeout_ms: 300,
    });
    config.parts_box = Some(BoxConfig { folder: "/tmp/box".into(), bytes_max: 4_096 });
    assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
}

#[test]
fn the_disk_has_to_hold_two_epochs_of_every_group_at_s2() {
    let with = |side: u8, text: &str| {
        let text = minimal().replace("side = 1", &format!("side = {side}")) + text;
        Config::from_toml(&text).unwrap().box_disk_bytes()
    };
    let parts_box = |bytes_max: u64| format!("[box]\nfolder = \"/tmp/box\"\nbytes_max = {bytes_max}\n");
    // Ten members with one slot; the epoch has no end.
    let all = 24 + 10 * (10 * 64 + 24);
    assert_eq!(with(2, &parts_box(1 << 30)), Some(all));
    assert_eq!(with(2, &parts_box(100)), Some(100));
    assert_eq!(with(2, ""), None);
    assert_eq!(with(1, &parts_box(100)), None, "S1 keeps seeds");
    let ends = "epoch_rounds = 9\n";
    assert_eq!(with(2, &format!("{ends}{}", parts_box(1 << 30))), Some(2 * all));
    let more = "[[groups]]\nid = 1\nmembers = 5\nslots = 3\nconfirm = false\n";
    assert_eq!(with(2, &format!("{ends}{more}{}", parts_box(100))), Some(200), "no parts, no box");
    let keys = format!("{ends}{more}keys = true\n{}", parts_box(1 << 30));
    assert_eq!(with(2, &keys), Some(2 * all + 24 + 5 * 2 * (5 * 96 + 24)));
}

#[test]
fn an_unknown_key_is_named() {
    for text in [
        format!("colour = 1\n{}", minimal()),
        format!("{}colour = 1\n", minimal()),
        format!("{}[limits]\ncolour = 1\n", minimal()),
        format!("{}[fan_out]\ncolour = 1\n", minimal()),
        format!("{}[box]\nfolder = \"/tmp\"\ncolour = 1\n", minimal()),
    ] {
        let error = Config::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains("colour"), "{error}");
    }
}

/// Keys of the other server that nobody can have are refused by name, with what is wrong and where the right ones are.
#[test]
fn a_key_of_the_other_server_that_nobody_has_is_refused_with_its_remedy() {
    let with = |keys: &str| {
        let link = format!("[link]\nconnect = \"127.0.0.1:9\"\n{keys}\n[[groups]]");
        Config::from_toml(&minimal().replace("[[groups]]", &link))
    };
    // u = 9, the base point; and the point of Ed25519 that goes with it.
    let channel = format!("09{}", "00".repeat(31));
    let verifying = format!("58{}", "66".repeat(31));
    let pinned = |key: &str, digits: &str| format!("{key} = \"{digits}\"");
    let good = [pinned("peer_channel_key", &channel), pinned("peer_verifying_key", &verifying)].join("\n");
    assert!(with(&good).is_ok());
    let of_order_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
    let small = "everybody agrees on the same secret";
    let twice = [pinned("peer_channel_key", &verifying), pinned("peer_verifying_key", &verifying)].join("\n");
    for (keys, key, what) in [
        (pinned("peer_channel_key", &"0".repeat(64)), "peer_channel_key", small),
        (pinned("peer_channel_key", &format!("01{}", "00".repeat(31))), "peer_channel_key", small),
        (pinned("peer_channel_key", of_order_8), "peer_channel_key", small),
        (
            pinned("peer_channel_key", &format!("09{}80", "00".repeat(30))),
            "peer_channel_key",
            "its highest bit",
        ),
        (pinned("peer_channel_key", &channel[1..]), "peer_channel_key", "64 hexadecimal digits"),
        // The identity, and a point of order 4.
        (
            pinned("peer_verifying_key", &format!("01{}", "00".repeat(31))),
            "peer_verifying_key",
            "anybody can sign",
        ),
        (pinned("peer_verifying_key", &"0".repeat(64)), "peer_verifying_key", "anybody can sign"),
        (twice, "peer_channel_key", "peer_verifying_key has the same digits"),
    ] {
        let error = with(&keys).expect_err(&keys);
        assert!(matches!(error, ConfigError::Bounds { .. }), "{error}");
        let error = error.to_string();
        assert!(error.starts_with(&format!("link.{key} = ")), "{error}");
        assert!(error.contains(what) && error.contains("at the other server"), "{what}: {error}");
    }
}

#[test]
fn a_value_out_of_bounds_is_named_with_its_bounds() {
    for (change, key) in [
        ("members = 10|members = 1", "members"),
        ("members = 10|members = 70000", "members"),
        ("members = 10|members = 10\nslots = 0", "slots"),
        ("members = 10|members = 10\nframe_bytes = 300", "frame_bytes"),
        ("members = 10|members = 10\nround_timeout_ms = 0", "round_timeout_ms"),
        ("members = 10|members = 65536\nslots = 256", "group_memory_bytes_max"),
        ("[[groups]]|[box]\nfolder = \"/tmp\"\nbytes_max = 40\n[[groups]]", "box.bytes_max"),
        ("side = 1|side = 3", "side"),
        ("[[groups]]|[fan_out]\nslabs = 1\n[[groups]]", "fan_out.slabs"),
        ("[[groups]]|[fan_out]\nslab_bytes = 70001\n[[groups]]", "fan_out.slab_bytes"),
        ("[[groups]]|[fan_out]\nthreads = 2\ncores = [1]\n[[groups]]", "fan_out.cores"),
        ("[[groups]]|[fan_out]\nsend_buffer_bytes = 4095\n[[groups]]", "fan_out.send_buffer_bytes"),
        ("[[groups]]|[fan_out]\nsend_buffer_bytes = 536870913\n[[groups]]", "fan_out.send_buffer_bytes"),
        ("[[groups]]|[limits]\nconnections_max = 0\n[[groups]]", "limits.connections_max"),
        (
            "[[groups]]|[limits]\nstrangers_per_address_max = 0\n[[groups]]",
            "limits.strangers_per_address_max",
        ),
        (
            "[[groups]]|[limits]\nstranger_connections_per_second_max = 0\n[[groups]]",
            "limits.stranger_connections_per_second_max",
        ),
        (
            "[[groups]]|[limits]\nstranger_bytes_per_second_max = 9\n[[groups]]",
            "limits.stranger_bytes_per_second_max",
        ),
        ("[[groups]]|[fan_out]\nslab_bytes = 8192\n[[groups]]", "fan_out.slab_bytes"),
        (
            "[[groups]]|[link]\nconnect = \"127.0.0.1:9\"\npeer_channel_key = \"00\"\n[[groups]]",
            "link.peer_channel_key",
        ),
        ("[[groups]]|[[groups]]\nid = 0\nmembers = 5\n[[groups]]", "id"),
    ] {
        let (from, to) = change.split_once('|').unwrap();
        let text = minimal().replace(from, to);
        let error = Config::from_toml(&text).unwrap_err();
        assert!(matches!(error, ConfigError::Bounds { .. }), "{error}");
        assert!(error.to_string().contains(key), "{error}");
    }
}
