//! The compact profile's sending and receiving code against the vectors of an independent model. They lie in
//! `tests/vectors/`; `TWINCAST_VECTORS` names another directory with the same files, made with other seeds
//! and frame sizes. The other formats' vectors are checked in `vectors_formats.rs`.

use common::Stream;
use files::{bytes, compact_header, number};
use serde_json::Value;
use twincast_protocol::compact::{SplitBuffers, split};
use twincast_protocol::confirm::{CONFIRMATION_BYTES, ConfirmationMaker, open_confirmations};
use twincast_protocol::context::Context;
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::MemberIndex;
use twincast_protocol::receive::{BatchOpener, Expectation, Expected, TileCells, Verdict, open};
use twincast_protocol::session_key::{SessionKey, dial};

mod common;
#[path = "common/files.rs"]
mod files;

struct File {
    size: FrameBytes,
    context: Context,
    cases: Vec<Value>,
}

/// One case, sent again from its seed.
struct Sent<'a> {
    name: &'a str,
    case: &'a Value,
    keys: [SessionKey; 2],
    halves: [[Vec<u8>; 2]; 2],
    rng: Stream,
}

fn read(name: &str) -> File {
    let (header, cases) = files::read(name);
    let (size, context) = compact_header(&header);
    File { size, context, cases }
}

impl File {
    /// Draws and computes everything of a case up to the halves, and compares it.
    fn send<'a>(&self, case: &'a Value) -> Sent<'a> {
        let name = files::name(case);
        let mut rng = Stream::new(&files::seed(case));
        let recipients: Vec<_> = match case["recipients"].as_array() {
            Some(recipients) => recipients.iter().map(|index| MemberIndex(number(index))).collect(),
            None => vec![MemberIndex(number(&case["recipient"]))],
        };
        let (p1, p2) = dial(number(&case["n"]), &recipients, &mut rng).expect("recipients are members");
        assert_eq!(p1.as_bytes(), bytes(&case["P1"]), "{name}: P1");
        assert_eq!(p2.as_bytes(), bytes(&case["P2"]), "{name}: P2");

        let mut halves: [[Vec<u8>; 2]; 2] = Default::default();
        halves.iter_mut().flatten().for_each(|half| half.resize(self.size.share_bytes(), 0));
        let [s1, s2] = halves.each_mut().map(|halves| halves.each_mut().map(Vec::as_mut_slice));
        split(self.size, &self.context, &bytes(&case["message"]), &mut rng, SplitBuffers { s1, s2 })
            .expect("the message fits");
        for (server, halves) in ["S1", "S2"].into_iter().zip(&halves) {
            for (index, half) in halves.iter().enumerate() {
                assert_eq!(*half, bytes(&case[server][index]), "{name}: {server}, half {index}");
            }
        }
        for (codeword, server2_half) in [("M", 1), ("D", 0)] {
            let sum: Vec<_> = xor(&halves[0][0], &halves[1][server2_half]);
            assert_eq!(sum, bytes(&case[codeword]), "{name}: {codeword}");
        }
        Sent { name, case, keys: [p1, p2], halves, rng }
    }

    /// The verdict on a pair of cells as the vectors write it, and the message; single and batch must agree.
    fn verdict(&self, cells: [&[u8]; 2], expectation: Expectation) -> (char, Option<Vec<u8>>) {
        let mut scratch = vec![0; self.size.share_bytes()];
        let [cell1, cell2] = cells;
        let single = match open(self.size, &self.context, Some(cell1), Some(cell2), expectation, &mut scratch)
        {
            Verdict::Accept(message) => ('A', Some(message.to_vec())),
            Verdict::Ignore => ('.', None),
            Verdict::Tampered => ('T', None),
            Verdict::Absent | Verdict::Incomplete => panic!("both cells are there"),
        };
        // The sender stands at every place of a tile that its index allows.
        for place in 0..=self.context.sender.0.min(63) {
            assert_eq!(self.batch_verdict(cells, expectation, place), single, "place {place} of a tile");
        }
        single
    }

    fn batch_verdict(
        &self,
        cells: [&[u8]; 2],
        expectation: Expectation,
        place: u32,
    ) -> (char, Option<Vec<u8>>) {
        let share_bytes = self.size.share_bytes();
        let base = Context { sender: MemberIndex(self.context.sender.0 - place), ..self.context };
        let this = 1 << place;
        let tiles = cells.map(|cell| [vec![0; place as usize * share_bytes].as_slice(), cell].concat());
        let tile = TileCells {
            count: place as usize + 1,
            cells: tiles.each_ref().map(Vec::as_slice),
            present: [this, this],
        };
        let expected = Expected {
            confirmed: expectation != Expectation::Unconfirmed,
            real: if expectation == Expectation::Real { this } else { 0 },
            failed: if expectation == Expectation::Failed { this } else { 0 },
        };
        let mut opener = BatchOpener::new(self.size);
        let verdicts = opener.open(&base, &tile, expected);
        assert_eq!(verdicts.absent, this - 1);
        match (verdicts.accept, verdicts.ignore, verdicts.tampered) {
            (accept, 0, 0) if accept == this => ('A', Some(opener.message(place as usize).to_vec())),
            (0, ignore, 0) if ignore == this => ('.', None),
            (0, 0, tampered) if tampered == this => ('T', None),
            _ => panic!("one verdict: {verdicts:?}"),
        }
    }
}

impl Sent<'_> {
    fn members(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        (0..self.keys[0].members()).map(MemberIndex)
    }

    fn bits(&self, member: MemberIndex) -> [usize; 2] {
        self.keys.each_ref().map(|key| usize::from(key.bit(member)))
    }

    fn expectation(&self, member: MemberIndex) -> Expectation {
        match self.bits(member) {
            [bit1, bit2] if bit1 == bit2 => Expectation::Dummy,
            _ => Expectation::Real,
        }
    }

    fn cells(&self, [half1, half2]: [usize; 2]) -> [&[u8]; 2] {
        [&self.halves[0][half1], &self.halves[1][half2]]
    }

    /// Every member decodes its two cells, with and without confirmation.
    fn check_verdicts(&self, file: &File) {
        let expected = self.case["verdicts"].as_str().expect("verdicts");
        assert_eq!(expected.len(), self.members().count(), "{}: a verdict for everybody", self.name);
        for (member, expected) in self.members().zip(expected.chars()) {
            let message = &self.case["messages"][member.to_string()];
            let message = message.is_string().then(|| bytes(message));
            for expectation in [Expectation::Unconfirmed, self.expectation(member)] {
                let verdict = file.verdict(self.cells(self.bits(member)), expectation);
                assert_eq!(verdict, (expected, message.clone()), "{}: member {member}", self.name);
            }
            let (verdict, _) = file.verdict(self.cells(self.bits(member)), Expectation::Failed);
            assert_eq!(verdict, 'T', "{}: member {member}, failed confirmation", self.name);
        }
    }

    fn check_tampered(&self, file: &File) {
        let recipient = MemberIndex(number(&self.case["recipient"]));
        let [_, cell2] = self.cells(self.bits(recipient));
        for tampered in self.case["tampered_s1_share_of_recipient"].as_array().into_iter().flatten() {
            let cell1 = bytes(&tampered["share"]);
            assert_eq!(tampered["verdict"], "tampered");
            for expectation in [Expectation::Unconfirmed, Expectation::Real] {
                let (verdict, _) = file.verdict([&cell1, cell2], expectation);
                assert_eq!(verdict, 'T', "{}: {}", self.name, tampered["kind"]);
            }
        }
    }

    fn check_other_half(&self, file: &File) {
        let expected = self.case["verdicts_if_s1_hands_out_the_other_half"].as_str().expect("verdicts");
        for (member, expected) in self.members().zip(expected.chars()) {
            let [bit1, bit2] = self.bits(member);
            let (verdict, _) = file.verdict(self.cells([1 - bit1, bit2]), self.expectation(member));
            assert_eq!(verdict, expected, "{}: member {member}", self.name);
        }
    }

    /// Makes the bit confirmations from the rest of the stream, and has every member open its own.
    fn check_confirmations(&mut self, file: &File) {
        let Some(expected) = self.case.get("bit_confirm") else { return };
        let Context { group, epoch, sender, slot, .. } = file.context;
        let [p1, p2] = &self.keys;
        let mut parts = [(); 2].map(|()| vec![0; p1.members() as usize * CONFIRMATION_BYTES]);
        let [parts1, parts2] = &mut parts;
        let maker = ConfirmationMaker::new(group, epoch, sender, slot, p1, p2);
        maker.explicit_parts(MemberIndex(0), &mut self.rng, parts1, parts2);
        for member in self.members() {
            let at = member.0 as usize * CONFIRMATION_BYTES;
            let cells = parts.each_ref().map(|parts| &parts[at..at + CONFIRMATION_BYTES]);
            for (server, cell) in ["s1", "s2"].into_iter().zip(cells) {
                let expected = bytes(&expected[server][member.0 as usize]);
                assert_eq!(cell, expected, "{}: confirmation of {member} at {server}", self.name);
            }
            let tile = TileCells { count: 1, cells, present: [1, 1] };
            let opened = open_confirmations(group, epoch, sender, slot, &tile);
            let bits = [opened.bits1, opened.bits2].map(|bit| bit as usize);
            assert_eq!((bits, opened.failed), (self.bits(member), 0), "{}: member {member}", self.name);
            assert_eq!(opened.real == 1, self.expectation(member) == Expectation::Real);
        }
    }

    fn check_stream(&self) {
        if let Some(bytes_used) = self.case["stream_bytes_used"].as_u64() {
            assert_eq!(self.rng.bytes_used, bytes_used, "{}: bytes drawn", self.name);
        }
    }
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

#[test]
fn compact_one_vectors() {
    let file = read("compact_one.json");
    let mut tampered = 0;
    for case in &file.cases {
        let sent = file.send(case);
        sent.check_stream();
        sent.check_verdicts(&file);
        sent.check_tampered(&file);
        tampered += case["tampered_s1_share_of_recipient"].as_array().map_or(0, Vec::len);
    }
    assert!(tampered > 0, "some cases have altered shares");
}

#[test]
fn compact_subset_vectors() {
    let file = read("compact_subset.json");
    let mut confirmed = 0;
    for case in &file.cases {
        let mut sent = file.send(case);
        sent.check_verdicts(&file);
        sent.check_other_half(&file);
        sent.check_confirmations(&file);
        sent.check_stream();
        confirmed += usize::from(case.get("bit_confirm").is_some());
    }
    assert!(confirmed > 0, "some cases have bit confirmations");
}
