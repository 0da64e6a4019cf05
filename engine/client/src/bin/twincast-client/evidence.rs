//! What `talk` keeps to hold against whoever lies, and what it says of servers that do not give what they owe.

use crate::out::tell;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::mem::{Discriminant, discriminant};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use twincast_client::Shortfall;
use twincast_protocol::accountable::blame::{Verdict, Why, blame};
use twincast_protocol::accountable::evidence::Evidence;
use twincast_protocol::identity::VerifyingKey;
use twincast_protocol::ids::{RoundNumber, ServerSide, UserId};

/// Files of evidence that a run writes, at most: one for each accused and kind of fault is enough, but somebody may have
/// many users lie.
const FILES_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Accused {
    Server(ServerSide),
    Sender(UserId),
}

/// The evidence of a run.
#[derive(Debug)]
pub(crate) struct EvidenceFiles {
    /// The client file, beside which they are.
    beside: PathBuf,
    servers: Option<[VerifyingKey; 2]>,
    /// Whom there is a file against, and of what kind.
    written: HashSet<(Accused, Discriminant<Why>)>,
    /// It was said that there are enough.
    full: bool,
    /// What was said of each server.
    shortfalls: HashSet<(ServerSide, Discriminant<Shortfall>)>,
}

impl EvidenceFiles {
    pub(crate) fn new(beside: &Path, servers: Option<[VerifyingKey; 2]>) -> EvidenceFiles {
        EvidenceFiles {
            beside: beside.to_owned(),
            servers,
            written: HashSet::new(),
            full: false,
            shortfalls: HashSet::new(),
        }
    }

    /// Writes evidence into a file of its own and says so, if it convicts somebody of what it did not yet.
    pub(crate) fn keep(&mut self, evidence: &Evidence) {
        let servers = self.servers.as_ref().unwrap_or(&evidence.servers);
        let (accused, why) = match blame(evidence, servers) {
            Verdict::Server(server, why) => (Accused::Server(server), why),
            Verdict::Sender(user, why) => (Accused::Sender(user), why),
            Verdict::Nobody(_) => return,
        };
        let kind = (accused, discriminant(&why));
        if self.written.contains(&kind) {
            return;
        }
        if self.written.len() == FILES_MAX {
            if !std::mem::replace(&mut self.full, true) {
                tell!("there are {FILES_MAX} files of evidence from this run: no more are written");
            }
            return;
        }
        match self.write(evidence) {
            Ok(path) => {
                self.written.insert(kind);
                let shown = path.display();
                tell!("evidence is in {shown}: `twincast-client blame {shown}` says who is at fault");
            }
            Err(error) => {
                let beside = self.beside.display();
                tell!("evidence cannot be written beside {beside}, and is lost: {error}");
            }
        }
    }

    /// A file under a name that nothing has yet, whatever wrote there before.
    fn write(&self, evidence: &Evidence) -> io::Result<PathBuf> {
        loop {
            let mut name: OsString = self.beside.file_name().unwrap_or_default().to_owned();
            name.push(format!(".evidence-{:016x}", rand::random::<u64>()));
            let path = self.beside.with_file_name(name);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(mut file) => {
                    file.write_all(evidence.to_text().as_bytes())?;
                    file.sync_all()?;
                    return Ok(path);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Says, once for each kind, that a server does not give what it owes: of that there is nothing to show to others.
    pub(crate) fn falls_short(&mut self, server: ServerSide, round: RoundNumber, why: Shortfall) {
        if self.shortfalls.insert((server, discriminant(&why))) {
            tell!(
                "round {round}: {server} cannot be held to what it gave you, for {why}: you have reason not to trust it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use twincast_protocol::accountable::evidence::{Case, Receipt, Receipts, RosterReceipt};
    use twincast_protocol::identity::SigningKey;
    use twincast_protocol::ids::{Epoch, GroupId};
    use twincast_protocol::statements;

    /// Two receipts of a server, which contradict each other or do not.
    fn receipts(server: ServerSide, round: u64, contradict: bool) -> Evidence {
        let (group, epoch, round) = (GroupId(1), Epoch(2), RoundNumber(round));
        let keys = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let receipts = [0, u64::from(contradict)].map(|word| {
            let present = vec![word];
            let statement = statements::receipt(group, epoch, round, server, &[9; 32], &present);
            let signature = keys[server.index()].sign(&statement);
            RosterReceipt { roster_hash: [9; 32], receipt: Receipt { present, signature } }
        });
        let case = Receipts { group, epoch, round, server, receipts };
        let servers = keys.each_ref().map(SigningKey::verifying_key);
        Evidence { servers, case: Case::Receipts(Box::new(case)) }
    }

    #[test]
    fn only_what_convicts_is_kept_once_for_each_accused_and_kind_and_later_runs_keep_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let client_file = folder.path().join("me.toml");
        let count = || fs::read_dir(folder.path()).unwrap().count();
        for run in 1..=3 {
            let servers = receipts(ServerSide::One, 1, true).servers;
            let mut files = EvidenceFiles::new(&client_file, Some(servers));
            for round in 1..=40 {
                files.keep(&receipts(ServerSide::One, round, false));
            }
            assert_eq!(count(), 2 * (run - 1), "nobody is convicted");
            for round in 1..=40 {
                files.keep(&receipts(ServerSide::One, round, true));
                files.keep(&receipts(ServerSide::Two, round, true));
            }
            assert_eq!(count(), 2 * run);
        }
        for entry in fs::read_dir(folder.path()).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let evidence = Evidence::from_text(&text).unwrap();
            assert!(matches!(blame(&evidence, &evidence.servers), Verdict::Server(..)));
        }
    }

    #[test]
    fn files_have_an_end_and_what_a_server_owes_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = EvidenceFiles::new(&folder.path().join("me.toml"), None);
        let why = discriminant(&Why::TwoReceipts);
        files.written.extend((0..FILES_MAX as u32).map(|user| (Accused::Sender(UserId(user)), why)));
        files.keep(&receipts(ServerSide::One, 1, true));
        assert!(files.full && fs::read_dir(folder.path()).unwrap().next().is_none());

        for round in (1..4).map(RoundNumber) {
            files.falls_short(ServerSide::One, round, Shortfall::Receipt);
            files.falls_short(ServerSide::Two, round, Shortfall::Receipt);
            files.falls_short(ServerSide::Two, round, Shortfall::NoHeaders);
        }
        assert_eq!(files.shortfalls.len(), 3);
    }
}
