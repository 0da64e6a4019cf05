//! `twincast-client talk`: joins, dials one user, sends the lines that it reads and prints what it accepts.
//!
//! Three threads read: one each server's socket, one standard input. They hand what they read to the one that has the
//! client, which also writes.

use crate::file::ClientFile;
use crate::sockets::{News, Sockets};
use anyhow::{anyhow, bail};
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use twincast_client::{Client, ClientSettings, Delivery, Event, Messages, Observer, Outbox, Tile, User};
use twincast_protocol::accountable::evidence::Evidence;
use twincast_protocol::channel::SECOND_BYTES;
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::receive::Verdicts;
use twincast_protocol::wire::Code;

/// How often a client looks at the clock when nothing arrives.
const TICK: Duration = Duration::from_millis(50);
/// How long a server may be silent at the beginning before that is said.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may be silent in all.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Files of evidence that a run writes, at most: one is enough to show who is at fault.
const EVIDENCE_MAX: u32 = 16;
/// How far one server may be ahead of the other, in bytes.
const SKEW_BYTES: usize = 16 << 20;

/// Talk with one user of the group: lines of standard input go out, what others write to you is printed.
///
/// Each round carries one line, or nothing, which looks the same to both servers; whom you write to they do not see
/// either. A user whom the group does not have asks to join, and is let in with the next epoch. Messages go to standard
/// output, one `USER: TEXT` a line; everything else to standard error. The end of standard input ends the program once
/// everything is said.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The client file that `twincast-client init` wrote.
    file: PathBuf,
    /// Whom you write to: a user's number.
    #[arg(long, value_name = "USER")]
    to: u32,
}

/// What is said, and what is heard.
struct Talk {
    peer: [UserId; 1],
    key: SigningKey,
    /// Lines that are not sent yet.
    lines: VecDeque<String>,
    /// The one that goes out next.
    message: Vec<u8>,
    message_bytes_max: usize,
    /// The members of the epoch, to name senders by.
    roster: Vec<UserId>,
    /// The epoch has opened, or a round is over: the next one is due.
    due: bool,
    attached: bool,
    /// The group is of a kind that this program is not for.
    answered: bool,
    /// Where evidence goes, and how much there is.
    file: PathBuf,
    evidence: u32,
    /// What each server said as it closed the connection.
    last_words: [Option<(Option<Code>, String)>; 2],
}

impl Outbox for Talk {
    fn recipients(&mut self, _epoch: Epoch, _sender: User, _slot: SlotIndex) -> &[UserId] {
        &self.peer
    }

    fn message(&mut self, _round: RoundNumber, _sender: User, slot: SlotIndex) -> &[u8] {
        self.message.clear();
        if let Some(line) = self.lines.pop_front().filter(|_| slot == SlotIndex(0)) {
            self.message.extend(line.bytes().take(self.message_bytes_max));
        }
        &self.message
    }

    fn key_partners(&mut self, _epoch: Epoch, _sender: User) -> &[UserId] {
        &self.peer
    }

    fn identity(&mut self, _user: UserId) -> Option<&SigningKey> {
        Some(&self.key)
    }
}

impl Observer for Talk {
    fn verdicts(&mut self, tile: &Tile, _user: User, verdicts: &Verdicts, messages: &Messages<'_>) {
        for sender in (0..64).filter(|sender| verdicts.accept >> sender & 1 == 1) {
            let text = String::from_utf8_lossy(messages.get(sender));
            let text = text.trim_end_matches('\0');
            let name = self.roster.get(tile.first_sender.0 as usize + sender);
            if let Some(name) = name.filter(|_| !text.is_empty()) {
                println!("{name}: {}", shown(text));
            }
        }
        if verdicts.tampered != 0 {
            eprintln!("round {}: somebody altered what a server handed out", tile.round);
        }
    }

    fn evidence(&mut self, _user: User, evidence: Box<Evidence>) {
        if self.evidence == EVIDENCE_MAX {
            return;
        }
        self.evidence += 1;
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".evidence-{}-{}", std::process::id(), self.evidence));
        let path = self.file.with_file_name(name);
        let shown = path.display();
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match written.and_then(|mut file| file.write_all(evidence.to_text().as_bytes())) {
            Ok(()) => {
                eprintln!("evidence is in {shown}: `twincast-client blame {shown}` says who is at fault")
            }
            Err(error) => eprintln!("evidence cannot be written to {shown}: {error}"),
        }
    }

    fn event(&mut self, event: Event) {
        let code = event.code();
        match event {
            Event::Attached(group) => {
                self.attached = true;
                self.answered = group.delivery == Delivery::Answer;
                self.message_bytes_max = group.message_bytes_max(true);
                eprintln!("group {} of {} members, epoch {}", group.group, group.members, group.epoch);
            }
            Event::EpochOpen { epoch, first_round, .. } => {
                eprintln!("epoch {epoch} is open from round {first_round} on");
                self.due = true;
            }
            Event::RoundClosed { .. } => self.due = true,
            Event::Refused { server, sentence, closes: true, .. } => {
                self.last_words[server.index()] = Some((code, shown(&sentence)));
            }
            Event::Refused { server, sentence, .. } => eprintln!("{server}: {}", shown(&sentence)),
            Event::NotAdmitted { epoch, user } => eprintln!("user {user} is not in epoch {epoch}"),
            Event::RecipientGone { recipient, .. } => eprintln!("user {recipient} is not in the group"),
            _ => {}
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = ClientFile::read(&arguments.file)?;
    let settings = ClientSettings {
        group: GroupId(file.group),
        epoch: None,
        join: true,
        skew_bytes: SKEW_BYTES,
        signed: None,
        accept_baseline: false,
        channel: file.channel(),
        accountable: file.verifying_keys(),
    };
    let mut client = Client::new(settings, vec![UserId(file.user)])?;
    let mut talk = Talk {
        peer: [UserId(arguments.to)],
        key: file.signing_key(),
        lines: VecDeque::new(),
        message: Vec::new(),
        message_bytes_max: 0,
        roster: Vec::new(),
        due: false,
        attached: false,
        answered: false,
        file: arguments.file.clone(),
        evidence: 0,
        last_words: [None, None],
    };
    let (tell, news) = mpsc::channel();
    let mut sockets = Sockets::connect(&file, &tell)?;
    thread::spawn(move || read_lines(&tell));

    let (start, mut rng) = (Instant::now(), rand::rng());
    let mut said_all = false;
    let mut silence = Silence::default();
    loop {
        for server in ServerSide::BOTH {
            loop {
                let bytes = client.outgoing(server, &mut rng, &mut talk)?;
                if bytes.is_empty() {
                    break;
                }
                let some = sockets.send(server, bytes);
                client.sent(server, some);
            }
        }
        match news.recv_timeout(TICK) {
            Ok(News::Bytes(server, bytes)) if bytes.is_empty() => {
                take(&mut client, &mut talk, &mut sockets, start)?;
                return Err(closed(server, &talk, arguments));
            }
            Ok(News::Bytes(server, bytes)) => {
                silence.came[server.index()] += bytes.len();
                sockets.came(server, bytes);
            }
            Ok(News::Line(Some(line))) => talk.lines.push_back(line),
            Ok(News::Line(None)) => said_all = true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("nothing is left to read from"),
        }
        take(&mut client, &mut talk, &mut sockets, start)?;
        silence.look(start.elapsed(), &file)?;
        if talk.answered {
            bail!(
                "the group's delivery is `answer`, where members ask for records: this program is for `broadcast`"
            );
        }
        if std::mem::take(&mut talk.due) {
            if said_all && talk.lines.is_empty() {
                return Ok(());
            }
            if client.submit().is_none() {
                talk.due = client.round().is_some();
            }
        }
    }
}

/// Whether the two servers say anything at all. Once they have described the group, waiting is part of it: an epoch may
/// be long in coming.
#[derive(Default)]
struct Silence {
    /// Bytes that came of each.
    came: [usize; 2],
    /// Whether it was said that one is silent.
    told: [bool; 2],
}

impl Silence {
    /// Says once which servers are silent after a while. An error after a longer one.
    fn look(&mut self, waited: Duration, file: &ClientFile) -> anyhow::Result<()> {
        if waited < ANSWER_PATIENCE {
            return Ok(());
        }
        for (server, of_file) in [(ServerSide::One, &file.s1), (ServerSide::Two, &file.s2)] {
            // The handshake's message alone says nothing about the group.
            if self.came[server.index()] > SECOND_BYTES {
                continue;
            }
            let address = &of_file.address;
            if waited >= ANSWER_WAIT {
                bail!(
                    "{server} took the connection at {address} and did not answer within {} s: is it {server} that runs \
                     there, and not stopped?",
                    ANSWER_WAIT.as_secs()
                );
            }
            if !std::mem::replace(&mut self.told[server.index()], true) {
                eprintln!(
                    "{server} does not answer at {address}: waiting until {} s are over",
                    ANSWER_WAIT.as_secs()
                );
            }
        }
        Ok(())
    }
}

/// Gives the client what came, as far as it takes it.
fn take(client: &mut Client, talk: &mut Talk, sockets: &mut Sockets, start: Instant) -> anyhow::Result<()> {
    loop {
        let mut taken = 0;
        for server in ServerSide::BOTH {
            let some = sockets.give(server, client.space(server, start.elapsed()));
            client.filled(server, some);
            taken += some;
        }
        client.advance(start.elapsed(), talk)?;
        if let Some(roster) = client.epoch().and_then(|epoch| client.roster(epoch)) {
            roster.clone_into(&mut talk.roster);
        }
        if taken == 0 {
            return Ok(());
        }
    }
}

/// Why a server has closed the connection, as far as that is known, and what to do.
fn closed(server: ServerSide, talk: &Talk, arguments: &Arguments) -> anyhow::Error {
    let file = arguments.file.display();
    let Some((code, sentence)) = &talk.last_words[server.index()] else {
        let hint = match talk.attached {
            true => "",
            false => ": it may have another channel key than the client file says",
        };
        return anyhow!("{server} closed the connection without a word{hint}");
    };
    let remedy = match code {
        Some(Code::NotRegistered | Code::UserUnknown) => {
            format!("; `twincast-client register {file}` comes first")
        }
        Some(Code::ProofWrong) => format!("; is the key in {file} still the account's?"),
        Some(Code::ChannelWanted) => "; the client file was made with --plain".to_owned(),
        Some(Code::ChannelUnknown) => "; for that, make the client file with --plain".to_owned(),
        Some(Code::ChannelBroken) => {
            format!("; compare {server}'s channel_key in {file} with what its operator publishes")
        }
        _ => String::new(),
    };
    anyhow!("{server} closed the connection: {sentence}{remedy}")
}

/// What somebody else wrote, without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

fn read_lines(tell: &Sender<News>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        if tell.send(News::Line(Some(line))).is_err() {
            return;
        }
    }
    let _ = tell.send(News::Line(None));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Seed, Server};
    use zeroize::Zeroizing;

    #[test]
    fn a_server_that_says_nothing_is_named_and_ends_the_program_after_a_while() {
        let server = |address: &str| Server {
            address: address.to_owned(),
            channel_key: None,
            verifying_key: None,
            signature: None,
        };
        let (s1, s2) = (server("one:1"), server("two:2"));
        let file =
            ClientFile { group: 1, user: 2, epoch: 0, signing_key: Seed(Zeroizing::new([1; 32])), s1, s2 };
        let mut silence = Silence { came: [1000, SECOND_BYTES], ..Silence::default() };
        assert!(silence.look(Duration::from_secs(1), &file).is_ok() && silence.told == [false; 2]);
        assert!(silence.look(ANSWER_PATIENCE, &file).is_ok() && silence.told == [false, true]);
        let error = silence.look(ANSWER_WAIT, &file).unwrap_err().to_string();
        assert!(error.starts_with("S2 took the connection at two:2 and did not answer"), "{error}");
        silence.came[1] += 100;
        assert!(silence.look(ANSWER_WAIT * 10, &file).is_ok(), "an epoch may be long in coming");
    }
}
