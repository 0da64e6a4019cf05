//! The protocol on the standard streams, without servers.

use super::*;
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

    fn news(&self) -> HostNews {
        let line = self.news.recv_timeout(Duration::from_secs(20)).expect("news");
        serde_json::from_str(&line).expect("news are JSON lines")
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
        groups: 1,
        hosts: 1,
        rounds: 1,
        warmup: 0,
        slots: 1,
        frame_bytes: 288,
        message_bytes: 256,
        peers: crate::plan::Peers::Own,
        confirm: true,
        users_per_connection: 5,
        ahead: 0,
        verify: crate::plan::Verify::All,
        seed: 1,
        host_skew_bytes: 1 << 20,
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
    assert!(led.news.recv().is_err(), "nothing is said");
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
    led.tell(&HostOrder::Play { rounds: 1 });
    assert_eq!(led.failure(), "a host plays only after it was started");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let led = Led::start();
    // Nobody listens where a listener was just dropped.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    led.tell(&HostOrder::Start { plan: plan(), host: 0, servers: [gone; 2] });
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
        led.tell(&HostOrder::Start { plan, host: 0, servers });
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
    led.tell(&HostOrder::RoofListen);
    let HostNews::RoofListening(address) = led.news() else { panic!("it listens") };
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(&vec![1; 64 << 20]).unwrap();
    led.tell(&HostOrder::Stop);
    assert!(matches!(led.news(), HostNews::Stopped));
    led.thread.join().unwrap().unwrap();
}
