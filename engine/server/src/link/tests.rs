//! Two links, or one and whatever else connects to it, with executors that the tests play.

use super::*;
use crate::front::FrontMessage;
use crate::limits::LINK_STRANGERS_MAX;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use twincast_protocol::ids::Epoch;
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::{HeldDial, LinkFrame, LinkGroup, Present};

const PATIENCE: Duration = Duration::from_secs(20);

/// One server's end, and its executors.
struct End {
    link: Option<Link>,
    handle: Arc<LinkHandle>,
    fronts: Vec<Arc<FrontHandle>>,
    metrics: Arc<Metrics>,
    _ears: Vec<UnixStream>,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Groups 0 to 3, of which each executor has every other one.
fn end(side: ServerSide, listen: Option<SocketAddr>, connect: Option<SocketAddr>) -> End {
    let (fronts, ears): (Vec<_>, Vec<_>) =
        (0..2).map(|_| FrontHandle::new().unwrap()).map(|(handle, ear)| (Arc::new(handle), ear)).unzip();
    let handle = Arc::new(LinkHandle::new().unwrap());
    let metrics = Arc::new(Metrics::default());
    let parts = LinkParts {
        side,
        handle: handle.clone(),
        fronts: fronts.clone(),
        owners: (0..4).map(|group| (GroupId(group), group as usize % 2)).collect(),
        metrics: metrics.clone(),
        channel: None,
        accounts: None,
    };
    let peer = listen.map(|address| address.ip());
    let config = LinkConfig {
        listen,
        peer,
        connect,
        peer_verifying_key: None,
        peer_channel_key: None,
        peer_timeout_ms: 1,
    };
    let link = Some(Link::start(&config, parts).unwrap());
    End { link, handle, fronts, metrics, _ears: ears }
}

fn s2() -> End {
    end(ServerSide::Two, Some(loopback(0)), None)
}

fn s1(address: SocketAddr) -> End {
    end(ServerSide::One, None, Some(address))
}

fn standing(group: u32, epoch: u32) -> LinkGroup {
    LinkGroup {
        group: group.into(),
        epoch: epoch.into(),
        open: 0,
        reserved: [0; 7],
        round: 0.into(),
        settings_hash: [1; 32],
        roster_hash: [2; 32],
    }
}

fn present(group: u32, round: u64) -> LinkFrame {
    LinkFrame::Present(Present {
        group: group.into(),
        epoch: 0.into(),
        round: round.into(),
        present: 1.into(),
        tile: 0.into(),
        skipped: 0.into(),
    })
}

impl End {
    fn address(&self) -> SocketAddr {
        self.link.as_ref().unwrap().address().unwrap()
    }

    /// The next message of an executor.
    fn hear(&self, front: usize, awaited: &str) -> FrontMessage {
        let begun = Instant::now();
        loop {
            self.fronts[front].heard();
            if let Some(message) = self.fronts[front].pop() {
                return message;
            }
            assert!(begun.elapsed() < PATIENCE, "{awaited} did not come");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The executors are asked how their groups stand, and say so.
    fn answer(&self, epoch: u32) -> SessionId {
        let sessions = [0, 1].map(|front| match self.hear(front, "the question") {
            FrontMessage::LinkAsk(session) => session,
            other => panic!("{other:?}"),
        });
        assert_eq!(sessions[0], sessions[1]);
        for front in 0..2 {
            let groups = [front, front + 2].map(|group| standing(group as u32, epoch));
            self.handle.send(ToLink::Standing(sessions[0], front, groups.to_vec()));
        }
        sessions[0]
    }

    /// All executors hear that the link is up, and how the other server's groups stand.
    fn expect_up(&self, session: SessionId, epoch: u32) {
        for front in 0..2 {
            match self.hear(front, "the link") {
                FrontMessage::LinkUp(up, theirs) => {
                    assert_eq!(up, session);
                    assert_eq!(&theirs[..], [0, 1, 2, 3].map(|group| standing(group, epoch)));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The executors answer for as long as nothing comes of it, and hear that the link is up.
    fn answer_until_up(&self, epoch: u32, theirs: u32) -> SessionId {
        let begun = Instant::now();
        for front in [0, 1].into_iter().cycle() {
            assert!(begun.elapsed() < PATIENCE, "the link did not come up");
            match self.fronts[front].pop() {
                Some(FrontMessage::LinkAsk(session)) => {
                    let groups = [front, front + 2].map(|group| standing(group as u32, epoch));
                    self.handle.send(ToLink::Standing(session, front, groups.to_vec()));
                }
                Some(FrontMessage::LinkUp(session, groups)) => {
                    assert_eq!(groups.len(), 4);
                    match self.hear(1 - front, "the link") {
                        FrontMessage::LinkUp(other, groups) => {
                            assert_eq!((other, groups[0].epoch.get()), (session, theirs));
                        }
                        other => panic!("{other:?}"),
                    }
                    return session;
                }
                Some(other) => panic!("{other:?}"),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        unreachable!("it goes round and round")
    }

    fn expect_down(&self) {
        for front in 0..2 {
            let message = self.hear(front, "the end of the link");
            assert!(matches!(message, FrontMessage::LinkDown), "{message:?}");
        }
    }

    fn expect_frame(&self, front: usize, expected: &LinkFrame) {
        match self.hear(front, "a frame") {
            FrontMessage::Peer(group, frame) => {
                assert_eq!((Some(group), &frame), (expected.group(), expected));
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.stop();
        }
    }
}

/// Both are up.
fn come_up(one: &End, two: &End) -> [SessionId; 2] {
    let first = one.answer(7);
    let second = two.answer(8);
    one.expect_up(first, 8);
    two.expect_up(second, 7);
    [first, second]
}

/// They are, and frames of both directions arrive.
fn expect_both_ways(one: &End, two: &End, [first, second]: [SessionId; 2], round: u64) {
    one.handle.send(ToLink::Frame(first, present(1, round)));
    two.handle.send(ToLink::Frame(second, present(2, round)));
    two.expect_frame(1, &present(1, round));
    one.expect_frame(0, &present(2, round));
}

fn linked() -> (End, End, [SessionId; 2]) {
    let two = s2();
    let one = s1(two.address());
    let sessions = come_up(&one, &two);
    (one, two, sessions)
}

#[test]
fn frames_reach_the_owner_of_their_group_in_order() {
    let (one, two, [first, second]) = linked();
    for round in 0..5_000 {
        one.handle.send(ToLink::Frame(first, present(round as u32 % 4, round)));
        two.handle.send(ToLink::Frame(second, present(3, round)));
    }
    for round in 0..5_000 {
        two.expect_frame(round as usize % 2, &present(round as u32 % 4, round));
        one.expect_frame(1, &present(3, round));
    }
    // The largest frame there is.
    let dials =
        vec![
            HeldDial::new(1, twincast_protocol::ids::MemberIndex(2), twincast_protocol::ids::SlotIndex(3));
            4_096
        ];
    let held = LinkFrame::Held(GroupId(0), Epoch(0), dials);
    one.handle.send(ToLink::Frame(first, held.clone()));
    two.expect_frame(0, &held);
    assert_eq!(one.metrics.link_up.load(Relaxed), 1);
    assert_eq!(one.metrics.link_frames_out.load(Relaxed), 5_002);
    assert_eq!(one.metrics.link_bytes_out.load(Relaxed), two.metrics.link_bytes_in.load(Relaxed));
}

#[test]
fn a_server_that_goes_is_noticed_and_linked_again_when_it_is_back() {
    let (one, two, [first, _]) = linked();
    let address = two.address();
    drop(two);
    one.expect_down();
    assert_eq!(one.metrics.link_up.load(Relaxed), 0);
    let two = end(ServerSide::Two, Some(address), None);
    let [again, second] = come_up(&one, &two);
    assert!(again > first);
    // What was meant for the older session does not reach the newer one.
    one.handle.send(ToLink::Frame(first, present(1, 1)));
    one.handle.send(ToLink::Standing(first, 0, vec![standing(9, 9)]));
    expect_both_ways(&one, &two, [again, second], 2);
}

#[test]
fn what_was_said_last_goes_out_before_the_end() {
    let (mut one, two, [first, _]) = linked();
    for round in 0..2_000 {
        one.handle.send(ToLink::Frame(first, present(0, round)));
    }
    one.link.take().unwrap().stop();
    for round in 0..2_000 {
        two.expect_frame(0, &present(0, round));
    }
    two.expect_down();
}

#[test]
fn a_frame_about_an_unknown_group_ends_the_session_and_another_begins() {
    let (one, two, [first, _]) = linked();
    one.handle.send(ToLink::Frame(first, present(4, 1)));
    two.expect_down();
    one.expect_down();
    let sessions = come_up(&one, &two);
    expect_both_ways(&one, &two, sessions, 2);
}

#[test]
fn what_an_executor_refuses_ends_the_session_and_another_begins() {
    let (one, two, [_, second]) = linked();
    two.handle.send(ToLink::Refused(second, GroupId(1), Code::EpochWrong));
    two.expect_down();
    one.expect_down();
    let sessions = come_up(&one, &two);
    // It was said about a session that is over.
    two.handle.send(ToLink::Refused(second, GroupId(1), Code::EpochWrong));
    expect_both_ways(&one, &two, sessions, 2);
}

#[test]
fn a_newer_connection_of_the_other_server_takes_the_place_of_the_older() {
    let (one, two, _) = linked();
    let newer = s1(two.address());
    let first = newer.answer(7);
    two.expect_down();
    let second = two.answer(8);
    newer.expect_up(first, 8);
    two.expect_up(second, 7);
    one.expect_down();
    expect_both_ways(&newer, &two, [first, second], 3);
}

/// The links stand, and how many groups differ is counted at both; it is counted anew with each link.
#[test]
fn groups_that_differ_are_counted_at_both_servers() {
    let (one, mut two, _) = linked();
    let differing = |end: &End| end.metrics.groups_differing.load(Relaxed);
    assert_eq!((differing(&one), differing(&two)), (0, 0));
    let address = two.address();
    two.link.take().unwrap().stop();
    one.expect_down();
    let two = end(ServerSide::Two, Some(address), None);
    one.answer(7);
    let FrontMessage::LinkAsk(session) = two.hear(0, "the question") else { panic!("another message") };
    let other = [LinkGroup { settings_hash: [9; 32], ..standing(0, 7) }, standing(2, 7)];
    // Group 1 as at the other server, 3 not here, and 5 not there.
    two.handle.send(ToLink::Standing(session, 0, other.to_vec()));
    two.handle.send(ToLink::Standing(session, 1, vec![standing(1, 7), standing(5, 7)]));
    for end in [&one, &two] {
        let begun = Instant::now();
        while end.metrics.link_up.load(Relaxed) == 0 {
            assert!(begun.elapsed() < PATIENCE, "the link does not come up");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(differing(end), 3);
    }
}

#[test]
fn a_server_of_the_same_side_is_refused() {
    let other = end(ServerSide::One, Some(loopback(0)), None);
    let one = s1(other.address());
    // It tries again and again, and no link comes of it.
    for _ in 0..3 {
        one.answer(7);
    }
    assert_eq!(one.metrics.link_ups.load(Relaxed) + other.metrics.link_ups.load(Relaxed), 0);
    assert!(other.fronts[0].pop().is_none());
}

/// What connects to S2's link address and is no server harms nobody, neither before the link is up nor after.
#[test]
fn garbage_on_the_link_address_harms_nobody() {
    let two = s2();
    let address = two.address();
    let mut silent: Vec<TcpStream> =
        (0..3 * LINK_STRANGERS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
    let one = s1(address);
    let sessions = come_up(&one, &two);
    for seed in 0..60 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut bytes = vec![0; rng.random_range(1..300)];
        rng.fill_bytes(&mut bytes);
        let mut hello = Vec::new();
        match seed % 6 {
            // A good header, and nonsense behind it.
            0 => bytes.splice(0..0, [3, 0x41, 0, 0, 100, 0, 0, 0]).for_each(drop),
            // A frame that may come later, but not first.
            1 => {
                bytes.clear();
                present(1, 1).put(&mut bytes);
            }
            // A client's HELLO.
            2 => bytes.splice(0..0, [3, 0x01, 0, 0, 20, 0, 0, 0]).for_each(drop),
            // A body larger than any.
            3 => bytes.splice(0..0, [3, 0x41, 0, 0, 0, 0, 0x20, 0]).for_each(drop),
            // This server's own side; no groups; groups that no server lists.
            4 => {
                let hellos = [
                    LinkFrame::Hello(2, vec![standing(0, 0)]),
                    LinkFrame::Hello(1, vec![]),
                    LinkFrame::Hello(1, vec![standing(1, 0), standing(1, 0)]),
                ];
                hellos[seed as usize / 6 % 3].put(&mut hello);
                bytes.splice(0..0, hello).for_each(drop);
            }
            _ => {}
        }
        let mut stranger = TcpStream::connect(address).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stranger.write_all(&bytes);
        let _ = stranger.shutdown(Shutdown::Write);
        // It is told nothing, and it is closed.
        assert_eq!(stranger.read(&mut [0; 16]).unwrap_or(0), 0, "seed {seed}");
        expect_both_ways(&one, &two, sessions, seed);
    }
    silent.truncate(1);
    assert_eq!(two.metrics.link_ups.load(Relaxed), 1);
}

/// Whoever comes from another address than S1's is not listened to, whatever it says: the link stands, and nothing is
/// told. It makes no difference whether there is a link.
#[test]
fn a_stranger_from_another_address_changes_nothing() {
    let two = s2();
    let address = two.address();
    let knock = |strangers: u64| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let mut stranger = TcpStream::from(socket);
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut hello = Vec::new();
        LinkFrame::Hello(1, [0, 1, 2, 3].map(|group| standing(group, 9)).to_vec()).put(&mut hello);
        // It may be cut before it has said that.
        let _ = stranger.write_all(&hello);
        assert_eq!(stranger.read(&mut [0; 16]).unwrap_or(0), 0, "it is told nothing, and cut");
        assert_eq!(two.metrics.link_strangers.load(Relaxed), strangers);
        assert!(two.fronts.iter().all(|front| front.pop().is_none()), "no executor hears of it");
    };
    knock(1);
    let one = s1(address);
    let sessions = come_up(&one, &two);
    for round in 0..20 {
        knock(2 + round);
        expect_both_ways(&one, &two, sessions, round);
    }
    assert_eq!(two.metrics.link_ups.load(Relaxed), 1);
    assert_eq!(one.metrics.link_strangers.load(Relaxed), 0);
}

/// S1 gets to something that is no S2: it complains, tries again, and is linked as soon as the right one is there.
#[test]
fn what_answers_and_is_no_server_is_tried_again() {
    let impostor = TcpListener::bind(loopback(0)).unwrap();
    let address = impostor.local_addr().unwrap();
    let one = s1(address);
    let mut answers = vec![Code::HelloExpected.frame(0, 0, 0).to_vec(), vec![0; 100], Vec::new()];
    for early in [present(1, 1), LinkFrame::Hello(1, vec![])] {
        answers.push(Vec::new());
        early.put(answers.last_mut().unwrap());
    }
    for answer in answers {
        let (mut socket, _) = impostor.accept().unwrap();
        one.answer(7);
        let mut header = [0; 8];
        socket.read_exact(&mut header).unwrap();
        assert_eq!(header[1], 0x41);
        socket.write_all(&answer).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        // Until it hangs up.
        let _ = socket.read_to_end(&mut Vec::new());
    }
    drop(impostor);
    let two = end(ServerSide::Two, Some(address), None);
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| one.answer_until_up(7, 8));
        let second = two.answer_until_up(8, 7);
        (first.join().unwrap(), second)
    });
    expect_both_ways(&one, &two, [first, second], 1);
}

/// The other server takes nothing: what there is to say is bounded, and the session ends. Nobody waits for it.
#[test]
fn one_that_does_not_read_is_cut() {
    let two = s2();
    let mut peer = TcpStream::connect(two.address()).unwrap();
    let mut hello = Vec::new();
    LinkFrame::Hello(1, [0, 1, 2, 3].map(|group| standing(group, 7)).to_vec()).put(&mut hello);
    peer.write_all(&hello).unwrap();
    let session = two.answer(8);
    two.expect_up(session, 7);
    let mut round = 0;
    while two.metrics.link_up.load(Relaxed) == 1 {
        assert!(round < 10_000_000, "it is not cut");
        two.handle.send(ToLink::Frame(session, present(0, round)));
        round += 1;
    }
    two.expect_down();
    // Whoever comes then is linked.
    let one = s1(two.address());
    let sessions = come_up(&one, &two);
    expect_both_ways(&one, &two, sessions, 1);
}
