//! `blame`: who is at fault, told from files of evidence.

use crate::file::verifying_key;
use crate::out;
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use twincast_protocol::accountable::blame::{Judgement, judge};
use twincast_protocol::accountable::evidence::{About, Case, EVIDENCE_BYTES_MAX, Evidence};
use twincast_protocol::identity::VerifyingKey;

/// Say who altered a share: a server, its sender, or nobody who can be shown to have.
///
/// Reads files of evidence, which a client makes in an accountable group when something that it was given does not decode.
/// Needs no server and no network. What it says follows from signatures alone, so whoever made the file cannot make an
/// honest server or sender look guilty; but the two servers' keys have to be the right ones. Give the keys that you know.
/// Without them those in the file are believed, and that is said. Several files are also put together: two receipts of one
/// server, or two uploads of one sender, that contradict each other.
///
/// Publishing a file shows what is in it to the servers, too. Where a server is at fault, that is the half which the
/// recipient was given of that sender at the server that the file names: from it the other server learns whether that sender
/// had dialled that recipient. Where a sender is convicted, by what both servers gave, it can show both halves. A file that
/// blames nobody shows who was present, and no more.
///
/// Exit status: 0 the evidence is sound, whether or not somebody is at fault; 1 it is not, or cannot be read; 2 wrong usage.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Files of evidence.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// S1's verifying key, 64 hexadecimal digits, as its operator publishes it.
    #[arg(long, value_name = "HEX", requires = "s2_verifying", value_parser = verifying_key)]
    s1_verifying: Option<VerifyingKey>,
    /// S2's.
    #[arg(long, value_name = "HEX", requires = "s1_verifying", value_parser = verifying_key)]
    s2_verifying: Option<VerifyingKey>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let believed = arguments.s1_verifying.zip(arguments.s2_verifying).map(|(one, two)| [one, two]);
    let files: Vec<(String, Evidence)> = arguments
        .files
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path)?)))
        .collect::<Result<_>>()?;
    let Report { text, sound } = report(&files, believed);
    // The exit status says it, too, to whoever does not read it.
    let _ = out::print(&text)?;
    ensure!(sound, "not all of this evidence is sound: what is said above of it counts for nothing");
    Ok(())
}

fn read(path: &Path) -> Result<Evidence> {
    let naming = || format!("cannot read the evidence {}", path.display());
    let file = std::fs::File::open(path).with_context(naming)?;
    let mut bytes = Vec::new();
    file.take(EVIDENCE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).with_context(naming)?;
    let Ok(text) = String::from_utf8(bytes) else { bail!("{}: it is not text", naming()) };
    Evidence::from_text(&text).with_context(naming)
}

struct Report {
    text: String,
    sound: bool,
}

/// What is printed: the keys, a verdict for each file, and what the files say together.
fn report(files: &[(String, Evidence)], believed: Option<[VerifyingKey; 2]>) -> Report {
    let mut text = String::new();
    let mut sound = true;
    let mut line = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("a string grows");
    };
    let from_files: HashSet<[VerifyingKey; 2]> = files.iter().map(|(_, evidence)| evidence.servers).collect();
    match believed {
        Some([one, two]) => {
            line(format_args!("By the keys that were given: S1 {}, S2 {}.", shown(&one), shown(&two)));
        }
        None => {
            line(format_args!("WARNING: no keys were given, so the keys that each file names are believed."));
            line(format_args!(
                "         Whoever made a file could have made these keys and blamed whom they like."
            ));
            line(format_args!("         Compare them, or give --s1-verifying and --s2-verifying:"));
            for [one, two] in &from_files {
                line(format_args!("         S1 {}", shown(one)));
                line(format_args!("         S2 {}", shown(two)));
            }
        }
    }
    let mut judged = |name: &str, evidence: &Evidence, servers: &[VerifyingKey; 2]| {
        let Judgement { verdict, doubts } = judge(evidence, servers);
        line(format_args!("{name}: {}", about(&evidence.case)));
        line(format_args!("  {verdict}."));
        for doubt in &doubts {
            line(format_args!("  NOT SOUND: {doubt}."));
        }
        sound &= doubts.is_empty();
    };
    for (name, evidence) in files {
        judged(name, evidence, &believed.unwrap_or(evidence.servers));
    }
    let all: Vec<Evidence> = files.iter().map(|(_, evidence)| evidence.clone()).collect();
    let every_pair = believed.map_or_else(|| from_files.into_iter().collect(), |servers| vec![servers]);
    for servers in every_pair {
        for evidence in Evidence::contradictions(&all, &servers) {
            judged("the files together", &evidence, &servers);
        }
    }
    Report { text, sound }
}

fn shown(key: &VerifyingKey) -> String {
    hex::encode(key.to_bytes())
}

/// What a case is about, in words.
fn about(case: &Case) -> String {
    match case {
        Case::Share(share) => {
            let About { group, epoch, round, slot, sender, recipient } = share.about;
            format!(
                "what user {recipient} was given of user {sender} in slot {slot}, round {round}, epoch {epoch}, group {group}"
            )
        }
        Case::Receipts(case) => {
            let (server, round, epoch, group) = (case.server, case.round, case.epoch, case.group);
            format!("two receipts of {server} for round {round}, epoch {epoch}, group {group}")
        }
        Case::Uploads(case) => {
            let (sender, server) = (case.sender, case.server);
            let (round, epoch, group) = (case.round, case.epoch, case.group);
            format!(
                "two uploads of user {sender} to {server} for round {round}, epoch {epoch}, group {group}"
            )
        }
        _ => "a case that this program does not know".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::array;
    use twincast_protocol::accountable::evidence::{Receipt, Receipts, RosterReceipt};
    use twincast_protocol::identity::SigningKey;
    use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide};
    use twincast_protocol::statements;

    fn contradicting(key: &SigningKey, servers: [VerifyingKey; 2]) -> Evidence {
        let (group, epoch, round, server) = (GroupId(1), Epoch(2), RoundNumber(3), ServerSide::One);
        let receipts = array::from_fn(|index| {
            let present = vec![index as u64];
            let statement = statements::receipt(group, epoch, round, server, &[9; 32], &present);
            let signature = key.sign(&statement);
            RosterReceipt { roster_hash: [9; 32], receipt: Receipt { present, signature } }
        });
        let case = Receipts { group, epoch, round, server, receipts };
        Evidence { servers, case: Case::Receipts(Box::new(case)) }
    }

    #[test]
    fn keys_that_were_not_given_are_believed_loudly_and_others_make_evidence_unsound() {
        let [one, two] = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let servers = [one.verifying_key(), two.verifying_key()];
        let files = [("a.json".to_owned(), contradicting(&one, servers))];
        let believing = report(&files, None);
        assert!(believing.sound && believing.text.starts_with("WARNING: no keys were given"));
        assert!(believing.text.contains(&shown(&servers[1])), "{}", believing.text);
        assert!(
            believing.text.contains("server S1 is at fault: it signed two receipts"),
            "{}",
            believing.text
        );

        let given = report(&files, Some(servers));
        assert!(given.sound && !given.text.contains("WARNING"), "{}", given.text);
        let other = report(&files, Some([servers[1], servers[0]]));
        assert!(!other.sound && other.text.contains("NOT SOUND"), "{}", other.text);
        assert!(other.text.contains("nobody can be blamed"), "{}", other.text);
    }

    #[test]
    fn files_are_read_back_and_what_is_none_is_named() {
        let key = SigningKey::from_seed(&[1; 32]);
        let evidence = contradicting(&key, [key.verifying_key(); 2]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evidence.json");
        std::fs::write(&path, evidence.to_text()).unwrap();
        assert_eq!(read(&path).unwrap(), evidence);
        std::fs::write(&path, "{}").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("evidence.json") && error.contains("no file of evidence"), "{error}");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&path).is_err());
        assert!(read(&folder.path().join("none")).is_err());
    }
}
