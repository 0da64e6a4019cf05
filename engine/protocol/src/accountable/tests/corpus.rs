//! What the fuzz corpus of evidence and headers is made of: whole files, which nobody types. `cargo test -p
//! twincast-protocol --lib write_corpus -- --ignored` writes them anew where their format changes.

use super::model::{GROUP, Gave, Mischief, ROUND, Who, World};
use super::{BY_SENDER, share};
use crate::accountable::evidence::{Case, Evidence, Receipt, Receipts, RosterReceipt};
use crate::ids::ServerSide;
use crate::statements;
use std::path::Path;

/// A name and a text for each kind of evidence: whole where blame is to find its way, and as a client makes it.
fn files() -> Vec<(&'static str, Evidence)> {
    let world = |seed| World::new(seed, 3, &[0, 2], &[1]);
    let honest = {
        let mut world = world(1);
        let played = world.play(0, 1, ROUND, Who::Nobody);
        world.whole(&played)
    };
    let reduced = |seed, who| {
        let mut world = world(seed);
        let played = world.play(0, 1, ROUND, who);
        world.evidence(&played).0
    };
    let undecodable = {
        let mut world = world(2);
        let played = world.play(0, 1, ROUND, Who::Sender(BY_SENDER[0]));
        world.whole(&played)
    };
    let uploads = {
        let mut world = world(3);
        let first = world.play(0, 1, ROUND, Who::Nobody);
        world.forget_rows();
        let second = world.play(0, 2, ROUND, Who::Nobody);
        let files = [world.whole(&first), world.whole(&second)];
        Evidence::contradictions(&files, &world.servers()).swap_remove(0)
    };
    vec![
        ("honest", honest),
        ("undecodable", undecodable),
        ("altered", reduced(4, Who::Server(ServerSide::One, Mischief::Alter))),
        ("swapped", reduced(5, Who::Server(ServerSide::Two, Mischief::Swap))),
        ("lying", reduced(6, Who::Sender(Mischief::LyingConfirmation))),
        ("receipts", receipts(&mut world(7))),
        ("uploads", uploads),
    ]
}

/// Two receipts of S2.
fn receipts(world: &mut World) -> Evidence {
    let played = world.play(0, 1, ROUND, Who::Nobody);
    let about = share(&world.whole(&played)).about;
    let (server, roster_hash) =
        (ServerSide::Two, crate::wire::roster_hash(GROUP, about.epoch, &world.roster));
    let receipts = [0b101, 0b1].map(|word| {
        let statement = statements::receipt(GROUP, about.epoch, ROUND, server, &roster_hash, &[word]);
        let signature = world.server_keys[1].sign(&statement);
        RosterReceipt { roster_hash, receipt: Receipt { present: vec![word], signature } }
    });
    let case = Receipts { group: GROUP, epoch: about.epoch, round: ROUND, server, receipts };
    Evidence { servers: world.servers(), case: Case::Receipts(case.into()) }
}

#[test]
#[ignore = "writes engine/fuzz/corpus: for when the format of evidence or headers changes"]
fn write_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let write = |path: String, bytes: &[u8]| std::fs::write(corpus.join(path), bytes).expect("the corpus");
    for (name, evidence) in files() {
        write(format!("evidence/{name}"), evidence.to_text().as_bytes());
    }
    let mut world = World::new(8, 3, &[0, 2], &[1]);
    let played = world.play(0, 1, ROUND, Who::Nobody);
    // The target takes eight bytes for the members first.
    let members = 2_u64.to_le_bytes();
    write("accountable/headers_whole".into(), &[&members, &Gave::body(&played.gave[0])[..]].concat());
}
