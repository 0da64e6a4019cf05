//! The protocol on the standard streams, and a host against servers that are not what they should be.

mod fake;

use super::*;
use crate::control::{Flow, HostSecond};
use crate::latency::{from_text, merge};
use std::io::{BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Orders that a test gives a line at a time.
struct Lines(Receiver<String>, Vec<u8>);

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.1.is_empty() {
            let Ok(line) = self.0.recv() else { return Ok(0) };
            self.1 = line.into_bytes();
        }
        let bytes = buffer.len().min(self.1.len());
        buffer[..bytes].copy_from_slice(&self.1[..bytes]);
        self.1.drain(..bytes);
        Ok(bytes)
    }
}

struct Told(Sender<String>, Vec<u8>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            self.0.send(String::from_utf8_lossy(&line).trim().to_owned()).ok();
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Led {
    orders: Option<Sender<String>>,
    news: Receiver<String>,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
}

impl Led {
    fn start() -> Led {
        let (orders, lines) = channel();
        let (told, news) = channel();
        let thread = std::thread::spawn(move || {
            run_with(BufReader::new(Lines(lines, Vec::new())), Told(told, Vec::new()))
        });
        Led { orders: Some(orders), news, thread }
    }

    fn tell(&self, order: &HostOrder) {
        self.say(&serde_json::to_string(order).unwrap());
    }

    fn say(&self, line: &str) {
        self.orders.as_ref().unwrap().send(format!("{line}\n")).unwrap();
    }

    /// The next news but that the host lives.
    fn news(&self) -> HostNews {
        loop {
            let line = self.news.recv_timeout(Duration::from_secs(20)).expect("news");
            match serde_json::from_str(&line).expect("news are JSON lines") {
                HostNews::Alive => {}
                news => return news,
            }
        }
    }

    fn failure(&self) -> String {
        match self.news() {
            HostNews::Failed(sentence) => sentence,
            news => panic!("{news:?}"),
        }
    }
}

fn plan() -> Plan {
    Plan {
        group: 10,
        hosts: 1,
        rounds: 1,
        warmup: 0,
        peers: crate::plan::Peers::Own,
        linked: false,
        users_per_connection: 5,
        host_skew_bytes: 1 << 20,
        // Servers here are as plain as can be.
        ..crate::plan::tests::plan()
    }
}

#[test]
fn it_stops_when_told_to() {
    let led = Led::start();
    led.tell(&HostOrder::Stop);
    assert!(matches!(led.news(), HostNews::Stopped));
    led.thread.join().unwrap().unwrap();
}

#[test]
fn it_stops_when_orders_end() {
    let mut led = Led::start();
    led.orders = None;
    led.thread.join().unwrap().unwrap();
    assert!(led.news.iter().all(|line| line.contains("alive")), "nothing else is said");
}

#[test]
fn a_line_that_is_no_order_fails_the_run() {
    let led = Led::start();
    led.say("{\"dance\": 1}");
    assert!(led.failure().starts_with("a line is no order: unknown variant `dance`"));
    assert!(led.thread.join().unwrap().is_err());
}

#[test]
fn it_does_not_play_before_it_was_started() {
    let led = Led::start();
    led.tell(&HostOrder::Play { rounds: 1, start_ns: None });
    assert_eq!(led.failure(), "a host plays only after it was started");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let led = Led::start();
    // Nobody listens where a listener was just dropped.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    led.tell(&HostOrder::Start { plan: plan(), host: 0, servers: [gone; 2], keys: None, start_ns: None });
    let sentence = led.failure();
    assert!(sentence.starts_with(&format!("cannot connect to S1 at {gone}: ")), "{sentence}");
}

#[test]
fn a_server_that_closes_or_talks_nonsense_is_named() {
    for (answer, part) in [
        (&b""[..], "without a reason"),
        (
            &twincast_protocol::wire::Code::GroupUnknown.frame(u32::MAX, u32::MAX, 0),
            "no group of that number",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "S2 sent what is no frame of this wire format"),
    ] {
        let led = Led::start();
        let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let servers = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let plan = Plan { users_per_connection: 10, ..plan() };
        led.tell(&HostOrder::Start { plan, host: 0, servers, keys: None, start_ns: None });
        let kept = listeners[0].accept().unwrap();
        let (mut second, _) = listeners[1].accept().unwrap();
        let mut hello = [0; 64];
        second.read_exact(&mut hello).unwrap();
        assert_eq!(hello[1], 1);
        second.write_all(answer).unwrap();
        drop(second);
        let sentence = led.failure();
        assert!(sentence.contains("S2") && sentence.contains(part), "{sentence}");
        assert!(led.thread.join().unwrap().is_err());
        drop(kept);
    }
}

#[test]
fn the_roofs_reader_reads_everything() {
    let led = Led::start();
    led.tell(&HostOrder::RoofListen { address: std::net::Ipv4Addr::LOCALHOST.into() });
    let HostNews::RoofListening(address) = led.news() else { panic!("it listens") };
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(&vec![1; 64 << 20]).unwrap();
    led.tell(&HostOrder::Stop);
    assert!(matches!(led.news(), HostNews::Stopped));
    led.thread.join().unwrap().unwrap();
}

/// A host that plays a group of ten over one connection pair to two fake servers.
fn dialled(rounds: u64, damage: fake::Damage, skipped: [u64; 2]) -> (Led, [fake::Server; 2]) {
    let led = Led::start();
    let servers =
        [fake::serve(10, rounds, damage, skipped[0]), fake::serve(10, rounds, |_, _| (), skipped[1])];
    let plan = Plan { users_per_connection: 10, confirm: false, ahead: 1, ..plan() };
    led.tell(&HostOrder::Start {
        plan,
        host: 0,
        servers: servers.each_ref().map(|server| server.address),
        keys: None,
        start_ns: None,
    });
    let HostNews::Dialled(report) = led.news() else { panic!("it dials") };
    assert_eq!((report.confirm_cells, report.confirm_failed), (0, 0));
    // HELLO, and ten dials of 8 + 24 + 2 bytes, to each server.
    assert_eq!(report.bytes_out, 2 * (8 + 16 + 40 + 10 * 34));
    (led, servers)
}

fn played(led: &Led, rounds: u32) -> PlayReport {
    played_from(led, rounds, None)
}

fn played_from(led: &Led, rounds: u32, start_ns: Option<u64>) -> PlayReport {
    led.tell(&HostOrder::Play { rounds, start_ns });
    let mut closed = 0;
    let mut seconds = Vec::new();
    loop {
        match led.news() {
            HostNews::Progress { rounds } => {
                closed += 1;
                assert_eq!(rounds, closed);
            }
            HostNews::Second(second) => seconds.push(second),
            HostNews::Played(report) => {
                assert_eq!(closed, rounds);
                assert_adds_up(&seconds, &report);
                return report;
            }
            news => panic!("{news:?}"),
        }
    }
}

/// Of every sum, the seconds have all.
fn assert_adds_up(seconds: &[HostSecond], report: &PlayReport) {
    assert_eq!(
        seconds.iter().map(|second| second.rounds as usize).sum::<usize>(),
        report.round_seconds.len()
    );
    assert_eq!(seconds.iter().map(|second| second.missed_slots).sum::<u64>(), report.missed_slots);
    for server in 0..2 {
        let sum =
            |of: fn(&HostSecond) -> [u64; 2]| seconds.iter().map(|second| of(second)[server]).sum::<u64>();
        assert_eq!(sum(|second| second.bytes_in), report.bytes_in[server]);
        assert_eq!(sum(|second| second.bytes_out), report.bytes_out[server]);
    }
    let merged =
        |of: fn(&HostSecond) -> &String| merge(seconds.iter().map(|second| of(second).as_str())).unwrap();
    let whole =
        [&report.message_latency_ns, &report.delivery_latency_ns].map(|text| from_text(text).unwrap());
    assert_eq!(merged(|second| &second.message_latency_ns), whole[0]);
    assert_eq!(merged(|second| &second.delivery_latency_ns), whole[1]);
    let ends: Vec<f64> = seconds.iter().map(|second| second.at_s).collect();
    assert!(ends.is_sorted() && seconds.iter().all(|second| second.seconds < 20.0), "{ends:?}");
}

#[test]
fn rounds_are_played_and_reported_and_servers_may_go_before_the_host() {
    let (led, servers) = dialled(5, |_, _| (), [0, 0]);
    for rounds in [2, 3] {
        let report = played(&led, rounds);
        let pairs = u64::from(rounds) * 10;
        assert_eq!((report.totals.messages_sent, report.totals.accepted), (pairs, pairs));
        assert_eq!((report.totals.ignored, report.totals.shares_verified), (pairs * 9, pairs * 10));
        assert_eq!((report.round_seconds.len(), report.complaints.len()), (rounds as usize, 0));
        let round_bytes = 8 + 56 + 100 * 336 + 8 + 24;
        assert_eq!(report.bytes_in, [u64::from(rounds) * round_bytes; 2]);
        assert_eq!(report.bytes_out, [pairs * (8 + 16 + 2 * 336); 2]);
        assert_eq!((report.messages.up, report.messages.down), (report.bytes_out, report.bytes_in));
        assert_eq!(report.attach, Flow { up: [8 + 16 + 40; 2], down: [8 + 100; 2] });
        assert_eq!((report.other, report.epochs.len()), (Flow::default(), 1));
        let epoch = report.epochs[0];
        assert_eq!(
            (epoch.epoch, epoch.open, epoch.dial.bytes),
            (0, true, Flow { up: [340; 2], down: [320; 2] })
        );
        assert_eq!(epoch.members.down, [8 + 16 + 40 + 8 + 16; 2]);
        for (text, count) in [(&report.message_latency_ns, pairs), (&report.delivery_latency_ns, pairs)] {
            assert_eq!(from_text(text).unwrap().len(), count);
        }
        assert_eq!(from_text(&report.round_trip_ns).unwrap().len(), u64::from(rounds));
    }
    drop(servers);
    std::thread::sleep(Duration::from_millis(50));
    led.tell(&HostOrder::Stop);
    assert!(matches!(led.news(), HostNews::Stopped));
    led.thread.join().unwrap().unwrap();
}

#[test]
fn a_cell_that_a_server_alters_is_a_lost_message_and_a_complaint() {
    // Round 2: user 3's cell of its own message.
    let damage = |round, cells: &mut [u8]| cells[(3 * 10 + 3) * 336 + 50] ^= u8::from(round == 2);
    let (led, _servers) = dialled(3, damage, [0, 0]);
    let report = played(&led, 3);
    let totals = report.totals;
    assert_eq!((totals.messages_sent, totals.accepted, totals.lost, totals.tampered), (30, 29, 1, 1));
    assert_eq!(report.complaints, ["round 2: user 3 lost a message: tampered (sender 3, slot 0)"]);
}

#[test]
fn a_round_that_servers_leave_out_is_counted_and_its_messages_are_lost() {
    let (led, _servers) = dialled(3, |_, _| (), [2, 2]);
    let totals = played(&led, 3).totals;
    assert_eq!((totals.accepted, totals.lost, totals.rounds_skipped, totals.incomplete), (20, 10, 1, 0));
    let (led, _servers) = dialled(3, |_, _| (), [1, 0]);
    let totals = played(&led, 3).totals;
    assert_eq!((totals.accepted, totals.lost, totals.rounds_skipped, totals.incomplete), (20, 10, 1, 100));
}

#[test]
fn a_server_that_goes_in_a_round_fails_the_run() {
    let (led, servers) = dialled(1, |_, _| (), [0, 0]);
    led.tell(&HostOrder::Play { rounds: 3, start_ns: None });
    assert!(matches!(led.news(), HostNews::Progress { rounds: 1 }));
    drop(servers);
    let sentence = led.failure();
    assert!(sentence.contains("the connection of users 0 to 9"), "{sentence}");
    assert!(led.thread.join().unwrap().is_err());
}

/// As [`dialled`], with an open loop's rate.
fn dialled_at(rate: f64, rounds: u64) -> (Led, [fake::Server; 2]) {
    let led = Led::start();
    let servers = [(); 2].map(|()| fake::serve(10, rounds, |_, _| (), 0));
    let plan = Plan { users_per_connection: 10, confirm: false, rate: Some(rate), ..plan() };
    let addresses = servers.each_ref().map(|server| server.address);
    // An instant that has passed is at once, and told.
    let start_ns = Some(pace::realtime_ns() - 3_000_000_000);
    led.tell(&HostOrder::Start { plan, host: 0, servers: addresses, keys: None, start_ns });
    let HostNews::Dialled(report) = led.news() else { panic!("it dials") };
    assert!((3.0..60.0).contains(&report.late_seconds), "{}", report.late_seconds);
    (led, servers)
}

#[test]
fn an_open_loop_keeps_its_schedule_and_tells_its_seconds() {
    let (led, _servers) = dialled_at(4.0, 8);
    let begin = std::time::Instant::now();
    let later_ns = pace::realtime_ns() + 300_000_000;
    let report = played_from(&led, 6, Some(later_ns));
    // The first round is planned 0.3 s from here, the last 1.25 s after it: nothing is begun before its time.
    assert!(begin.elapsed() >= Duration::from_millis(1_550), "{:?}", begin.elapsed());
    assert!(
        report.seconds >= 1.25 && report.late_seconds < 3.0,
        "{} {}",
        report.seconds,
        report.late_seconds
    );
    assert_eq!((report.totals.accepted, report.totals.lost), (60, 0));
    // Of the last round's instants, two make the same: its own time, and the time of all from the first on.
    let last = report.round_seconds[5];
    assert!((report.seconds - 1.25 - last).abs() < 1e-6, "{} {last}", report.seconds);
    // Another order has a schedule of its own.
    assert_eq!(played(&led, 2).totals.accepted, 20);
}

#[test]
fn a_rate_that_nobody_keeps_is_late_and_loses_nothing() {
    let (led, _servers) = dialled_at(100_000.0, 40);
    let report = played(&led, 40);
    assert_eq!((report.totals.accepted, report.totals.lost), (400, 0));
    assert!(report.missed_slots > 0, "{:?}", report.round_seconds);
    // Rounds wait for those before them, and that counts: the last took as long as all, but for its place in the plan.
    let last = report.round_seconds[39];
    assert!((report.seconds - 39.0 / 100_000.0 - last).abs() < 1e-6, "{} {last}", report.seconds);
    let latency = from_text(&report.message_latency_ns).unwrap();
    // The last round is begun when the one before it has ended, one place later in the plan; a histogram has three digits.
    let least = (report.round_seconds[38] - 1.0 / 100_000.0) * 0.99;
    assert!(latency.max() as f64 / 1e9 >= least, "{} {least}", latency.max());
}

#[test]
fn it_stops_at_once_while_it_waits_for_a_planned_instant() {
    let (led, _servers) = dialled_at(0.001, 2);
    led.tell(&HostOrder::Play { rounds: 2, start_ns: None });
    while !matches!(led.news(), HostNews::Progress { rounds: 1 }) {}
    led.tell(&HostOrder::Stop);
    while !matches!(led.news(), HostNews::Stopped) {}
    led.thread.join().unwrap().unwrap();
    // The same before the first instant of all.
    let (led, _servers) = dialled_at(0.001, 2);
    led.tell(&HostOrder::Play { rounds: 2, start_ns: Some(u64::MAX) });
    led.tell(&HostOrder::Stop);
    assert!(matches!(led.news(), HostNews::Stopped));
    led.thread.join().unwrap().unwrap();
}
