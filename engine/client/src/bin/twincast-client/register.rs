//! `twincast-client register`: an account at both servers.

use crate::file::{ClientFile, Digits};
use crate::out::{self, tell};
use crate::sockets::{News, Sockets};
use anyhow::{Context, bail};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use twincast_client::{Registration, RegistrationError};
use twincast_protocol::accountable::Certificate;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::Code;

/// How long both servers have to answer. Each waits some seconds for the other one.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Get an account at both servers for the key in a client file.
///
/// Each server signs the key once the other one was given the same; both signatures are verified and kept in the file. It
/// does no harm to register again: after the operators rotated your key, this takes the epoch that they gave the new one
/// into the file. Where the group takes no registrations over the network, both operators add the account
/// first (`twincast-server admin`), and this fetches their signatures.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The client file that `twincast-client init` wrote.
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let shown = arguments.file.display();
    let mut file = ClientFile::read(&arguments.file)?;
    let certificate = register(&file).with_context(|| format!("user {} is not registered", file.user))?;
    let [one, two] = certificate.signatures;
    let from = std::mem::replace(&mut file.epoch, certificate.epoch.0);
    (file.s1.signature, file.s2.signature) = (Some(Digits(one)), Some(Digits(two)));
    file.replace(&arguments.file)?;
    let _ =
        out::print(&format!("user {} is registered in group {} at both servers\n", file.user, file.group))?;
    if file.epoch != from {
        tell!(
            "both servers have this key as the user's from epoch {} on: {shown} says so now, where it said {from}",
            file.epoch
        );
    }
    tell!("their signatures are in {shown}; next: `twincast-client talk {shown} --to USER`");
    Ok(())
}

fn register(file: &ClientFile) -> anyhow::Result<Certificate> {
    let servers = file.verifying_keys().context(
        "the client file does not have both servers' verifying_key, with which their signatures are verified: add \
         them, as `twincast-server keygen` printed them",
    )?;
    let key = file.signing_key();
    let mut registration = Registration::new(&file.channel(), file.account(), &key, servers);
    let (tell, news) = mpsc::channel();
    let mut sockets = Sockets::connect(file, &tell)?;
    let (end, mut rng) = (Instant::now() + ANSWER_WAIT, rand::rng());
    loop {
        for server in ServerSide::BOTH {
            loop {
                let bytes = registration.outgoing(server, &mut rng);
                if bytes.is_empty() {
                    break;
                }
                let some = sockets.send(server, bytes);
                registration.sent(server, some);
            }
        }
        let Some((server, bytes)) = next(&news, end) else {
            let silent = ServerSide::BOTH.into_iter().find(|server| !registration.has_answered(*server));
            let (silent, wait) = (silent.unwrap_or(ServerSide::One), ANSWER_WAIT.as_secs());
            bail!("{silent} did not answer within {wait} s: try again, which does no harm");
        };
        if bytes.is_empty() && !registration.has_answered(server) {
            bail!(
                "{server} closed the connection without an answer. It may have another channel key than the client \
                 file says: compare it with what its operator publishes"
            );
        }
        sockets.came(server, bytes);
        loop {
            let some = sockets.give(server, registration.space(server));
            registration.filled(server, some);
            let done = registration.advance().map_err(|error| explained(error, file))?;
            if let Some(certificate) = done {
                return Ok(certificate);
            }
            if some == 0 {
                break;
            }
        }
    }
}

/// What a server sends next, if it does by then.
fn next(news: &Receiver<News>, end: Instant) -> Option<(ServerSide, Vec<u8>)> {
    match news.recv_timeout(end.saturating_duration_since(Instant::now())) {
        Ok(News::Bytes(server, bytes)) => Some((server, bytes)),
        Ok(News::Line(_)) | Err(_) => None,
    }
}

/// The refusal, and what to do about it.
fn explained(error: RegistrationError, file: &ClientFile) -> anyhow::Error {
    let (RegistrationError::Refused { code, server } | RegistrationError::RefusedInTheClear { code, server }) =
        error
    else {
        return error.into();
    };
    let ClientFile { group, user, epoch, .. } = file;
    let key = hex::encode(file.signing_key().verifying_key().to_bytes());
    let remedy = match code {
        Code::RegistrationClosed => format!(
            "`twincast-server admin --config FILE add --group {group} --user {user} --key {key}` at each; then register, \
             which fetches their signatures"
        ),
        Code::AccountTaken => format!(
            "if user {user} is you and the old key is lost, ask both operators to rotate it; else take another number"
        ),
        Code::KeysUnequal => format!(
            "try again; if it stays so, somebody else registers as user {user}, or one server's channel_key in the \
             client file is not the real one: tell both operators"
        ),
        Code::RegistrationHalf => {
            "the two servers may have no link now, or one of them does not have the account: try again, or ask both \
             operators"
                .to_owned()
        }
        Code::RegistrationWrong => format!("epoch {epoch} may not be the one from which on the key is yours"),
        Code::GroupUnknown => format!("group {group} is what the client file says"),
        Code::ChannelBroken => {
            format!("compare {server}'s channel_key in the client file with what its operator publishes")
        }
        Code::SideWrong => "the client file has S1's address where S2's belongs".to_owned(),
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {remedy}")
}
