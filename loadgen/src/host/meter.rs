//! What the bytes of a host's connections were for: frames told apart by their headers as they pass.
//!
//! A frame counts when its last byte has passed, whole, for what it is for: attaching, an epoch's members, its dials,
//! confirmations or keys, a round, headers, or something else. Cells are never looked at.

use crate::control::{EpochReport, Flow, Phase};
use std::collections::BTreeMap;
use std::time::Duration;
use twincast_protocol::context::Purpose;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{
    Announce, Body, Deliver, Dial, Dialled, EpochOpen, Fetch, Grant, HEADER_BYTES, Header, Kind, PartsHead,
    Roster,
};

/// Bytes of a frame from which everything is known that it is counted by.
const HEAD_BYTES: usize = HEADER_BYTES + size_of::<Deliver>();

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// One direction of one connection.
#[derive(Debug)]
pub(super) struct Scanner {
    server: ServerSide,
    way: Way,
    /// The start of the frame that is passing.
    head: [u8; HEAD_BYTES],
    known: usize,
    /// Bytes of that frame that have not passed; known once its header is.
    left: Option<u64>,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Attaching,
    Members(u32),
    Granting(u32),
    Dialling(u32),
    Confirming(u32),
    Keys(u32),
    Rounds,
    Headers,
    Other,
}

/// All connections of a host.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) attach: Flow,
    pub(super) messages: Flow,
    pub(super) headers: Flow,
    pub(super) other: Flow,
    epochs: BTreeMap<u32, EpochMeter>,
}

#[derive(Clone, Copy, Debug, Default)]
struct EpochMeter {
    report: EpochReport,
    dial: Span,
    confirm: Span,
    keys: Span,
}

/// From the first to the last moment that something was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Span(Option<(Duration, Duration)>);

impl Span {
    fn seen(&mut self, now: Duration) {
        let (first, _) = self.0.unwrap_or((now, now));
        self.0 = Some((first, now));
    }

    fn seconds(&self) -> f64 {
        self.0.map_or(0.0, |(first, last)| (last - first).as_secs_f64())
    }
}

impl Scanner {
    pub(super) fn new(server: ServerSide, way: Way) -> Scanner {
        Scanner { server, way, head: [0; HEAD_BYTES], known: 0, left: None }
    }

    /// These bytes pass. What is no frame counts as something else from there on; the client tells what it was.
    pub(super) fn pass(&mut self, mut bytes: &[u8], now: Duration, meter: &mut Meter) {
        while !bytes.is_empty() {
            let wanted = match self.left {
                None => HEADER_BYTES - self.known,
                Some(left) => usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()),
            };
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            let kept = taken.len().min(HEAD_BYTES - self.known);
            self.head[self.known..self.known + kept].copy_from_slice(&taken[..kept]);
            self.known += kept;
            match &mut self.left {
                Some(left) => *left -= taken.len() as u64,
                None if self.known == HEADER_BYTES => {
                    let header = self.head.first_chunk().map(Header::parse);
                    let Some(Ok(header)) = header else {
                        self.count(For::Other, HEADER_BYTES as u64, now, meter);
                        self.known = 0;
                        continue;
                    };
                    self.left = Some(header.body_bytes.into());
                }
                None => {}
            }
            if self.left == Some(0) {
                self.frame(now, meter);
            }
        }
    }

    /// The whole frame has passed.
    fn frame(&mut self, now: Duration, meter: &mut Meter) {
        let header = self.head.first_chunk().map(Header::parse);
        if let Some(Ok(header)) = header {
            let what = purpose(header.kind, &self.head[HEADER_BYTES..self.known]).unwrap_or(For::Other);
            self.count(what, HEADER_BYTES as u64 + u64::from(header.body_bytes), now, meter);
        }
        (self.known, self.left) = (0, None);
    }

    fn count(&self, what: For, bytes: u64, now: Duration, meter: &mut Meter) {
        let flow = match what {
            For::Attaching => &mut meter.attach,
            For::Rounds => &mut meter.messages,
            For::Headers => &mut meter.headers,
            For::Other => &mut meter.other,
            For::Members(epoch) => &mut meter.epochs.entry(epoch).or_default().report.members,
            For::Granting(epoch) => &mut meter.epochs.entry(epoch).or_default().report.grants,
            For::Dialling(epoch) => {
                let of = meter.epochs.entry(epoch).or_default();
                of.dial.seen(now);
                &mut of.report.dial.bytes
            }
            For::Confirming(epoch) => {
                let of = meter.epochs.entry(epoch).or_default();
                of.confirm.seen(now);
                &mut of.report.confirm.bytes
            }
            For::Keys(epoch) => {
                let of = meter.epochs.entry(epoch).or_default();
                of.keys.seen(now);
                &mut of.report.keys.bytes
            }
        };
        let side = match self.way {
            Way::Up => &mut flow.up,
            Way::Down => &mut flow.down,
        };
        side[self.server.index()] += bytes;
    }
}

/// What a frame is for, by its kind and the fixed part of its body.
fn purpose(kind: Kind, body: &[u8]) -> Option<For> {
    fn head<T: Body>(body: &[u8]) -> Option<T> {
        T::parse_prefix(body).ok().map(|(head, _)| head)
    }
    let parts = |purpose: u32, epoch: u32| match purpose {
        number if number == Purpose::Confirmation as u32 => For::Confirming(epoch),
        _ => For::Keys(epoch),
    };
    Some(match kind {
        Kind::Hello | Kind::Welcome | Kind::Leave => For::Attaching,
        Kind::Announce => For::Members(head::<Announce>(body)?.epoch.get()),
        Kind::Roster => For::Members(head::<Roster>(body)?.epoch.get()),
        Kind::EpochOpen => For::Members(head::<EpochOpen>(body)?.epoch.get()),
        Kind::Dial => For::Dialling(head::<Dial>(body)?.epoch.get()),
        Kind::Dialled => For::Dialling(head::<Dialled>(body)?.epoch.get()),
        Kind::PartsSeed | Kind::Parts => {
            let head: PartsHead = head(body)?;
            parts(head.purpose.get(), head.epoch.get())
        }
        Kind::Grant => For::Granting(head::<Grant>(body)?.epoch.get()),
        Kind::Fetch => {
            let head: Fetch = head(body)?;
            parts(head.purpose.get(), head.epoch.get())
        }
        Kind::Deliver => {
            let head: Deliver = head(body)?;
            match head.purpose.get() {
                0 => For::Rounds,
                number => parts(number, head.epoch.get()),
            }
        }
        Kind::Submit | Kind::RoundEnd | Kind::RoundSkipped | Kind::Answers => For::Rounds,
        Kind::FetchHeaders | Kind::Headers => For::Headers,
        _ => For::Other,
    })
}

impl Meter {
    /// A connection has an epoch open, with so many confirmations opened and failed.
    pub(super) fn opened(&mut self, epoch: u32, confirmed: u64, failed: u64) {
        let report = &mut self.epochs.entry(epoch).or_default().report;
        report.confirm_cells += confirmed;
        report.confirm_failed += failed;
    }

    /// A connection's members have so many keys with others.
    pub(super) fn exchanged(&mut self, epoch: u32, pairs: u64, failed: u64) {
        let report = &mut self.epochs.entry(epoch).or_default().report;
        report.key_pairs += pairs;
        report.keys_failed += failed;
    }

    /// Every epoch so far; `open` tells whether all connections have it open.
    pub(super) fn epochs(&self, open: impl Fn(u32) -> bool) -> Vec<EpochReport> {
        let phase = |of: Phase, span: &Span| Phase { seconds: span.seconds(), ..of };
        let report = |(epoch, of): (&u32, &EpochMeter)| EpochReport {
            epoch: *epoch,
            open: open(*epoch),
            dial: phase(of.report.dial, &of.dial),
            confirm: phase(of.report.confirm, &of.confirm),
            keys: phase(of.report.keys, &of.keys),
            ..of.report
        };
        self.epochs.iter().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex, UserId};
    use twincast_protocol::wire::{Code, FetchHeaders, Hello, RoundEnd, Submit};

    fn deliver(purpose: u32, epoch: u32) -> Vec<u8> {
        let head = Deliver {
            round: 1.into(),
            present: 0.into(),
            epoch: epoch.into(),
            slot: 0.into(),
            tile: 0.into(),
            first_sender: 0.into(),
            senders: 1.into(),
            cell_bytes: 40.into(),
            users: 2.into(),
            purpose: purpose.into(),
            lost: 0.into(),
        };
        let mut frame = Vec::new();
        head.put(80, &mut frame);
        frame.resize(frame.len() + 80, 7);
        frame
    }

    /// One frame of each sort, with what it is for.
    fn frames() -> Vec<(For, Vec<u8>)> {
        let with_tail = |mut frame: Vec<u8>, tail: usize| {
            frame.resize(frame.len() + tail, 1);
            frame
        };
        let (epoch, sender, slot) = (Epoch(4), MemberIndex(2), SlotIndex(0));
        let mut dial = Vec::new();
        Dial::new(9, epoch, sender, slot).put(3, &mut dial);
        let seed = PartsHead::new(epoch, sender, slot, Purpose::KeyReply).seed_frame(&[1; 32]);
        let mut submit = Vec::new();
        Submit::new(RoundNumber(1), sender, false).put(100, &mut submit);
        let fetch = FetchHeaders::new(RoundNumber(1), epoch, sender, slot, 0).frame().to_vec();
        vec![
            (
                For::Attaching,
                Hello::frame(GroupId(0), epoch, ServerSide::One, false, &[UserId(1), UserId(3)]),
            ),
            (For::Members(7), Roster::frames(Epoch(7), &[UserId(1), UserId(3)]).to_vec()),
            (For::Members(4), EpochOpen::new(epoch, 2, RoundNumber(9)).frame().to_vec()),
            (For::Dialling(4), with_tail(dial, 3)),
            (For::Dialling(4), Dialled::new(9, epoch, sender, slot).frame().to_vec()),
            (For::Keys(4), seed),
            (For::Granting(4), Grant::new(Purpose::Confirmation, epoch, slot, sender, 1).frame().to_vec()),
            (For::Confirming(5), deliver(1, 5)),
            (For::Keys(5), deliver(2, 5)),
            (For::Rounds, deliver(0, 5)),
            (For::Rounds, with_tail(submit, 100)),
            (For::Rounds, RoundEnd::new(1, 2, 3).frame().to_vec()),
            (For::Headers, fetch),
            (For::Other, Code::RoundSealed.frame(0, 0, 1).to_vec()),
        ]
    }

    /// The same totals however the bytes are cut.
    #[test]
    fn frames_are_told_apart_however_they_are_cut() {
        let stream: Vec<u8> = frames().into_iter().flat_map(|(_, frame)| frame).collect();
        for step in [1, 2, 7, 8, 9, 63, 64, 65, 1000, stream.len()] {
            let mut meter = Meter::default();
            let mut scanner = Scanner::new(ServerSide::Two, Way::Down);
            for (index, piece) in stream.chunks(step).enumerate() {
                scanner.pass(piece, Duration::from_millis(index as u64), &mut meter);
            }
            let sum = |what: fn(&For) -> bool| -> u64 {
                frames().iter().filter(|(of, _)| what(of)).map(|(_, frame)| frame.len() as u64).sum()
            };
            let down = |flow: Flow| {
                assert_eq!((flow.up, flow.down[0]), ([0, 0], 0));
                flow.down[1]
            };
            assert_eq!(down(meter.attach), sum(|of| *of == For::Attaching));
            assert_eq!(down(meter.messages), sum(|of| *of == For::Rounds));
            assert_eq!(down(meter.headers), sum(|of| *of == For::Headers));
            assert_eq!(down(meter.other), sum(|of| *of == For::Other));
            let epochs = meter.epochs(|epoch| epoch == 4);
            assert_eq!(
                epochs.iter().map(|of| (of.epoch, of.open)).collect::<Vec<_>>(),
                [(4, true), (5, false), (7, false)]
            );
            assert_eq!(down(epochs[0].members), sum(|of| *of == For::Members(4)));
            assert_eq!(down(epochs[0].grants), sum(|of| *of == For::Granting(4)));
            assert_eq!(down(epochs[0].dial.bytes), sum(|of| *of == For::Dialling(4)));
            assert_eq!(down(epochs[0].confirm.bytes), sum(|of| *of == For::Confirming(4)));
            assert_eq!(down(epochs[0].keys.bytes), sum(|of| *of == For::Keys(4)));
            assert_eq!(down(epochs[1].confirm.bytes), sum(|of| *of == For::Confirming(5)));
        }
    }

    #[test]
    fn a_phase_lasts_from_its_first_to_its_last_frame() {
        let mut meter = Meter::default();
        let mut scanner = Scanner::new(ServerSide::One, Way::Up);
        for (purpose, second) in [(1, 2), (1, 5), (2, 6), (3, 9)] {
            scanner.pass(&deliver(purpose, 0), Duration::from_secs(second), &mut meter);
        }
        meter.opened(0, 8, 1);
        meter.exchanged(0, 6, 2);
        let epoch = meter.epochs(|_| true)[0];
        assert_eq!((epoch.confirm.seconds, epoch.keys.seconds, epoch.dial.seconds), (3.0, 3.0, 0.0));
        assert_eq!((epoch.confirm_cells, epoch.confirm_failed), (8, 1));
        assert_eq!((epoch.key_pairs, epoch.keys_failed), (6, 2));
    }

    #[test]
    fn what_is_no_frame_counts_as_something_else() {
        let mut meter = Meter::default();
        let mut scanner = Scanner::new(ServerSide::One, Way::Down);
        scanner.pass(b"HTTP/1.1 400 Bad Request", Duration::ZERO, &mut meter);
        assert_eq!(meter.other.down, [24, 0]);
    }
}
