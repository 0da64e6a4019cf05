//! What `talk` keeps from run to run, in a file beside the client file: the last round that the user signed for, and whom
//! its dials reach.
//!
//! Nobody may sign two different things for one round: both together would convict an honest user. So what this file says
//! is on the disk before anything of that round is sent. It belongs to one user with one key on one machine; a copy that is
//! older than what was signed would be worse than none. Without it a run is silent at first, until no earlier one can have
//! signed ([`ClientSettings::signed`](twincast_client::ClientSettings::signed)).
//!
//! The file has one line of explanation, one that says whose it is, and the record twice. It is written over in place, and
//! is shorter than a disk's sector; one whose two records differ, or that is for another key, says nothing.
//!
//! ```text
//! group 0000000001 user 0000000004 key <64 digits>
//! signed 1 0000000003 00000000000000000017 dialled 0000000005 0000000003 0000000004
//! signed 1 0000000003 00000000000000000017 dialled 0000000005 0000000003 0000000004
//! ```
//!
//! `signed`: whether it is known, the epoch, the round. `dialled`: the user whom the dials from that epoch to that epoch
//! reach; from 1 to 0 where there are none.

use crate::file::{ClientFile, sync_folder};
use anyhow::{Context, bail, ensure};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use twincast_protocol::ids::{Epoch, RoundNumber, UserId};

/// What stands at its beginning.
const TITLE: &str =
    "# Kept by `twincast-client talk`: use it, and the client file beside it, on one machine alone.\n";
/// The longest file that is read: all that are written are shorter.
const FILE_BYTES_MAX: usize = 512;
/// Time that rounds are signed for ahead, so that a fast group does not wait for the disk in every round. A run that was
/// killed costs the next one so much.
const AHEAD: Duration = Duration::from_secs(1);

/// Whom the dials of some epochs reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialled {
    pub(crate) to: UserId,
    pub(crate) first: Epoch,
    pub(crate) last: Epoch,
}

impl Dialled {
    /// The same after one more dial.
    fn and(before: Option<Dialled>, to: UserId, epoch: Epoch) -> Dialled {
        match before {
            Some(dialled) if dialled.reaches(to, epoch) => dialled,
            Some(dialled) if dialled.to == to && dialled.last.0.checked_add(1) == Some(epoch.0) => {
                Dialled { last: epoch, ..dialled }
            }
            _ => Dialled { to, first: epoch, last: epoch },
        }
    }

    /// Whether the dials of that epoch reach that user.
    pub(crate) fn reaches(&self, to: UserId, epoch: Epoch) -> bool {
        self.to == to && (self.first..=self.last).contains(&epoch)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    signed: Option<(Epoch, RoundNumber)>,
    dialled: Option<Dialled>,
}

/// The file of one user, while it is in use.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    file: File,
    /// Whose it is.
    owner: String,
    /// What is on the disk.
    record: Record,
}

impl Kept {
    /// Makes the one of a key that has signed nothing yet.
    pub(crate) fn create(client_file: &Path, of: &ClientFile) -> anyhow::Result<()> {
        let mut kept = Kept::open(client_file, of)?;
        kept.write(Record { signed: Some((Epoch(0), RoundNumber(0))), dialled: None })
    }

    /// Opens the one beside a client file, for this run alone.
    pub(crate) fn open(client_file: &Path, of: &ClientFile) -> anyhow::Result<Kept> {
        let mut name = client_file.file_name().unwrap_or_default().to_owned();
        name.push(".signed");
        let path = client_file.with_file_name(name);
        let shown = path.display();
        let failed = || format!("cannot keep in {shown} what this user signs");
        let exists = path.exists();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).with_context(failed)?;
        ensure!(file.metadata().with_context(failed)?.is_file(), "{}: it is no file", failed());
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another `twincast-client talk` runs with {}: a user is at one place at a time",
                client_file.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
        if !exists {
            sync_folder(&path).with_context(failed)?;
        }
        let mut text = Vec::new();
        (&file).take(FILE_BYTES_MAX as u64).read_to_end(&mut text).with_context(failed)?;
        let key = hex::encode(of.signing_key().verifying_key().to_bytes());
        let owner = format!("group {:010} user {:010} key {key}\n", of.group, of.user);
        let record = str::from_utf8(&text).ok().and_then(|text| Record::parse(text, &owner));
        Ok(Kept { path, file, owner, record: record.unwrap_or_default() })
    }

    /// The last round that may have been signed for, if that is known.
    pub(crate) fn signed(&self) -> Option<(Epoch, RoundNumber)> {
        self.record.signed
    }

    /// Whether dials of that epoch that an earlier run made are known to reach that user.
    pub(crate) fn reaches(&self, to: UserId, epoch: Epoch) -> bool {
        self.record.dialled.is_some_and(|dialled| dialled.reaches(to, epoch))
    }

    /// Has on the disk what was signed, before it is sent, and some rounds more where rounds go by the clock. In lockstep
    /// rounds wait for those who sign, so that nobody who comes back may leave out more than there is reason to.
    pub(crate) fn sign(&mut self, last: (Epoch, RoundNumber), interval: Duration) -> anyhow::Result<()> {
        if self.record.signed.is_some_and(|kept| kept >= last) {
            return Ok(());
        }
        let ahead = AHEAD.as_millis().checked_div(interval.as_millis()).unwrap_or(0) as u64;
        let (epoch, round) = last;
        let signed = Some((epoch, RoundNumber(round.0.saturating_add(ahead))));
        self.write(Record { signed, ..self.record })
    }

    /// The end of a run: this was signed last and nothing later will be.
    pub(crate) fn settle(&mut self, last: Option<(Epoch, RoundNumber)>) -> anyhow::Result<()> {
        match last {
            Some(last) if self.record.signed != Some(last) => {
                self.write(Record { signed: Some(last), ..self.record })
            }
            _ => Ok(()),
        }
    }

    /// Has on the disk whom a dial reaches, before it is sent.
    pub(crate) fn dial(&mut self, to: UserId, epoch: Epoch) -> anyhow::Result<()> {
        let dialled = Some(Dialled::and(self.record.dialled, to, epoch));
        if dialled == self.record.dialled { Ok(()) } else { self.write(Record { dialled, ..self.record }) }
    }

    fn write(&mut self, record: Record) -> anyhow::Result<()> {
        let line = record.line();
        let text = [TITLE, &self.owner, &line, &line].concat();
        debug_assert!(text.len() <= FILE_BYTES_MAX);
        let written = self.file.write_all_at(text.as_bytes(), 0).and_then(|()| self.file.sync_data());
        written.with_context(|| format!("cannot keep in {} what this user signs", self.path.display()))?;
        self.record = record;
        Ok(())
    }
}

impl Record {
    fn line(&self) -> String {
        let (epoch, round) = self.signed.unwrap_or_default();
        let none = Dialled { to: UserId(0), first: Epoch(1), last: Epoch(0) };
        let Dialled { to, first, last } = self.dialled.unwrap_or(none);
        format!(
            "signed {} {:010} {:020} dialled {:010} {:010} {:010}\n",
            u8::from(self.signed.is_some()),
            epoch.0,
            round.0,
            to.0,
            first.0,
            last.0
        )
    }

    /// None: the file is for somebody else, or is not whole.
    fn parse(text: &str, owner: &str) -> Option<Record> {
        let records = text.strip_prefix(TITLE)?.strip_prefix(owner)?;
        let (one, two) = records.split_at_checked(records.len() / 2)?;
        let words: Vec<&str> = one.split_ascii_whitespace().collect();
        let ["signed", known, epoch, round, "dialled", to, first, last] = words[..] else { return None };
        let number = |digits: &str| digits.parse().ok();
        let signed = (known == "1").then_some((Epoch(number(epoch)?), RoundNumber(round.parse().ok()?)));
        let [to, first, last] = [to, first, last].map(number);
        let dialled = Dialled { to: UserId(to?), first: Epoch(first?), last: Epoch(last?) };
        let record = Record { signed, dialled: (dialled.first <= dialled.last).then_some(dialled) };
        (one == two && record.line() == one).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::tests::some;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(epoch: u32, round: u64) -> (Epoch, RoundNumber) {
        (Epoch(epoch), RoundNumber(round))
    }

    #[test]
    fn what_was_signed_is_known_to_the_next_run_and_never_too_little() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("me.toml");
        let of = some();
        assert_eq!(Kept::open(&path, &of).unwrap().signed(), None, "nothing is known");
        Kept::create(&path, &of).unwrap();
        let mut kept = Kept::open(&path, &of).unwrap();
        assert_eq!(kept.signed(), Some(at(0, 0)), "it is known that there is nothing");

        // In lockstep, and where rounds are slow, it is what was signed; else up to a second more.
        for (interval, ahead) in [(Duration::ZERO, 0), (SECOND * 2, 0), (SECOND, 1), (SECOND / 10, 10)] {
            let round = kept.signed().unwrap().1.0 + 1;
            kept.sign(at(3, round), interval).unwrap();
            assert_eq!(kept.signed(), Some(at(3, round + ahead)), "{interval:?}");
            drop(kept);
            kept = Kept::open(&path, &of).unwrap();
            assert_eq!(kept.signed(), Some(at(3, round + ahead)), "{interval:?}");
        }
        let before = kept.signed();
        kept.sign(at(3, 5), SECOND / 10).unwrap();
        assert_eq!(kept.signed(), before, "that much is on the disk already");
        kept.settle(None).unwrap();
        assert_eq!(kept.signed(), before, "nothing was signed in this run");
        kept.settle(Some(at(3, 6))).unwrap();
        drop(kept);
        assert_eq!(Kept::open(&path, &of).unwrap().signed(), Some(at(3, 6)));
        let mode = fs::metadata(folder.path().join("me.toml.signed")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn one_run_has_it_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("me.toml");
        let first = Kept::open(&path, &some()).unwrap();
        let error = format!("{:#}", Kept::open(&path, &some()).unwrap_err());
        assert!(error.contains("another `twincast-client talk` runs with"), "{error}");
        drop(first);
        Kept::open(&path, &some()).unwrap();
    }

    #[test]
    fn a_file_of_another_key_or_one_that_is_torn_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("me.toml");
        let mut kept = Kept::open(&path, &some()).unwrap();
        kept.sign(at(9, 1234), Duration::ZERO).unwrap();
        drop(kept);
        let other = ClientFile { user: 5, ..some() };
        assert_eq!(Kept::open(&path, &other).unwrap().signed(), None);

        let beside = folder.path().join("me.toml.signed");
        let whole = fs::read(&beside).unwrap();
        let mut seen = 0;
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] = if torn[at] == b'7' { b'8' } else { b'7' };
            for wrong in [&torn[..], &whole[..at]] {
                fs::write(&beside, wrong).unwrap();
                assert_eq!(Kept::open(&path, &some()).unwrap().signed(), None, "byte {at}");
                seen += 1;
            }
        }
        assert!(seen > 300);
        fs::write(&beside, &whole).unwrap();
        assert_eq!(Kept::open(&path, &some()).unwrap().signed(), Some(at(9, 1234)));
    }

    #[test]
    fn it_is_known_whom_dials_of_an_earlier_run_reach() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("me.toml");
        let mut kept = Kept::open(&path, &some()).unwrap();
        let (one, two) = (UserId(1), UserId(2));
        assert!(!kept.reaches(one, Epoch(3)));
        for epoch in [3, 4, 4, 3] {
            kept.dial(one, Epoch(epoch)).unwrap();
        }
        drop(kept);
        let mut kept = Kept::open(&path, &some()).unwrap();
        assert!([3, 4].iter().all(|epoch| kept.reaches(one, Epoch(*epoch))));
        assert!(!kept.reaches(one, Epoch(2)) && !kept.reaches(one, Epoch(5)) && !kept.reaches(two, Epoch(3)));
        kept.dial(two, Epoch(5)).unwrap();
        assert!(kept.reaches(two, Epoch(5)) && !kept.reaches(one, Epoch(4)));
        assert_eq!(kept.signed(), None, "that says nothing of what was signed");
    }
}
