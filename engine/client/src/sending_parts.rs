//! Parts for the servers: seeds for S1, and for S2 one part a member, some members at a time.

use crate::client::Client;
use crate::dials::Secrets;
use crate::event::Event;
use crate::exchange::Members;
use crate::key::Key;
use crate::limits::PARTS_MEMBERS;
use crate::observer::Outbox;
use crate::outbound::{Begun, Wanted};
use crate::session::Session;
use rand::CryptoRng;
use twincast_protocol::confirm::ConfirmationMaker;
use twincast_protocol::ids::{GroupId, MemberIndex, ServerSide};
use twincast_protocol::keys::{KeyKind, KeyPartsMaker};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Body, PartsHead};

impl Client {
    /// Draws the keys of users who will exchange them.
    pub(crate) fn draw_keys(&mut self, rng: &mut impl CryptoRng) {
        if !self.group.is_some_and(|group| group.exchanges_keys()) {
            return;
        }
        for session in &mut self.sessions {
            if !session.exchange.is_drawn() && session.opened == [None; 2] {
                session.exchange.draw(session.members(), rng);
            }
        }
    }

    /// The position in its queue of the next parts that `server` wants and that can be made.
    pub(crate) fn next_parts(&self, server: ServerSide) -> Option<usize> {
        let wanted = &self.streams[server.index()].outbound.wanted;
        wanted.iter().position(|wanted| {
            match self.sessions.iter().find(|session| session.serial == wanted.session) {
                // Replies are known once all keys are read, or can no more come.
                Some(session) if wanted.kind == PartKind::KeyReply => {
                    let replies = Key::parts(wanted.epoch, PartKind::KeyReply, 0, 0);
                    session.has_read(PartKind::Key)
                        || self.streams.iter().all(|stream| stream.floor >= replies)
                }
                _ => true,
            }
        })
    }

    /// Begins the next parts that `server` wants: all of them for S1, the head for S2.
    pub(crate) fn begin_parts(&mut self, server: ServerSide, outbox: &mut impl Outbox) {
        let Some(next) = self.next_parts(server) else { return };
        let Client { streams, sessions, events, .. } = self;
        let outbound = &mut streams[server.index()].outbound;
        let Some(parts) = outbound.wanted.remove(next) else { return };
        let Some(session) = sessions.iter_mut().find(|session| session.serial == parts.session) else {
            return;
        };
        if parts.kind != PartKind::Confirmation {
            ask_partners(session, parts.position, outbox, events);
        }
        let Some(seed) = session.seed(&parts, server) else { return };
        let sender = session.user(parts.position).member;
        let head = PartsHead::new(parts.epoch, sender, parts.slot, parts.kind.purpose());
        match server {
            ServerSide::One => {
                let frame = head.seed_frame(seed);
                outbound.end().extend_from_slice(&frame);
                session.finish(&parts, server);
            }
            ServerSide::Two => {
                let members = session.members();
                session.start(&parts);
                head.put(members as usize * parts.kind.bytes(), outbound.end());
                outbound.begun = Some(Begun { parts, next: 0, members });
            }
        }
    }

    /// Makes some more parts of the frame that was begun.
    pub(crate) fn more_parts(&mut self, server: ServerSide, rng: &mut impl CryptoRng) {
        let Client { streams, sessions, settings, .. } = self;
        let outbound = &mut streams[server.index()].outbound;
        let Some(begun) = outbound.begun else { return };
        let Begun { parts, next, members } = begun;
        let some = (members - next).min(PARTS_MEMBERS as u32);
        let out = outbound.end();
        let start = out.len();
        out.resize(start + some as usize * parts.kind.bytes(), 0);
        let session = sessions.iter_mut().find(|session| session.serial == parts.session);
        // An epoch that was given up in between: the frame is completed, and of no use to anybody.
        if let Some(session) = &session {
            session.write_parts(settings.group, &parts, MemberIndex(next), rng, &mut out[start..]);
        }
        let next = next + some;
        outbound.begun = (next < members).then_some(Begun { next, ..begun });
        if let Some(session) = session.filter(|_| next == members) {
            session.finish(&parts, server);
        }
    }
}

/// Asks the caller, once, whom a user wants to share a key with.
fn ask_partners(session: &mut Session, position: usize, outbox: &mut impl Outbox, events: &mut Vec<Event>) {
    if session.exchange.is_asked(position) {
        return;
    }
    let (epoch, user) = (session.epoch, session.user(position));
    let mut wanted = Members::none(session.members());
    for partner in outbox.key_partners(epoch, user) {
        match session.member(*partner) {
            Some(member) => wanted.insert(member),
            None => events.push(Event::RecipientGone { epoch, sender: user.id, recipient: *partner }),
        }
    }
    session.exchange.want(position, wanted);
}

impl Session {
    /// S1's part of these parts, if this client has what they are made of.
    fn seed(&self, parts: &Wanted, server: ServerSide) -> Option<&[u8; 32]> {
        match parts.kind {
            PartKind::Confirmation => {
                let dial = self.dials.get(self.dial_of(parts))?;
                match dial.secrets().filter(|_| dial.is_of(server)) {
                    Some((_, Secrets::Select { seed, .. })) => Some(seed),
                    Some((_, Secrets::Query(_))) | None => None,
                }
            }
            PartKind::Key => Some(self.exchange.seed(parts.position, KeyKind::Key)),
            PartKind::KeyReply => Some(self.exchange.seed(parts.position, KeyKind::Reply)),
        }
    }

    /// S2 gets these parts, once.
    fn start(&mut self, parts: &Wanted) {
        match parts.kind {
            PartKind::Confirmation => {
                let position = self.dial_of(parts);
                self.dials[position].begun = true;
            }
            PartKind::Key => self.exchange.begin(parts.position, KeyKind::Key),
            PartKind::KeyReply => self.exchange.begin(parts.position, KeyKind::Reply),
        }
    }

    /// `server` has all of these parts.
    fn finish(&mut self, parts: &Wanted, server: ServerSide) {
        if parts.kind == PartKind::Confirmation {
            let (position, is_open) = (self.dial_of(parts), self.is_open());
            self.dials[position].finish(server);
            if is_open {
                self.dials[position].forget();
            }
        }
    }

    /// Writes S2's parts for the members from `first` on.
    fn write_parts(
        &self,
        group: GroupId,
        parts: &Wanted,
        first: MemberIndex,
        rng: &mut impl CryptoRng,
        out: &mut [u8],
    ) {
        let (epoch, sender) = (self.epoch, self.user(parts.position).member);
        let key_kind = match parts.kind {
            PartKind::Confirmation => {
                let dial = self.dials.get(self.dial_of(parts));
                let secrets = dial.and_then(|dial| dial.secrets());
                let Some((_, Secrets::Select { p1, p2, seed, commitment })) = secrets else { return };
                let maker = ConfirmationMaker::new(group, epoch, sender, parts.slot, p1, p2);
                return match commitment {
                    Some(commitment) => maker.parts(seed, first, &mut commitment.coins(first), out),
                    None => maker.parts(seed, first, rng, out),
                };
            }
            PartKind::Key => KeyKind::Key,
            PartKind::KeyReply => KeyKind::Reply,
        };
        let Some(targets) = self.exchange.targets(parts.position, key_kind) else { return };
        let wanted = |member| targets.has(member);
        KeyPartsMaker::new(group, epoch, sender, key_kind, self.exchange.public(parts.position), &wanted)
            .parts(self.exchange.seed(parts.position, key_kind), first, rng, out);
    }

    fn dial_of(&self, parts: &Wanted) -> usize {
        parts.position * self.slots() + parts.slot.0 as usize
    }

    fn slots(&self) -> usize {
        self.dials.len().checked_div(self.users.len()).unwrap_or_default()
    }
}
