//! What the servers say of epochs: WELCOME, ANNOUNCE and ROSTER of both become sessions.

use crate::client::Client;
use crate::decoder::Decoder;
use crate::epochs::next;
use crate::error::{ClientError, field};
use crate::group::{self, Delivery, GroupSettings};
use crate::key::Key;
use crate::limits::{RECEIVE_BYTES, ROUND_MAX};
use crate::observer::Observer;
use crate::roster::Said;
use crate::session::Session;
use crate::stream::Stream;
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, UserId};
use twincast_protocol::wire::{Announce, Body, Kind, Roster, Welcome};

impl Client {
    /// Takes `server`'s WELCOME, which is its first.
    pub(crate) fn welcome(&mut self, server: ServerSide, welcome: Welcome) -> Result<(), ClientError> {
        let settings = GroupSettings::read(server, &welcome, &self.settings)?;
        if let Some(epoch) = self.settings.epoch {
            field(server, Welcome::KIND, "epoch", settings.epoch.0.into(), epoch.0.into())?;
        }
        let round = match welcome.open {
            0 => RoundNumber::FIRST,
            _ => round_in_bounds(server, "round", welcome.round.get())?,
        };
        let said = Said::new(server, settings.epoch, settings.members, welcome.roster_hash, None)?;
        let stream = &mut self.streams[server.index()];
        if settings.delivery == Delivery::Answer {
            stream.expect_members(settings.members);
        }
        if settings.accountable {
            stream.expect_signed(settings.members, settings.slots, self.ids.len());
        }
        stream.said.push(said);
        stream.epoch = settings.epoch;
        stream.round = round;
        stream.open = welcome.open == 1;
        stream.in_step = !stream.open;
        stream.floor = match stream.open {
            true => Key::round(stream.epoch, RoundNumber(0)),
            false => Key::start(stream.epoch),
        };
        stream.welcome = Some(welcome);
        if let [Some(one), Some(two)] = self.streams.each_ref().map(|stream| stream.welcome.as_ref()) {
            group::compare([one, two])?;
            // Two servers that started anew count rounds anew: nothing of what was before is of use.
            let round = one.round.get().max(two.round.get());
            if self.next_submission.0 > round.saturating_add(2) {
                self.kept.clear();
                (self.next_submission, self.silent_until) = (RoundNumber::DIAL, RoundNumber::DIAL);
            }
            for stream in &mut self.streams {
                let piece_bytes = settings.piece_bytes(stream.server);
                let first_bytes = RECEIVE_BYTES.min(self.ids.len().saturating_mul(piece_bytes));
                stream.inbound.resize(first_bytes, self.settings.skew_bytes, piece_bytes);
            }
            self.decoder = Some(Decoder::new(&settings));
            self.group = Some(settings);
        }
        Ok(())
    }

    /// Takes an ANNOUNCE, which the members follow.
    pub(crate) fn announce(&mut self, server: ServerSide, announce: &Announce) -> Result<(), ClientError> {
        let (kind, answered) = (Kind::Announce, self.is_answered(server));
        let stream = &mut self.streams[server.index()];
        let epoch = Epoch(announce.epoch.get());
        if stream.said.last().is_some_and(|said| !said.is_whole()) {
            let when = "before the members of the last epoch are listed";
            return Err(ClientError::Unexpected { server, kind, when });
        }
        if stream.gave_up {
            let newer = epoch > stream.epoch && epoch < Epoch(u32::MAX);
            field(
                server,
                kind,
                "epoch",
                epoch.0.into(),
                if newer { epoch } else { next(stream.epoch) }.0.into(),
            )?;
            stream.said.clear();
        } else if !stream.open {
            return Err(ClientError::Unexpected { server, kind, when: "before EPOCH_OPEN" });
        } else {
            field(server, kind, "epoch", epoch.0.into(), next(stream.epoch).0.into())?;
        }
        let first_round = round_in_bounds(server, "first_round", announce.first_round.get())?;
        let (members, hash) = (announce.members.get(), announce.roster_hash);
        let said = Said::new(server, epoch, members, hash, Some(first_round))?;
        if answered {
            stream.expect_members(members);
        }
        if let Some(welcome) = stream.welcome.filter(Welcome::is_accountable) {
            stream.expect_signed(members, welcome.slots.get(), self.ids.len());
        }
        stream.said.retain(|said| said.epoch != epoch);
        stream.said.push(said);
        Ok(())
    }

    /// Takes a ROSTER. Once both servers have listed the members of an epoch, there is a session for it.
    pub(crate) fn roster_frame(
        &mut self,
        server: ServerSide,
        head: &Roster,
        users: &[UserId],
        observer: &mut impl Observer,
    ) -> Result<(), ClientError> {
        let group = self.settings.group;
        let said = self.streams[server.index()].said.last_mut().filter(|said| !said.is_whole());
        let Some(said) = said else {
            return Err(ClientError::Unexpected {
                server,
                kind: Kind::Roster,
                when: "that nothing announced",
            });
        };
        said.list(server, group, head, users)?;
        self.settle(observer)
    }

    /// Makes sessions of the epochs that both servers have described.
    fn settle(&mut self, observer: &mut impl Observer) -> Result<(), ClientError> {
        let Some(group) = self.group else { return Ok(()) };
        while let Some([one, two]) = self.described_by_both() {
            Said::compare([&one, &two])?;
            let (epoch, hash) = (one.epoch, one.hash);
            let first_round = one.first_round.or(two.first_round);
            let kept = self.kept.iter().position(|kept| (kept.epoch, kept.hash) == (epoch, hash));
            let session = match kept.and_then(|kept| self.kept.remove(kept)) {
                Some(kept) => Session { first_round, ..kept },
                None => {
                    self.serial += 1;
                    Session::new(self.serial, &group, Said { first_round, ..one }, &self.ids)?
                }
            };
            self.kept.retain(|kept| kept.epoch > epoch);
            let given_up = self.streams.iter().all(|stream| stream.gave_up);
            if self.sessions.is_empty() {
                self.attach(group, session, observer);
            } else if given_up {
                self.start_over(session, observer);
            } else if epoch == next(self.sessions[0].epoch) {
                self.tell_announced(&session, &self.sessions[0], observer);
                self.sessions.truncate(1);
                self.cancel(epoch);
                self.sessions.push_back(session);
            }
        }
        Ok(())
    }

    /// The earliest epoch that both servers have described, and that there is no session for.
    fn described_by_both(&mut self) -> Option<[Said; 2]> {
        let [one, two] = &mut self.streams;
        // One that gave everything up waits for the other to do so, unless the other is met in the new epoch.
        if one.gave_up != two.gave_up && !self.sessions.is_empty() {
            return None;
        }
        let whole = |stream: &Stream, epoch: Epoch| {
            stream.said.iter().position(|said| said.epoch == epoch && said.is_whole())
        };
        let epoch = one
            .said
            .iter()
            .map(|said| said.epoch)
            .filter(|epoch| whole(one, *epoch).is_some() && whole(two, *epoch).is_some());
        let epoch = epoch.min()?;
        let (first, second) = (whole(one, epoch)?, whole(two, epoch)?);
        Some([one.said.remove(first), two.said.remove(second)])
    }
}

/// A round that there can be.
pub(crate) fn round_in_bounds(
    server: ServerSide,
    field: &'static str,
    round: u64,
) -> Result<RoundNumber, ClientError> {
    match (1..=ROUND_MAX).contains(&round) {
        true => Ok(RoundNumber(round)),
        false => Err(ClientError::Group { server, field, said: round }),
    }
}
