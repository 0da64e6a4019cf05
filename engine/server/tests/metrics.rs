//! What `/metrics` says of groups that were really played: a page that Prometheus can read, and counters that have moved
//! by what happened and by nothing else.

mod common;
#[path = "common/page_format.rs"]
mod page_format;

use common::pair::Servers;
use common::readers::answering;
use common::{NEVER_MS, Party, Readers, TestServer, config, group, http_get, wait_until};
use page_format::Page;
use std::net::SocketAddr;
use twincast_protocol::ids::ServerSide;
use twincast_server::Server;
use twincast_server::config::{Config, GroupConfig};

const MEMBERS: u32 = 130;

/// The page, read strictly.
fn scrape(server: &Server) -> Page {
    let (status, body) = http_get(server.metrics_address().expect("it is served"), "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    Page::parse(&body).unwrap_or_else(|error| panic!("{error}\n{body}"))
}

fn with_pages(mut config: Config) -> Config {
    config.metrics_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    config
}

/// Waits until a sum on the page is this: bytes are counted when their completion is, a moment after they were read.
fn wait_for(server: &Server, name: &str, sum: u64) {
    wait_until(&format!("{name} = {sum}"), || scrape(server).sum(name) == sum as f64);
}

/// No counter of the later page is below what it was.
fn only_forward(before: &Page, after: &Page) {
    let after = after.counters();
    for (series, value) in before.counters() {
        assert!(after.get(&series).is_some_and(|now| *now >= value), "{series:?} was {value}: {after:?}");
    }
}

#[test]
fn counters_move_by_what_a_group_plays() {
    const ROUNDS: u64 = 4;
    let group = GroupConfig { slots: 2, ..group(3, MEMBERS) };
    let mut config = with_pages(config(vec![group.clone()]));
    config.fan_out.threads = 2;
    let server = TestServer::start(config);
    let sets = [(0..50).collect(), (50..100).collect(), (100..MEMBERS).collect()];
    let mut party = Party::open(server.address(), &group, sets, 1);
    // The last frame of the opening may be counted later than it was read.
    let mut egress = party.seats.len() as u64;
    wait_until("a page that stands", || {
        let now = scrape(&server).sum("twincast_egress_bytes_total") as u64;
        std::mem::replace(&mut egress, now) == now
    });
    let before = scrape(&server);
    let mut bytes = before.sum("twincast_egress_bytes_total") as u64;
    for round in 1..=ROUNDS {
        party.play(round);
        let frames = party.seats.iter().flat_map(|seat| party.model.round(round, &seat.users));
        bytes += frames.map(|frame| frame.len() as u64).sum::<u64>();
    }
    wait_for(&server, "twincast_egress_bytes_total", bytes);
    wait_for(&server, "twincast_round_deliver_seconds_count", 2 * ROUNDS);
    // The executor says how its groups stand when it looks at its deadlines.
    wait_for(&server, "twincast_group_round", ROUNDS + 1);
    let after = scrape(&server);
    only_forward(&before, &after);
    let members = u64::from(MEMBERS);
    for (name, expected) in [
        ("twincast_submissions_total", ROUNDS * members),
        ("twincast_rounds_sealed_total", ROUNDS),
        ("twincast_round_seal_seconds_count", ROUNDS),
        ("twincast_round_release_seconds_count", ROUNDS),
        ("twincast_tiles_sealed_total", ROUNDS * 3 * 2),
        ("twincast_egress_shares_total", ROUNDS * members * members * 2),
        ("twincast_rounds_skipped_total", 0),
        ("twincast_members_absent_total", 0),
        ("twincast_slow_readers_closed_total", 0),
        ("twincast_core_connections", 3),
        ("twincast_connections", 3),
        ("twincast_group_members", members),
        ("twincast_group_members_max", members),
        ("twincast_group_slots", 2),
        ("twincast_core_up", 2),
        ("twincast_core_slabs", 8),
        ("twincast_slab_bytes", 64 << 10),
        ("twincast_connections_max", 512),
        ("twincast_build_info", 1),
        ("twincast_answer_threads", 0),
    ] {
        assert_eq!(after.sum(name), expected as f64, "{name}");
    }
    let moved = |name| after.sum(name) - before.sum(name);
    assert!(moved("twincast_gathered_bytes_total") >= moved("twincast_egress_bytes_total"));
    assert!(moved("twincast_round_seal_seconds_sum") > 0.0);
    assert!(moved("twincast_round_deliver_seconds_sum") > 0.0);
    assert!(moved("process_cpu_seconds_total") > 0.0);
    assert!(after.sum("process_open_fds") < after.sum("process_max_fds"));
    assert!(after.sum("twincast_slabs_in_use") <= after.sum("twincast_slabs_in_use_max"));
    for thread in ["fan-out-0", "fan-out-1", "front-0", "accept", "pages"] {
        let threads = &after.0["twincast_thread_cpu_seconds_total"].samples;
        assert!(threads.iter().any(|(_, labels, _)| labels["thread"] == thread), "{thread}: {threads:?}");
    }
}

#[test]
fn parts_are_counted_beside_shares_and_who_is_missing_is() {
    let group = GroupConfig { confirm: true, round_timeout_ms: 300, ..group(1, 20) };
    let server = TestServer::start(with_pages(config(vec![group.clone()])));
    let mut party = Party::attach(server.address(), &group, [(0..20).collect()], 2);
    party.dial();
    party.confirm(&[]);
    wait_for(&server, "twincast_egress_parts_total", 20 * 20);
    party.submit_seat_without(1, 0, &[4, 7]);
    party.expect(1);
    wait_for(&server, "twincast_egress_shares_total", 20 * 20);
    let page = scrape(&server);
    assert_eq!(page.sum("twincast_members_absent_total"), 2.0);
    assert_eq!(page.sum("twincast_egress_parts_total"), 400.0);
    // It was waited for them.
    assert!(page.sum("twincast_round_seal_seconds_sum") >= 0.3);
}

#[test]
fn two_linked_servers_that_answer_say_what_it_takes() {
    const ROUNDS: u64 = 3;
    let group = answering(4, 70, 2);
    let mut base = with_pages(config(vec![group.clone()]));
    base.answer.threads = 2;
    let patient =
        |config: &mut Config| config.link.as_mut().expect("it is linked").peer_timeout_ms = NEVER_MS;
    let servers = Servers::linked_with(base, patient);
    let sets: Vec<Vec<u32>> = vec![(0..30).collect(), (30..70).collect()];
    let mut readers = Readers::open(&servers, &group, &sets, 5);
    (1..=ROUNDS).for_each(|round| readers.play(round));
    for side in ServerSide::BOTH {
        let server = servers.get(side);
        wait_for(server, "twincast_egress_answers_total", ROUNDS * 70 * 2);
        wait_for(server, "twincast_round_deliver_seconds_count", ROUNDS);
        let page = scrape(server);
        for (name, expected) in [
            ("twincast_link_up", 1),
            ("twincast_groups_differing", 0),
            ("twincast_answer_threads", 2),
            ("twincast_answer_threads_failed", 0),
            ("twincast_signatures_verified_total", ROUNDS * 70),
            ("twincast_egress_shares_total", 0),
            ("twincast_round_release_seconds_count", ROUNDS),
            ("twincast_rounds_unagreed_total", 0),
            ("twincast_blames_total", 0),
        ] {
            assert_eq!(page.sum(name), expected as f64, "{name}");
        }
        assert!(page.sum("twincast_round_release_seconds_sum") > 0.0, "signatures and agreement take time");
        assert!(page.sum("twincast_answer_memory_bytes") > 0.0);
        let says = &page.0["twincast_build_info"].samples[0].1["side"];
        assert_eq!(*says, (1 + side.index()).to_string());
    }
}

/// The reader refuses what Prometheus, or a reader of the page, would trip over.
#[test]
fn a_page_that_is_wrong_is_refused() {
    let good = "# HELP a_total What.\n# TYPE a_total counter\na_total{core=\"0\"} 1\na_total{core=\"1\"} 2\n";
    assert_eq!(Page::parse(good).unwrap().sum("a_total"), 3.0);
    for (from, to) in [
        ("a_total{core=\"1\"}", "a_total{core=\"0\"}"),
        ("a_total{core=\"1\"}", "b_total{core=\"1\"}"),
        ("a_total{core=\"1\"}", "a_total{front=\"1\"}"),
        ("a_total{core=\"1\"}", "a_total{core=1}"),
        ("} 2", "} two"),
        ("} 2", "} -2"),
        ("} 2\n", "} 2"),
        ("counter", "gauge"),
        ("counter", "number"),
        ("What.", "What"),
        ("# TYPE a_total counter\n", ""),
        ("# HELP a_total What.\n", ""),
    ] {
        let bad = good.replace(from, to);
        assert!(Page::parse(&bad).is_err(), "{bad}");
    }
    assert!(Page::parse(&format!("{good}{good}")).is_err());
}
