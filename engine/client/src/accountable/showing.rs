//! What servers signed is verified, and what is wrong becomes evidence.

use super::round_ends::Word;
use super::turns::{Answer, Asked, Place};
use super::{Accounts, Facts};
use crate::client::Client;
use crate::event::{Event, Shortfall};
use crate::observer::{Observer, User};
use twincast_protocol::accountable::blame::Verdict;
use twincast_protocol::accountable::evidence::{About, Evidence, GivenBy};
use twincast_protocol::accountable::headers::Headers;
use twincast_protocol::accountable::upload::share_hash;
use twincast_protocol::identity::{Batch, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, UserId};
use twincast_protocol::receive::TILE_SENDERS;
use twincast_protocol::statements;

/// Whose signatures are verified.
#[derive(Clone, Copy)]
struct Signers {
    group: GroupId,
    servers: [VerifyingKey; 2],
}

/// A signature in a batch: whose, about whom, and what is missing where it is wrong.
type Tag = (ServerSide, UserId, Shortfall);

impl Signers {
    /// Adds what both servers signed for one user at the end of a round.
    fn push(
        &self,
        facts: &Facts,
        round: RoundNumber,
        user: &User,
        words: &[Option<Word>; 2],
        batch: &mut Batch,
        tags: &mut Vec<Tag>,
    ) {
        for (server, word) in ServerSide::BOTH.into_iter().zip(words) {
            let (Some(word), key) = (word, &self.servers[server.index()]) else { continue };
            let (group, epoch) = (self.group, facts.epoch);
            let receipt = statements::receipt(group, epoch, round, server, &facts.hash, &word.present);
            batch.push(key, &receipt, &word.receipt);
            tags.push((server, user.id, Shortfall::Receipt));
            let root = &word.root;
            let delivery = statements::delivery(group, epoch, round, server, user.id, &root.root);
            batch.push(key, &delivery, &root.signature);
            tags.push((server, user.id, Shortfall::Delivery));
        }
    }
}

impl Accounts {
    /// Tells which signatures of a batch are wrong. A client that has sent nothing has nothing to verify with, and was
    /// given nothing.
    fn verify(&mut self, round: RoundNumber, batch: &mut Batch, tags: &[Tag], observer: &mut impl Observer) {
        let Some(coefficients) = &mut self.coefficients else { return };
        for ((server, user, why), valid) in tags.iter().zip(batch.verify(coefficients)) {
            if !valid {
                let (server, user, why) = (*server, *user, *why);
                observer.event(Event::Unaccountable { server, user, round, why });
            }
        }
    }
}

impl Client {
    /// Verifies, together, what the servers signed at the end of a round for every user who has doubts about it.
    pub(crate) fn verify_doubts(&mut self, epoch: Epoch, round: RoundNumber, observer: &mut impl Observer) {
        let Some(signers) = self.signers() else { return };
        let accounts = &mut self.accounts;
        let Some(facts) = accounts.epochs.iter().find(|facts| facts.epoch == epoch) else { return };
        let (mut batch, mut tags, mut seen) = (Batch::default(), Vec::new(), Vec::new());
        for doubt in accounts.doubts.of_round(round).filter(|doubt| doubt.tile.epoch == epoch) {
            let position = facts.users.iter().position(|user| user.id == doubt.user.id);
            let Some(position) = position else { continue };
            doubt.words = accounts.ends.words(epoch, round, position);
            // A user may have doubts about several tiles of a round.
            if !seen.contains(&position) {
                seen.push(position);
                signers.push(facts, round, &doubt.user, &doubt.words, &mut batch, &mut tags);
            }
        }
        accounts.verify(round, &mut batch, &tags, observer);
    }

    /// What both servers answered is checked: where the user has doubts, there is evidence about each sender that it has
    /// doubts about; where it has none, only if a server contradicts itself.
    pub(super) fn show(&mut self, asked: &Asked, observer: &mut impl Observer) {
        let Some(signers) = self.signers() else { return };
        let accounts = &mut self.accounts;
        let Some(facts) = accounts.epochs.iter().find(|facts| facts.epoch == asked.place.epoch) else {
            return;
        };
        let roster = facts.roster.clone();
        let Place { round, user, .. } = asked.place;
        if asked.doubt.is_none() {
            let (mut batch, mut tags) = (Batch::default(), Vec::new());
            signers.push(facts, round, &user, &asked.words, &mut batch, &mut tags);
            accounts.verify(round, &mut batch, &tags, observer);
        }
        let mut headers = [None, None];
        for server in ServerSide::BOTH {
            let index = server.index();
            let key = &signers.servers[index];
            let (word, answer) = (&asked.words[index], &asked.answers[index]);
            let why = match answer {
                Answer::Headers(own) if own.verify(signers.group, server, user.id, key) => {
                    headers[index] = Some(&**own);
                    continue;
                }
                Answer::Headers(_) => Shortfall::Headers,
                // Of what it never said the end of, it may have nothing to say.
                Answer::Nothing | Answer::Waiting if word.is_none() => continue,
                Answer::Nothing | Answer::Waiting => Shortfall::NoHeaders,
            };
            observer.event(Event::Unaccountable { server, user: user.id, round, why });
        }
        match &asked.doubt {
            Some(doubt) => {
                let senders: Vec<MemberIndex> = doubt.senders().collect();
                for sender in senders {
                    tell_of_other_cells(asked, headers, sender, observer);
                    if let Some((evidence, _)) = signers.evidence(asked, headers, &roster, sender) {
                        observer.evidence(user, Box::new(evidence));
                        accounts.doubts.accuse(user.id, sender);
                    }
                }
            }
            None if asked.contradicts(headers) => {
                let sender = MemberIndex(asked.place.tile * TILE_SENDERS as u32);
                match signers.evidence(asked, headers, &roster, sender) {
                    Some((evidence, verdict)) if !matches!(verdict, Verdict::Nobody(..)) => {
                        observer.evidence(user, Box::new(evidence));
                    }
                    _ => {}
                }
            }
            None => {}
        }
    }

    fn signers(&self) -> Option<Signers> {
        let servers = self.settings.accountable?;
        Some(Signers { group: self.settings.group, servers })
    }
}

/// Tells of a server that signed the hash of another cell than it delivered: nobody else can be shown that.
fn tell_of_other_cells(
    asked: &Asked,
    headers: [Option<&Headers>; 2],
    sender: MemberIndex,
    observer: &mut impl Observer,
) {
    let position = sender.0 % TILE_SENDERS as u32;
    let Some(cells) = asked.doubt.as_ref().and_then(|doubt| doubt.cells_of(position)) else { return };
    for server in ServerSide::BOTH {
        let index = server.index();
        let signed = headers[index].and_then(|headers| headers.share_hash(position));
        if signed.is_some_and(|signed| signed != share_hash(cells[index])) {
            let (user, round, why) =
                (asked.place.user.id, asked.place.round, Shortfall::OtherCell { sender });
            observer.event(Event::Unaccountable { server, user, round, why });
        }
    }
}

impl Signers {
    /// Evidence about one sender of a tile, with what it says.
    fn evidence(
        &self,
        asked: &Asked,
        headers: [Option<&Headers>; 2],
        roster: &[UserId],
        sender: MemberIndex,
    ) -> Option<(Evidence, Verdict)> {
        let Place { epoch, round, user, slot, .. } = asked.place;
        let (group, recipient, position) = (self.group, user.id, sender.0 % TILE_SENDERS as u32);
        let about = About { group, epoch, round, slot, sender: *roster.get(sender.0 as usize)?, recipient };
        let cells = asked.doubt.as_ref().and_then(|doubt| doubt.cells_of(position));
        let given = [0, 1].map(|server: usize| {
            let word = asked.words[server].as_ref();
            GivenBy {
                receipt: word.map(|word| (&*word.present, &word.receipt)),
                root: word.map(|word| &word.root),
                headers: headers[server],
                cell: cells.map(|cells| cells[server]),
            }
        });
        // Headers of another tile do not get here.
        Evidence::share(about, roster, self.servers, given).ok()
    }
}

impl Asked {
    /// Whether a server's headers do not lead to the root that it signed, or name others than its receipt does.
    fn contradicts(&self, headers: [Option<&Headers>; 2]) -> bool {
        let tile = self.place.tile as usize;
        headers.into_iter().zip(&self.words).any(|(headers, word)| {
            let (Some(headers), Some(word)) = (headers, word) else { return false };
            headers.delivery_root() != Some(word.root.root)
                || word.present.get(tile) != Some(&headers.head.present.get())
        })
    }
}
