//! Every format but the compact profile's plain one against the vectors of an independent model, through the
//! same calls that client and server use. `TWINCAST_VECTORS` names another directory with the same files.

use common::Stream;
use files::{bytes, compact_header, name, number, read, seed};
use serde_json::Value;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::format::{Opener, Profile, Scheme, ShareFormat, dial, split, split_one_to_many};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::paper::moduli;
use twincast_protocol::paper::shares::{PaperFrame, PaperShares, Sharing};
use twincast_protocol::paper::sharing::SumBuffers;
use twincast_protocol::receive::{Expected, TileCells, Verdicts};
use twincast_protocol::session_key::SessionKey;

mod common;
#[path = "common/files.rs"]
mod files;

/// The paper profiles have no context in their code.
const NO_CONTEXT: Context = Context {
    group: GroupId(0),
    epoch: Epoch(0),
    round: RoundNumber(0),
    sender: MemberIndex(0),
    slot: SlotIndex(0),
    purpose: Purpose::Message,
};

/// What one sender gives the servers for a slot of a round.
struct Sent {
    format: ShareFormat,
    context: Context,
    /// Per server, which half each member gets.
    choices: [Vec<u16>; 2],
    rows: [Vec<u8>; 2],
}

fn rows(format: &ShareFormat) -> [Vec<u8>; 2] {
    ServerSide::BOTH.map(|side| vec![0; format.row_bytes(side)])
}

fn choices(key: &SessionKey) -> Vec<u16> {
    (0..key.members()).map(|member| key.bit(MemberIndex(member)).into()).collect()
}

impl Sent {
    /// Dials and splits as the case says, from its seed.
    fn of_dial(
        case: &Value,
        format: ShareFormat,
        context: Context,
        recipients: &[MemberIndex],
    ) -> (Sent, Stream) {
        let mut rng = Stream::new(&seed(case));
        let (p1, p2, aim) =
            dial(&format, number(&case["n"]), recipients, &mut rng).expect("recipients are members");
        for (key, expected) in [(&p1, "P1"), (&p2, "P2")] {
            assert_eq!(key.as_bytes(), bytes(&case[expected]), "{}: {expected}", name(case));
        }
        let mut sent = Sent { format, context, choices: [choices(&p1), choices(&p2)], rows: rows(&format) };
        let out = sent.rows.each_mut().map(Vec::as_mut_slice);
        split(&format, &context, &aim, &bytes(&case["message"]), &mut rng, out).expect("the message fits");
        (sent, rng)
    }

    fn half(&self, side: ServerSide, half: usize) -> &[u8] {
        let bytes = self.format.cell_bytes(side);
        &self.rows[side.index()][half * bytes..][..bytes]
    }

    fn cells(&self, member: u32) -> [&[u8]; 2] {
        ServerSide::BOTH.map(|side| self.half(side, self.choices[side.index()][member as usize].into()))
    }

    /// What the sender's cells are to one member: as the vectors write it, and the message. Without
    /// confirmation, with a right one and with a failed one.
    fn verdict(&self, opener: &mut Opener, cells: [&[u8]; 2], differ: bool) -> (char, Option<Vec<u8>>) {
        let tile = TileCells { count: 1, cells, present: [1, 1] };
        let failed = Expected { confirmed: true, real: u64::from(differ), failed: 1 };
        let verdicts = opener.open(&self.context, &tile, failed);
        assert_eq!(verdicts, Verdicts { tampered: 1, ..Verdicts::default() }, "a failed confirmation");
        let expected =
            [Expected { confirmed: true, real: u64::from(differ), failed: 0 }, Expected::UNCONFIRMED];
        let [confirmed, unconfirmed] =
            expected.map(|expected| match opener.open(&self.context, &tile, expected) {
                Verdicts { accept: 1, ignore: 0, tampered: 0, absent: 0, incomplete: 0 } => {
                    ('A', Some(opener.message(0).to_vec()))
                }
                Verdicts { accept: 0, ignore: 1, tampered: 0, absent: 0, incomplete: 0 } => ('.', None),
                Verdicts { accept: 0, ignore: 0, tampered: 1, absent: 0, incomplete: 0 } => ('T', None),
                verdicts => panic!("one verdict: {verdicts:?}"),
            });
        assert_eq!(confirmed, unconfirmed);
        unconfirmed
    }

    /// Every member decodes its two cells; `verdicts` and `messages` are the vectors'.
    fn check_verdicts(&self, name: &str, members: &[u32], verdicts: &Value, messages: &Value) {
        let verdicts = verdicts.as_str().expect("verdicts");
        assert_eq!(verdicts.len(), members.len(), "{name}: a verdict for everybody");
        let mut opener = Opener::new(self.format);
        for ((index, member), expected) in members.iter().enumerate().zip(verdicts.chars()) {
            let message = &messages[index.to_string()];
            let message = message.is_string().then(|| bytes(message));
            let differ = self.choices[0][*member as usize] != self.choices[1][*member as usize];
            let verdict = self.verdict(&mut opener, self.cells(*member), differ);
            assert_eq!(verdict, (expected, message), "{name}: member {member}");
        }
    }
}

fn check_paper(file: &str, profile: Profile, sharing: Sharing) {
    let shares = PaperShares::new(sharing, PaperFrame::new(256).expect("the paper's frame"));
    let (header, cases) = read(file);
    assert_eq!(moduli::q().to_str_radix(16), header["q"], "q");
    assert_eq!(moduli::p().to_str_radix(16), header["p"], "p");
    let format = ShareFormat::new(profile, 256, Scheme::Plain).expect("the paper's frame");
    let mut tampered_count = 0;
    for case in &cases {
        let name = name(case);
        let recipient = number(&case["recipient"]);
        let (sent, rng) = Sent::of_dial(case, format, NO_CONTEXT, &[MemberIndex(recipient)]);
        for (side, server) in ServerSide::BOTH.into_iter().zip(["S1", "S2"]) {
            for half in 0..2 {
                assert_eq!(
                    sent.half(side, half),
                    bytes(&case[server][half]),
                    "{name}: {server}, half {half}"
                );
            }
        }
        // Who gets what together: the recipient M, equal bits a dummy each.
        let side = usize::from(sent.choices[0][recipient as usize]);
        for (expected, [half1, half2]) in [("M", [side, 1 - side]), ("D1", [0, 0]), ("D2", [1, 1])] {
            let expected = bytes(&case[expected]);
            let [share1, share2] = [sent.half(ServerSide::One, half1), sent.half(ServerSide::Two, half2)];
            let mut sum = share1.to_vec();
            assert!(shares.group().add(&mut SumBuffers::default(), &mut sum, share2), "{name}: in the group");
            assert!(sum.ends_with(&expected) && shares.group().is_plaintext(&sum), "{name}: a codeword");
        }
        assert_eq!(Some(rng.bytes_used), case["stream_bytes_used"].as_u64(), "{name}: bytes drawn");
        let members: Vec<_> = (0..number(&case["n"])).collect();
        sent.check_verdicts(name, &members, &case["verdicts"], &case["messages"]);

        let mut opener = Opener::new(format);
        let [_, cell2] = sent.cells(recipient);
        for tampered in case["tampered_s1_share_of_recipient"].as_array().into_iter().flatten() {
            assert_eq!(tampered["verdict"], "tampered");
            let cell1 = bytes(&tampered["share"]);
            let (verdict, _) = sent.verdict(&mut opener, [&cell1, cell2], true);
            assert_eq!(verdict, 'T', "{name}: {}", tampered["kind"]);
            tampered_count += 1;
        }
    }
    assert!(tampered_count > 0, "some cases have altered shares");
}

#[test]
fn paper_xor_vectors() {
    check_paper("paper_xor.json", Profile::PaperXor, Sharing::Xor);
}

#[test]
fn paper_add_vectors() {
    check_paper("paper_add.json", Profile::PaperAdd, Sharing::Add);
}

#[test]
fn compact_alg4_vectors() {
    let (header, cases) = read("compact_alg4.json");
    let (size, context) = compact_header(&header);
    let frame_bytes = size.bytes() as u32;
    let format = ShareFormat::new(Profile::Compact, frame_bytes, Scheme::Algorithm4).expect("a frame size");
    for case in &cases {
        let name = name(case);
        let recipients: Vec<_> = members(&case["tau"]).into_iter().map(MemberIndex).collect();
        let (sent, _) = Sent::of_dial(case, format, context, &recipients);
        for half in 0..2 {
            let pair = [bytes(&case["S1"][half][0]), bytes(&case["S1"][half][1])].concat();
            assert_eq!(sent.half(ServerSide::One, half), pair, "{name}: S1, pair {half}");
            assert_eq!(sent.half(ServerSide::Two, half), bytes(&case["S2"][half]), "{name}: S2, half {half}");
        }
        let everybody: Vec<_> = (0..number(&case["n"])).collect();
        let swapped = everybody
            .iter()
            .filter(|member| sent.choices[0][**member as usize] != sent.choices[1][**member as usize]);
        let mut expected = [members(&case["tau"]), members(&case["hat"])].concat();
        expected.sort_unstable();
        assert!(swapped.eq(&expected), "{name}: recipients and decoys are swapped");
        sent.check_verdicts(name, &everybody, &case["verdicts"], &case["messages"]);

        for decoy in members(&case["hat"]) {
            let [pair, other] = sent.cells(decoy);
            let (share, extra) = pair.split_at(other.len());
            let sum: Vec<_> = share.iter().zip(extra).zip(other).map(|((a, b), c)| a ^ b ^ c).collect();
            assert_eq!(sum, bytes(&case["D3"]), "{name}: what decoy {decoy} reads");
        }
        for recipient in &recipients {
            let side = sent.choices[0][recipient.0 as usize];
            assert_eq!(u32::from(side), number(&case["side"]), "{name}: the recipients' side");
        }
    }
}

fn members(value: &Value) -> Vec<u32> {
    value.as_array().expect("members").iter().map(number).collect()
}

#[test]
fn compact_one_to_many_vectors() {
    let (header, cases) = read("compact_one_to_many.json");
    let (size, context) = compact_header(&header);
    for case in &cases {
        let name = name(case);
        let n = number(&case["n"]);
        let messages: Vec<_> = case["messages_in"]
            .as_array()
            .expect("messages")
            .iter()
            .map(|message| (MemberIndex(number(&message[0])), bytes(&message[1])))
            .collect();
        let messages: Vec<_> = messages.iter().map(|(member, text)| (*member, text.as_slice())).collect();
        let groups = case["groups"].as_array().expect("subgroups");
        // A subgroup more than the round uses: its halves are drawn last.
        let scheme = Scheme::OneToMany { subgroups_max: groups.len() as u16 + 1 };
        let format = ShareFormat::new(Profile::Compact, size.bytes() as u32, scheme).expect("a frame size");
        let mut sent = Sent {
            format,
            context,
            choices: [vec![u16::MAX; n as usize], vec![u16::MAX; n as usize]],
            rows: rows(&format),
        };
        let noise = number(&case["noise"]) as u16;
        let choices = sent.choices.each_mut().map(Vec::as_mut_slice);
        let out = sent.rows.each_mut().map(Vec::as_mut_slice);
        let mut rng = Stream::new(&seed(case));
        split_one_to_many(&format, n, &context, &messages, noise, &mut rng, choices, out).expect("it fits");

        for (index, group) in groups.iter().enumerate() {
            let members = members(&group["members"]);
            for (side, [key, server]) in ServerSide::BOTH.into_iter().zip([["P1", "S1"], ["P2", "S2"]]) {
                let key = SessionKey::from_bytes(members.len() as u32, &bytes(&group[key])).expect("a key");
                for (local, member) in (0..).map(MemberIndex).zip(&members) {
                    let word = 2 * index + usize::from(key.bit(local));
                    assert_eq!(
                        usize::from(sent.choices[side.index()][*member as usize]),
                        word,
                        "{name}: {member}"
                    );
                }
                for half in 0..2 {
                    let written = sent.half(side, 2 * index + half);
                    assert_eq!(written, bytes(&group[server][half]), "{name}: {server}, {index}, {half}");
                }
            }
            sent.check_verdicts(name, &members, &group["verdicts"], &group["messages"]);
        }
    }
}
