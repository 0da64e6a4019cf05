//! The real binary: what it says when it cannot start, and how it stops, stands still and goes on.

mod common;

use common::client::{error_frame, hello_frame};
use common::{Client, End, Party, Process, config, group, http_get, metric, run_to_end, wait_until};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::Code;
use twincast_server::config::{BoxConfig, Config, EXAMPLE, GroupConfig, LinkConfig};
use twincast_server::{Server, StartError};

const S1: ServerSide = ServerSide::One;

/// A configuration that is good but for what a test does to it.
fn text(change: impl FnOnce(&mut Config)) -> String {
    let mut config = config(vec![group(1, 3)]);
    change(&mut config);
    config.to_toml()
}

/// It does not start: this exit status, and all of these on standard error.
fn refuses(limits: &str, option: &str, text: &str, status: i32, says: &[&str]) {
    let (code, stdout, stderr) = run_to_end(limits, option, text);
    assert_eq!(code, Some(status), "{stdout}{stderr}");
    for word in says {
        assert!(stderr.contains(word), "{word} is not in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(!stdout.contains("listening"), "{stdout}");
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_by_name() {
    for option in ["--config", "--check"] {
        for text in [
            format!("colour = 1\n{}", text(|_| {})),
            text(|_| {}).replace("[limits]", "[limits]\ncolour = 1"),
            text(|_| {}).replace("[front]", "[front]\ncolour = 1"),
            text(|_| {}).replace("[fan_out]", "[fan_out]\ncolour = 1"),
            text(|_| {}).replace("[[groups]]", "[[groups]]\ncolour = 1"),
        ] {
            assert!(text.contains("colour"));
            refuses("", option, &text, 2, &["colour", "server.toml"]);
        }
    }
}

#[test]
fn a_value_out_of_bounds_is_refused_by_name() {
    type Change = fn(&mut Config);
    let changes: [(Change, &str); 17] = [
        (|config| config.side = 3, "side"),
        (|config| config.front.executors = 0, "front.executors"),
        (|config| config.fan_out.threads = 257, "fan_out.threads"),
        (|config| config.fan_out.slab_bytes = 5_000, "fan_out.slab_bytes"),
        (|config| config.fan_out.slabs = 1, "fan_out.slabs"),
        (|config| config.limits.connections_max = 0, "limits.connections_max"),
        (|config| config.limits.connections_max = 1 << 17, "limits.connections_max"),
        (|config| config.limits.users_per_connection_max = 0, "limits.users_per_connection_max"),
        (|config| config.limits.hello_timeout_ms = 0, "limits.hello_timeout_ms"),
        (|config| config.limits.reader_timeout_ms = 0, "limits.reader_timeout_ms"),
        (|config| config.limits.group_memory_bytes_max = 1, "limits.group_memory_bytes_max"),
        (|config| config.groups[0].members = 1, "groups[id = 1].members"),
        (|config| config.groups[0].slots = 257, "groups[id = 1].slots"),
        (|config| config.groups[0].frame_bytes = 17, "groups[id = 1].frame_bytes"),
        (|config| config.groups[0].round_timeout_ms = 0, "groups[id = 1].round_timeout_ms"),
        (|config| config.groups[0].dial_timeout_ms = 86_400_001, "groups[id = 1].dial_timeout_ms"),
        (|config| config.groups.clear(), "groups"),
    ];
    for (change, key) in changes {
        refuses("", "--check", &text(change), 2, &[key]);
    }
    refuses("", "--config", &text(changes[0].0), 2, &[changes[0].1]);
}

#[test]
fn a_configuration_of_the_wrong_form_is_refused() {
    refuses("", "--config", "side = \"one\"", 2, &["side"]);
    refuses("", "--config", "listen = ", 2, &["listen"]);
    refuses("", "--config", &text(|_| {}).replace("side = 1\n", ""), 2, &["side"]);
    refuses("rm -f \"$2\";", "--config", &text(|_| {}), 2, &["cannot read"]);
    refuses("", "--no-such-option", "", 2, &["--no-such-option"]);
}

#[test]
fn what_is_checked_and_good_is_said_to_be() {
    let (code, stdout, stderr) = run_to_end("", "--check", &text(|_| {}));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("good") && stdout.contains("1 group"), "{stdout}");
    let with_box = text(|config| {
        config.side = 2;
        config.parts_box = Some(BoxConfig { folder: "/tmp".into(), bytes_max: 1 << 20 });
    });
    let (code, stdout, stderr) = run_to_end("", "--check", &with_box);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("on the disk of box.folder"), "{stdout}");
    let (code, stdout, _) = run_to_end("set -- --print-config;", "--check", "");
    assert_eq!((code, stdout.as_str()), (Some(0), EXAMPLE));
}

#[test]
fn too_little_memory_to_lock_is_an_error_with_its_remedy() {
    refuses("ulimit -l 64;", "--config", &text(|_| {}), 1, &["memory", "65536", "ulimit -l"]);
}

/// Enough for some executors and not for forty: what the others cannot have is an error, too, and no server that looks
/// as if it ran.
#[test]
fn memory_to_lock_that_runs_out_is_an_error_with_its_remedy() {
    // Root may lock what it likes, unless it may not.
    let limits = "ulimit -l 1024; test $(id -u) != 0 || exec setpriv --bounding-set=-ipc_lock \"$0\" \"$@\";";
    let text = text(|config| config.front.executors = 40);
    refuses(limits, "--config", &text, 1, &["ulimit -l"]);
}

#[test]
fn too_few_descriptors_are_an_error_with_their_remedy() {
    let needed = 4 * 512 + 64;
    let says = [&format!("{needed} descriptors"), "ulimit -n", "limits.connections_max"];
    refuses("ulimit -n 256;", "--config", &text(|_| {}), 1, &says);
    // A low soft limit is raised, if the hard one allows it.
    let shape = group(1, 2);
    let mut process = Process::start_within("ulimit -S -n 256;", &config(vec![shape.clone()]));
    let mut party = Party::open(process.address, &shape, [vec![0], vec![1]], 1);
    party.play(1);
    drop(party);
    process.signal(Signal::TERM);
    assert_eq!(process.end().0.code(), Some(0));
}

#[test]
fn an_address_that_is_taken_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let says = [&format!("cannot listen on {address}"), "choose another address"];
    refuses("", "--config", &text(|config| config.listen = address), 1, &says);
    refuses("", "--config", &text(|config| config.metrics_listen = Some(address)), 1, &says);
}

#[test]
fn a_link_that_cannot_be_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let linked = |side, link: LinkConfig| {
        text(|config| {
            config.side = side;
            config.link = Some(link.clone());
        })
    };
    let (listen, connect) = (Some(address), None);
    let s2_end = LinkConfig { listen, peer: Some(address.ip()), connect, ..common::pair::s2_end() };
    let says = [&format!("cannot listen on {address}"), "choose another address"];
    refuses("", "--config", &linked(2, s2_end.clone()), 1, &says);
    // The wrong end for its side, and a link to itself.
    refuses("", "--config", &linked(1, s2_end.clone()), 2, &["side = 1", "link.connect"]);
    let to_itself = text(|config| {
        config.listen = address;
        let connect = Some(address);
        config.link = Some(LinkConfig { listen: None, peer: None, connect, ..s2_end.clone() });
    });
    refuses("", "--config", &to_itself, 2, &["link.connect", "own listen", "other server's link"]);
}

#[test]
fn a_box_that_cannot_be_is_a_clear_error_at_s2_and_nothing_to_s1() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    let with = |side, folder: &std::path::Path| {
        let parts_box = Some(BoxConfig { folder: folder.into(), bytes_max: 1 << 20 });
        let mut config = config(vec![group(1, 2)]);
        (config.side, config.parts_box) = (side, parts_box);
        config
    };
    refuses("", "--config", &with(2, &missing).to_toml(), 1, &["missing", "mkdir -m 700", "box.folder"]);
    let first = Server::start(with(2, folder.path())).expect("the folder is there");
    refuses("", "--config", &with(2, folder.path()).to_toml(), 1, &["in use", "a folder of its own"]);
    first.stop().expect("it stops");
    // It is free again; and S1 does not look at it.
    for config in [with(2, folder.path()), with(1, &missing)] {
        let server = Server::start(config).expect("the folder is free, or not used");
        server.stop().expect("it stops");
    }
}

/// Nothing of a server that could not start is left: its pages' address is free again.
#[test]
fn a_server_that_could_not_start_leaves_nothing_running() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let pages = free.local_addr().expect("an address");
    drop(free);
    let mut config = config(vec![group(1, 2)]);
    config.listen = taken.local_addr().expect("an address");
    config.metrics_listen = Some(pages);
    let error = Server::start(config).expect_err("the address is taken");
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    // tiny_http closes its listener on a thread of its own.
    wait_until("the pages' address", || TcpListener::bind(pages).is_ok());
}

fn with_pages(groups: Vec<GroupConfig>) -> Config {
    let mut config = config(groups);
    config.metrics_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    config
}

#[test]
fn the_pages_answer_and_count_what_happened() {
    let shape = GroupConfig { confirm: true, ..group(1, 3) };
    let mut config = with_pages(vec![shape.clone()]);
    config.limits.hello_timeout_ms = 300;
    let mut process = Process::start(&config);
    let pages = process.metrics.expect("it was asked for");
    assert_eq!(http_get(pages, "/healthz"), ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    assert!(http_get(pages, "/other").0.contains("404"));

    let mut party = Party::attach(process.address, &shape, [vec![0, 1], vec![2]], 1);
    party.dial();
    party.confirm(&[]);
    party.play(1);
    let mut silent = Client::connect(process.address);
    silent.expect_closed(Code::HelloTimeout);
    let mut cut = Client::connect(process.address);
    cut.send(&hello_frame(S1, 1, &[0])[..9]);
    drop((silent, cut));
    party.seats[0].client.send(&[3, 0x77, 0, 0, 0, 0, 0, 0]);
    party.take(0).expect_closed(Code::KindUnknown);
    party.play(2);
    for (row, value) in [
        ("twincast_connections", 1),
        ("twincast_cut_frames_total", 1),
        ("twincast_rounds_sealed_total", 2),
        ("twincast_group_round{group=\"1\"}", 3),
    ] {
        wait_until(row, || metric(pages, row) == value);
    }
    for (row, value) in [
        ("twincast_connections_accepted_total", 4),
        ("twincast_accept_errors_total", 0),
        ("twincast_dials_total", 3),
        ("twincast_parts_total", 3),
        ("twincast_epochs_opened_total", 1),
        ("twincast_group_epoch{group=\"1\"}", 0),
        ("twincast_link_up", 0),
        ("twincast_submissions_total", 4),
        ("twincast_tiles_sealed_total", 3),
        ("twincast_rounds_skipped_total", 0),
        ("twincast_members_absent_total", 2),
        ("twincast_errors_total{code=\"hello_timeout\"}", 1),
        ("twincast_errors_total{code=\"kind_unknown\"}", 1),
        ("twincast_errors_total", 2),
        ("twincast_slow_readers_closed_total", 0),
        ("twincast_core_connections", 1),
        // Round 1 for three users, and round 2 for one of them, three cells each.
        ("twincast_egress_shares_total", 12),
    ] {
        assert_eq!(metric(pages, row), value, "{row}");
    }
    assert!(metric(pages, "twincast_ingress_bytes_total") > 0);
    assert!(metric(pages, "twincast_egress_bytes_total") > 12 * 64);
    drop(party);
    process.signal(Signal::TERM);
    assert_eq!(process.end().0.code(), Some(0));
}

/// Waits until the server has begun to stop: a connection that has not said HELLO is turned away. It was made before
/// others that the server has answered, so that the server knows it.
fn stop(process: &Process, waiting: &mut Client) {
    process.signal(Signal::TERM);
    waiting.expect_closed(Code::ShuttingDown);
}

/// Every connection gets the reason, and then the end.
fn expect_stopped(party: &mut Party) {
    for seat in &mut party.seats {
        seat.client.expect_closed(Code::ShuttingDown);
    }
}

#[test]
fn a_stop_without_an_open_round_ends_at_once_with_the_reason() {
    for signal in [Signal::TERM, Signal::INT] {
        let shape = group(1, 6);
        let mut process = Process::start(&config(vec![shape.clone(), group(2, 3)]));
        let mut party = Party::open(process.address, &shape, [vec![0, 1, 2], vec![3], vec![4, 5]], 1);
        party.play(1);
        // Another group is dialling still.
        let mut dialling = Party::attach(process.address, &group(2, 3), [vec![0], vec![2]], 1);
        dialling.dial_seat(0);
        process.signal(signal);
        expect_stopped(&mut party);
        expect_stopped(&mut dialling);
        drop((party, dialling));
        let (status, stderr) = process.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

#[test]
fn a_stop_waits_for_the_open_round() {
    let shape = GroupConfig { frame_bytes: 4_096, ..group(1, 70) };
    let mut process = Process::start(&config(vec![shape.clone()]));
    let mut waiting = Client::connect(process.address);
    // The first tile waits for the last one to submit.
    let sets = [(1..30).collect(), (30..70).collect(), vec![0]];
    let mut party = Party::open(process.address, &shape, sets, 1);
    party.play(1);
    party.submit_seat(2, 0);
    party.submit_seat(2, 1);
    // It has their submissions: it answers what comes behind them.
    for seat in 0..2 {
        let user = party.seats[seat].users[0];
        let again = party.model.submit_in_vain(2, user);
        party.seats[seat].client.send(&again);
        party.seats[seat].client.expect_error(Code::DuplicateSubmission, user, u32::MAX, 2);
    }
    stop(&process, &mut waiting);
    assert!(std::net::TcpStream::connect(process.address).is_err(), "it takes no connection any more");
    // The last one may still submit, and everybody gets the round.
    party.submit_seat(2, 2);
    party.expect(2);
    expect_stopped(&mut party);
    drop(party);
    let (status, stderr) = process.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// A submission for the next round comes too late, and costs its sender nothing of the open one.
#[test]
fn a_stop_takes_nothing_of_the_open_round_from_one_that_submits_ahead() {
    let shape = group(1, 3);
    let mut process = Process::start(&config(vec![shape.clone()]));
    let mut waiting = Client::connect(process.address);
    let mut party = Party::open(process.address, &shape, [vec![0], vec![1], vec![2]], 1);
    party.submit_seat(1, 0);
    let again = party.model.submit_in_vain(1, 0);
    party.seats[0].client.send(&again);
    party.seats[0].client.expect_error(Code::DuplicateSubmission, 0, u32::MAX, 1);
    stop(&process, &mut waiting);
    let ahead = party.model.submit_in_vain(2, 0);
    party.seats[0].client.send(&ahead);
    // The server has looked at it: it answers what comes behind it.
    party.seats[0].client.send(&again);
    party.seats[0].client.expect_error(Code::DuplicateSubmission, 0, u32::MAX, 1);
    party.submit_seat(1, 1);
    party.submit_seat(1, 2);
    party.expect(1);
    assert_eq!(party.model.senders(1), 3);
    expect_stopped(&mut party);
    drop(party);
    let (status, stderr) = process.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// Who never submits does not keep the others from their round, nor the server from its end.
#[test]
fn a_stop_ends_the_open_round_at_its_time_limit() {
    let shape = GroupConfig { round_timeout_ms: 700, ..group(1, 4) };
    let mut process = Process::start(&config(vec![shape.clone()]));
    let mut party = Party::open(process.address, &shape, [vec![0, 1], vec![2], vec![3]], 1);
    party.submit_seat(1, 0);
    party.submit_seat(1, 1);
    // The next round has begun, too: what was taken is delivered.
    party.submit_seat(2, 0);
    let again = party.model.submit_in_vain(2, 0);
    party.seats[0].client.send(&again);
    party.seats[0].client.expect_error(Code::DuplicateSubmission, 0, u32::MAX, 2);
    process.signal(Signal::TERM);
    party.expect(1);
    party.expect(2);
    assert_eq!((party.model.senders(1), party.model.senders(2)), (3, 2));
    expect_stopped(&mut party);
    drop(party);
    let (status, stderr) = process.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// Megabytes are on their way to one that has not begun to read: it gets all of them, and the reason, and the end.
#[test]
fn a_stop_cuts_nobody_who_is_behind() {
    let shape = GroupConfig { frame_bytes: 65_536, ..group(1, 10) };
    let mut process = Process::start(&config(vec![shape.clone()]));
    let mut party = Party::attach(process.address, &shape, [(0..9).collect()], 1);
    party.join_over(Client::connect_narrow(process.address), vec![9]);
    party.dial();
    party.expect_open();
    for round in 1..3 {
        party.submit(round);
        party.expect_seat(round, 0);
    }
    process.signal(Signal::TERM);
    party.seats[0].client.expect_closed(Code::ShuttingDown);
    for round in 1..3 {
        party.expect_seat(round, 1);
    }
    party.seats[1].client.expect_closed(Code::ShuttingDown);
    drop(party);
    let (status, stderr) = process.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// One that does not read at all cannot keep a server from its end.
#[test]
fn a_stop_does_not_wait_for_one_that_does_not_read() {
    let shape = GroupConfig { frame_bytes: 65_536, ..group(1, 10) };
    let mut config = config(vec![shape.clone()]);
    config.limits.reader_timeout_ms = 500;
    let mut process = Process::start(&config);
    let mut party = Party::attach(process.address, &shape, [(0..9).collect()], 1);
    party.join_over(Client::connect_narrow(process.address), vec![9]);
    party.dial();
    party.expect_open();
    party.submit(1);
    party.expect_seat(1, 0);
    process.signal(Signal::TERM);
    party.seats[0].client.expect_closed(Code::ShuttingDown);
    let (status, stderr) = process.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_ne!(party.take(1).drain().0, End::Silence);
}

/// It stands still for longer than a reader may, while a round is open and while deliveries wait for a reader who goes
/// on reading. Nobody is to blame, and nobody is closed.
#[test]
fn a_server_that_was_stopped_goes_on_where_it_was() {
    let shape = GroupConfig { frame_bytes: 65_536, ..group(1, 10) };
    let mut config = with_pages(vec![shape.clone()]);
    config.limits.reader_timeout_ms = 700;
    let mut process = Process::start(&config);
    let pages = process.metrics.expect("it was asked for");
    let mut party = Party::attach(process.address, &shape, [(0..5).collect(), (5..9).collect()], 1);
    party.join_over(Client::connect_narrow(process.address), vec![9]);
    party.dial();
    party.expect_open();
    party.submit(1);
    party.expect_seat(1, 0);
    party.expect_seat(1, 1);
    // Most of round 1 waits for the narrow one, and round 2 for the second connection.
    party.submit_seat(2, 0);
    process.signal(Signal::STOP);
    for _ in 0..20 {
        assert!(party.seats[2].client.trickle(2_048).expect("it is not reset") > 0);
        std::thread::sleep(Duration::from_millis(50));
    }
    party.submit_seat(2, 1);
    let submit = party.model.submit(2, 9);
    party.seats[2].client.send(&submit);
    process.signal(Signal::CONT);
    party.expect_seat(1, 2);
    party.expect(2);
    party.play(3);
    assert_eq!(party.model.senders(3), 10);
    assert_eq!(metric(pages, "twincast_slow_readers_closed_total"), 0);
    assert_eq!(metric(pages, "twincast_members_absent_total"), 0);
    assert_eq!(metric(pages, "twincast_errors_total"), 0);
    drop(party);
    process.signal(Signal::TERM);
    assert_eq!(process.end().0.code(), Some(0));
}

#[test]
fn a_server_slowed_ten_times_loses_nothing_and_closes_nobody() {
    let shape = GroupConfig { frame_bytes: 288, confirm: true, slots: 2, ..group(1, 130) };
    let mut config = with_pages(vec![shape.clone()]);
    config.limits.hello_timeout_ms = 2_000;
    config.limits.reader_timeout_ms = 1_000;
    let mut process = Process::start(&config);
    let pages = process.metrics.expect("it was asked for");
    let slowed = process.slow_down();
    let sets = [(0..60).collect(), (60..129).collect(), vec![129]];
    let mut party = Party::attach(process.address, &shape, sets, 1);
    party.dial();
    party.confirm(&[]);
    for round in 1..8 {
        party.play(round);
    }
    drop(slowed);
    party.play(8);
    for row in
        ["twincast_slow_readers_closed_total", "twincast_members_absent_total", "twincast_errors_total"]
    {
        assert_eq!(metric(pages, row), 0, "{row}");
    }
    assert_eq!(metric(pages, "twincast_connections"), 3);
    drop(party);
    process.signal(Signal::TERM);
    assert_eq!(process.end().0.code(), Some(0));
}

/// Connections that were made while it stood still are served as any other.
#[test]
fn who_comes_while_the_server_is_stopped_is_served_when_it_goes_on() {
    let shape = group(1, 4);
    let mut process = Process::start(&config(vec![shape.clone()]));
    let mut party = Party::open(process.address, &shape, [vec![0, 1], vec![2, 3]], 1);
    process.signal(Signal::STOP);
    let mut client = Client::connect(process.address);
    client.send(&hello_frame(S1, 1, &[3]));
    process.signal(Signal::CONT);
    client.welcome();
    let superseded = error_frame(Code::Superseded, u32::MAX, u32::MAX, 0);
    party.seats[1].client.expect(&superseded, "the older connection");
    drop(party.take(1));
    party.seats.push(common::Seat::new(client, vec![3]));
    let dialled = party.model.dialled(3, 0);
    party.seats[1].expect(&dialled, "its dial stands");
    party.submit_with_newcomers(1, 1);
    party.expect(1);
    assert_eq!(party.model.senders(1), 3);
    drop(party);
    process.signal(Signal::TERM);
    assert_eq!(process.end().0.code(), Some(0));
}
