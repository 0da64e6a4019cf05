//! `twincast-client talk`: joins, dials one user, sends the lines that it reads and prints what it accepts.
//!
//! Three threads read: one each server's socket, one standard input. They hand what they read to the one that has the
//! client, which also writes.

use crate::conversation::Conversation;
use crate::evidence::EvidenceFiles;
use crate::file::ClientFile;
use crate::kept::Kept;
use crate::out::tell;
use crate::sockets::{News, Sockets};
use anyhow::{anyhow, bail};
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use twincast_client::{Client, ClientSettings};
use twincast_protocol::channel::SECOND_BYTES;
use twincast_protocol::ids::{GroupId, ServerSide, UserId};
use twincast_protocol::wire::Code;

/// How often a client looks at the clock when nothing arrives.
const TICK: Duration = Duration::from_millis(50);
/// How long a server may be silent at the beginning before that is said.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may be silent in all.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How far one server may be ahead of the other, in bytes.
const SKEW_BYTES: usize = 16 << 20;

/// Talk with one user of the group: lines of standard input go out, what others write to you is printed.
///
/// Each round carries one line, or nothing, which looks the same to both servers; whom you write to they do not see
/// either. A line that is too long for a message goes out in pieces, one a round. A user whom the group does not have asks
/// to join, and is let in with the next epoch. Messages go to standard output, one `USER: TEXT` a line; everything else to
/// standard error. The end of standard input ends the program once everything is said.
///
/// FILE.signed, beside the client file, has what you signed last, so that no run signs for a round a second time: use both
/// on one machine alone. Where an accountable group is shown that somebody lied, FILE.evidence-* has what shows it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The client file that `twincast-client init` wrote.
    file: PathBuf,
    /// Whom you write to: a user's number.
    #[arg(long, value_name = "USER")]
    to: u32,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = ClientFile::read(&arguments.file)?;
    let mut kept = Kept::open(&arguments.file, &file)?;
    let settings = ClientSettings {
        group: GroupId(file.group),
        epoch: None,
        join: true,
        skew_bytes: SKEW_BYTES,
        signed: kept.signed(),
        accept_baseline: false,
        channel: file.channel(),
        accountable: file.verifying_keys(),
    };
    let mut client = Client::new(settings, vec![UserId(file.user)])?;
    let evidence = EvidenceFiles::new(&arguments.file, file.verifying_keys());
    let mut talk = Conversation::new(UserId(arguments.to), file.signing_key(), evidence);
    let (tell, news) = mpsc::channel();
    let sockets = Sockets::connect(&file, &tell)?;
    thread::spawn(move || read_lines(&tell));
    let mut run = Run { arguments, file, sockets, start: Instant::now() };
    let end = run.converse(&mut client, &mut talk, &mut kept, &news);
    // Nothing is sent any more.
    end.and(kept.settle(client.signed()))
}

/// What a run works with besides what it says and hears.
struct Run<'a> {
    arguments: &'a Arguments,
    file: ClientFile,
    sockets: Sockets,
    start: Instant,
}

impl Run<'_> {
    fn converse(
        &mut self,
        client: &mut Client,
        talk: &mut Conversation,
        kept: &mut Kept,
        news: &Receiver<News>,
    ) -> anyhow::Result<()> {
        let mut said_all = false;
        let mut silence = Silence::default();
        loop {
            self.send(client, talk, kept)?;
            match news.recv_timeout(TICK) {
                Ok(News::Bytes(server, bytes)) if bytes.is_empty() => {
                    self.take(client, talk, kept)?;
                    return Err(closed(server, talk, self.arguments));
                }
                Ok(News::Bytes(server, bytes)) => {
                    silence.came[server.index()] += bytes.len();
                    self.sockets.came(server, bytes);
                }
                Ok(News::Line(Some(line))) => talk.lines.push(line),
                Ok(News::Line(None)) => said_all = true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nothing is left to read from"),
            }
            self.take(client, talk, kept)?;
            silence.look(self.start.elapsed(), &self.file)?;
            if let Some(end) = talk.ended.take() {
                return end;
            }
            if talk.answered {
                bail!(
                    "the group's delivery is `answer`, where members ask for records: this program is for `broadcast`"
                );
            }
            if said_all && talk.waits_in_vain() {
                bail!("not everything was sent, and it never can be");
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

    /// Sends what there is to say. What the next run has to know of it is on the disk before.
    fn send(&mut self, client: &mut Client, talk: &mut Conversation, kept: &mut Kept) -> anyhow::Result<()> {
        let mut rng = rand::rng();
        for server in ServerSide::BOTH {
            loop {
                let bytes = client.outgoing(server, &mut rng, talk)?.to_vec();
                if let Some(epoch) = talk.dialled.take() {
                    kept.dial(talk.peer[0], epoch)?;
                }
                if let (Some(signed), Some(group)) = (client.signed(), client.group()) {
                    kept.sign(signed, group.interval)?;
                }
                if bytes.is_empty() {
                    break;
                }
                let some = self.sockets.send(server, &bytes);
                client.sent(server, some);
            }
        }
        Ok(())
    }

    /// Gives the client what came, as far as it takes it.
    fn take(&mut self, client: &mut Client, talk: &mut Conversation, kept: &Kept) -> anyhow::Result<()> {
        loop {
            let mut taken = 0;
            for server in ServerSide::BOTH {
                let some = self.sockets.give(server, client.space(server, self.start.elapsed()));
                client.filled(server, some);
                taken += some;
            }
            client.advance(self.start.elapsed(), talk)?;
            talk.look(client, kept);
            if taken == 0 {
                return Ok(());
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
                tell!(
                    "{server} does not answer at {address}: waiting until {} s are over",
                    ANSWER_WAIT.as_secs()
                );
            }
        }
        Ok(())
    }
}

/// Why a server has closed the connection, as far as that is known, and what to do.
fn closed(server: ServerSide, talk: &Conversation, arguments: &Arguments) -> anyhow::Error {
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
        let file = ClientFile {
            group: 1,
            user: 2,
            epoch: 0,
            signing_key: Seed(Box::new(Zeroizing::new([1; 32]))),
            s1,
            s2,
        };
        let mut silence = Silence { came: [1000, SECOND_BYTES], ..Silence::default() };
        assert!(silence.look(Duration::from_secs(1), &file).is_ok() && silence.told == [false; 2]);
        assert!(silence.look(ANSWER_PATIENCE, &file).is_ok() && silence.told == [false, true]);
        let error = silence.look(ANSWER_WAIT, &file).unwrap_err().to_string();
        assert!(error.starts_with("S2 took the connection at two:2 and did not answer"), "{error}");
        silence.came[1] += 100;
        assert!(silence.look(ANSWER_WAIT * 10, &file).is_ok(), "an epoch may be long in coming");
    }
}
