//! The group as both servers describe it.

use crate::client::ClientSettings;
use crate::error::{ClientError, field};
use crate::limits::{HEADER_ROUNDS_MAX, PART_TILE_BYTES, SLOTS_MAX, TILE_SENDERS};
use crate::roster;
use std::time::Duration;
use twincast_protocol::answer::{self, RECORD_BYTES};
use twincast_protocol::format::{Profile, Scheme, ShareFormat};
use twincast_protocol::ids::{Epoch, GroupId, ServerSide};
use twincast_protocol::parts::PartKind;
use twincast_protocol::sealed::SEAL_OVERHEAD_BYTES;
use twincast_protocol::wire::{Kind, Welcome};

/// A group's way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Every member gets a cell of every sender.
    Broadcast,
    /// Every member gets the records that it asks for, by two-server PIR.
    Answer,
}

/// Bytes that say whether a message is sealed, in a group that exchanges keys.
pub(crate) const MARK_BYTES: usize = 1;

/// What both servers' WELCOME say of the group. The members are those of the epoch that ran, or was dialled, then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// The group.
    pub group: GroupId,
    /// The epoch that was running or, where none was, being dialled.
    pub epoch: Epoch,
    /// Members of that epoch, n.
    pub members: u32,
    /// Slots of a member, K; where the delivery is `answer`, its queries.
    pub slots: u32,
    /// How rounds come.
    pub delivery: Delivery,
    /// How messages become shares.
    pub format: ShareFormat,
    /// Senders to a tile of confirmations in that epoch; 0 where the group has none.
    pub confirm_tile_senders: u32,
    /// Senders to a tile of keys and of replies in that epoch; 0 where members do not exchange keys.
    pub key_tile_senders: u32,
    /// How long a round waits for the second server.
    pub round_timeout: Duration,
    /// Time between two seals where rounds go by the clock; zero in lockstep.
    pub interval: Duration,
    /// Rounds of an epoch; 0 where it has no end.
    pub epoch_rounds: u32,
    /// How many rounds before an epoch's first it is announced.
    pub announce_rounds: u32,
    /// Whether the servers are linked to each other.
    pub linked: bool,
    /// Whether users are registered, and prove who they are.
    pub registered: bool,
    /// Whether members and servers sign what they send.
    pub accountable: bool,
    /// Rounds from one turn of a member to fetch headers to the next, in an accountable group; else 0.
    pub header_rounds: u32,
    /// Whether tiles of parts are as large as [`PART_TILE_BYTES`] allows, and so follow n from epoch to epoch.
    pub(crate) fills_tiles: bool,
}

impl GroupSettings {
    /// What `server` says, checked against what was asked for.
    pub(crate) fn read(
        server: ServerSide,
        welcome: &Welcome,
        asked: &ClientSettings,
    ) -> Result<GroupSettings, ClientError> {
        let group = asked.group;
        let kind = Kind::Welcome;
        let refuse = |field, said: u32| Err(ClientError::Group { server, field, said: said.into() });

        field(server, kind, "group", welcome.group.get().into(), group.0.into())?;
        let delivery = match welcome.delivery {
            0 => Delivery::Broadcast,
            1 => Delivery::Answer,
            other => return refuse("delivery", other.into()),
        };
        let known = Welcome::REGISTERED | Welcome::ACCOUNTABLE;
        if welcome.flags & !known != 0 {
            return refuse("flags", welcome.flags.into());
        }
        let slots = welcome.slots.get();
        if slots == 0 || slots > SLOTS_MAX {
            return refuse("slots", slots);
        }
        for (field, flag) in [("open", welcome.open), ("linked", welcome.linked)] {
            if flag > 1 {
                return refuse(field, flag.into());
            }
        }
        if delivery == Delivery::Answer {
            check_answer(server, welcome)?;
        }
        check_accountable(server, welcome)?;
        if welcome.is_accountable() && asked.accountable.is_none() {
            return Err(ClientError::Unpinned);
        }
        let format = read_format(server, welcome)?;
        if format.profile().is_paper() && !asked.accept_baseline {
            return Err(ClientError::Baseline { profile: format.profile() });
        }
        if delivery == Delivery::Broadcast {
            let cell_bytes = format.cell_bytes(server) as u64;
            field(server, kind, "share_bytes", welcome.share_bytes.get().into(), cell_bytes)?;
        }
        let tile_sizes = [
            ("confirm_tile_senders", welcome.confirm_tile_senders.get()),
            ("key_tile_senders", welcome.key_tile_senders.get()),
        ];
        let mut fills_tiles = true;
        for ((field, senders), kind) in tile_sizes.into_iter().zip(PartKind::ALL) {
            if senders != 0 && !(senders.is_power_of_two() && senders <= TILE_SENDERS) {
                return refuse(field, senders);
            }
            fills_tiles &= senders == 0 || senders == full_tile_senders(kind, welcome.members.get());
        }
        // A round of one-to-many has one table of choices, and no dial that could be confirmed.
        if let Scheme::OneToMany { .. } = format.scheme() {
            match (slots, tile_sizes[0]) {
                (1, (_, 0)) => {}
                (1, (field, senders)) => return refuse(field, senders),
                _ => return refuse("slots", slots),
            }
        }
        Ok(GroupSettings {
            group,
            epoch: Epoch(welcome.epoch.get()),
            members: welcome.members.get(),
            slots,
            delivery,
            format,
            confirm_tile_senders: tile_sizes[0].1,
            key_tile_senders: tile_sizes[1].1,
            round_timeout: Duration::from_millis(welcome.round_timeout_ms.get().into()),
            interval: Duration::from_millis(welcome.interval_ms.get().into()),
            epoch_rounds: welcome.epoch_rounds.get(),
            announce_rounds: welcome.announce_rounds.get(),
            linked: welcome.linked == 1,
            registered: welcome.is_registered(),
            accountable: welcome.is_accountable(),
            header_rounds: welcome.header_rounds.get(),
            fills_tiles,
        })
    }

    /// Whether the group has bit confirmation.
    #[must_use]
    pub fn confirms(&self) -> bool {
        self.confirm_tile_senders != 0
    }

    /// Whether members exchange keys at the start of each epoch.
    #[must_use]
    pub fn exchanges_keys(&self) -> bool {
        self.key_tile_senders != 0
    }

    /// Whether users sign what they send in a round: nobody may sign two different things for one.
    pub(crate) fn signs_rounds(&self) -> bool {
        self.accountable || self.delivery == Delivery::Answer
    }

    /// The longest message in bytes. In a group that exchanges keys one byte says whether the rest is sealed, and a
    /// sealed message is 16 bytes longer.
    #[must_use]
    pub fn message_bytes_max(&self, sealed: bool) -> usize {
        let around = match (self.exchanges_keys(), sealed) {
            (false, _) => 0,
            (true, false) => MARK_BYTES,
            (true, true) => MARK_BYTES + SEAL_OVERHEAD_BYTES,
        };
        self.format.message_bytes_max().saturating_sub(around)
    }

    /// Whether the group has such parts.
    pub(crate) fn has_parts(&self, kind: PartKind) -> bool {
        self.part_tile_senders(kind, 1) != 0
    }

    /// Senders to a tile of parts in an epoch of so many members; 0 where the group has no such parts.
    pub(crate) fn part_tile_senders(&self, kind: PartKind, members: u32) -> u32 {
        let senders = match kind {
            PartKind::Confirmation => self.confirm_tile_senders,
            PartKind::Key | PartKind::KeyReply => self.key_tile_senders,
        };
        if senders == 0 || !self.fills_tiles { senders } else { full_tile_senders(kind, members) }
    }

    /// The slots that have parts of this kind.
    pub(crate) fn part_slots(&self, kind: PartKind) -> u32 {
        match kind {
            PartKind::Confirmation => self.slots,
            PartKind::Key | PartKind::KeyReply => 1,
        }
    }

    /// Whether slots are dialled: not where each round deals the group anew.
    pub(crate) fn dials(&self) -> bool {
        !matches!(self.format.scheme(), Scheme::OneToMany { .. })
    }

    /// Whether a sender must know more of a dial than that it is in effect.
    pub(crate) fn needs_aim(&self) -> bool {
        self.format.profile().is_paper() || self.format.scheme() != Scheme::Plain
    }

    /// The most bytes that one user gets at once from `server`: of a tile, message or part, or as answers of a round.
    pub(crate) fn piece_bytes(&self, server: ServerSide) -> usize {
        if self.delivery == Delivery::Answer {
            return self.slots as usize * RECORD_BYTES;
        }
        let part_bytes = PartKind::ALL.map(PartKind::bytes).into_iter().max().unwrap_or_default();
        TILE_SENDERS as usize * self.format.cell_bytes(server).max(part_bytes)
    }
}

/// The most senders to a tile of parts that keep it within its limit: a power of two, at most 64.
fn full_tile_senders(kind: PartKind, members: u32) -> u32 {
    let fit = PART_TILE_BYTES / (u64::from(members.max(1)) * kind.bytes() as u64);
    1 << fit.clamp(1, TILE_SENDERS.into()).ilog2()
}

/// Refuses a group whose rounds are answered and that has anything that only broadcast has.
fn check_answer(server: ServerSide, welcome: &Welcome) -> Result<(), ClientError> {
    let fixed: [(&str, u64, u64); 7] = [
        ("profile", welcome.profile.into(), Profile::Compact.number().into()),
        ("scheme", welcome.scheme.into(), 0),
        ("frame_bytes", welcome.frame_bytes.get().into(), answer::FRAME_BYTES as u64),
        ("share_bytes", welcome.share_bytes.get().into(), RECORD_BYTES as u64),
        ("confirm_tile_senders", welcome.confirm_tile_senders.get().into(), 0),
        ("key_tile_senders", welcome.key_tile_senders.get().into(), 0),
        ("linked", welcome.linked.into(), 1),
    ];
    let mut fixed = fixed.into_iter();
    fixed.try_for_each(|(name, said, expected)| field(server, Kind::Welcome, name, said, expected))
}

/// Refuses a group that is accountable and has anything that cannot be accounted for, or is not and has turns.
fn check_accountable(server: ServerSide, welcome: &Welcome) -> Result<(), ClientError> {
    let header_rounds = welcome.header_rounds.get();
    let refused = |field, said: u64| Err(ClientError::Group { server, field, said });
    if !welcome.is_accountable() {
        return field(server, Kind::Welcome, "header_rounds", header_rounds.into(), 0);
    }
    let fixed: [(&str, u64, u64); 5] = [
        ("delivery", welcome.delivery.into(), 0),
        ("profile", welcome.profile.into(), Profile::Compact.number().into()),
        ("scheme", welcome.scheme.into(), 0),
        ("linked", welcome.linked.into(), 1),
        ("flags", welcome.flags.into(), (Welcome::REGISTERED | Welcome::ACCOUNTABLE).into()),
    ];
    let mut fixed = fixed.into_iter();
    fixed.try_for_each(|(name, said, expected)| field(server, Kind::Welcome, name, said, expected))?;
    if welcome.confirm_tile_senders.get() == 0 {
        return refused("confirm_tile_senders", 0);
    }
    match (1..=HEADER_ROUNDS_MAX).contains(&header_rounds) {
        true => Ok(()),
        false => refused("header_rounds", header_rounds.into()),
    }
}

fn read_format(server: ServerSide, welcome: &Welcome) -> Result<ShareFormat, ClientError> {
    let refuse = |field, said: u32| ClientError::Group { server, field, said: said.into() };
    let profile = Profile::from_number(welcome.profile);
    let profile = profile.ok_or_else(|| refuse("profile", welcome.profile.into()))?;
    let subgroups_max = welcome.subgroups_max.get();
    let scheme = match (welcome.scheme, subgroups_max) {
        (0, 0) => Scheme::Plain,
        (1, 0) => Scheme::Algorithm4,
        (2, 1..) => Scheme::OneToMany { subgroups_max },
        (0..=2, _) => return Err(refuse("subgroups_max", subgroups_max.into())),
        (scheme, _) => return Err(refuse("scheme", scheme.into())),
    };
    // A number of subgroups that the wire has room for and the format has not is refused before the frame is.
    let frame_bytes = welcome.frame_bytes.get();
    ShareFormat::new(profile, frame_bytes, Scheme::Plain).map_err(|_| refuse("frame_bytes", frame_bytes))?;
    ShareFormat::new(profile, frame_bytes, scheme).map_err(|_| refuse("subgroups_max", subgroups_max.into()))
}

/// A field of WELCOME, as a number.
type Value = fn(&Welcome) -> u64;

/// What is the same at both servers whatever epoch they are in.
const SETTINGS: [(&str, Value); 14] = [
    ("group", |welcome| welcome.group.get().into()),
    ("slots", |welcome| welcome.slots.get().into()),
    ("frame_bytes", |welcome| welcome.frame_bytes.get().into()),
    ("round_timeout_ms", |welcome| welcome.round_timeout_ms.get().into()),
    ("interval_ms", |welcome| welcome.interval_ms.get().into()),
    ("epoch_rounds", |welcome| welcome.epoch_rounds.get().into()),
    ("announce_rounds", |welcome| welcome.announce_rounds.get().into()),
    ("profile", |welcome| welcome.profile.into()),
    ("scheme", |welcome| welcome.scheme.into()),
    ("subgroups_max", |welcome| welcome.subgroups_max.get().into()),
    ("delivery", |welcome| welcome.delivery.into()),
    ("linked", |welcome| welcome.linked.into()),
    ("flags", |welcome| welcome.flags.into()),
    ("header_rounds", |welcome| welcome.header_rounds.get().into()),
];

/// What is the same in one epoch.
const OF_EPOCH: [(&str, Value); 3] = [
    ("members", |welcome| welcome.members.get().into()),
    ("confirm_tile_senders", |welcome| welcome.confirm_tile_senders.get().into()),
    ("key_tile_senders", |welcome| welcome.key_tile_senders.get().into()),
];

/// Senders to a tile of parts, and a kind of parts whose tiles have so many.
const TILE_SIZES: [(&str, PartKind, Value); 2] = [
    ("confirm_tile_senders", PartKind::Confirmation, |welcome| welcome.confirm_tile_senders.get().into()),
    ("key_tile_senders", PartKind::Key, |welcome| welcome.key_tile_senders.get().into()),
];

/// Refuses two servers that describe different groups. They may be in different epochs for a moment, each with its
/// members, and the size of a tile of parts may follow their number; whether the group has such parts, and whether
/// their tiles do, is the same in every epoch. The members of one epoch are the same.
pub(crate) fn compare(welcomes: [&Welcome; 2]) -> Result<(), ClientError> {
    let differ = |field, value: Value| {
        let said = welcomes.map(value);
        match said[0] == said[1] {
            true => Ok(()),
            false => Err(ClientError::ServersDiffer { field, said }),
        }
    };
    SETTINGS.into_iter().try_for_each(|(field, value)| differ(field, value))?;
    if welcomes[0].epoch == welcomes[1].epoch {
        OF_EPOCH.into_iter().try_for_each(|(field, value)| differ(field, value))?;
        return roster::compare_hashes(welcomes.map(|welcome| &welcome.roster_hash));
    }
    for (field, kind, senders) in TILE_SIZES {
        let said = welcomes.map(senders);
        let follow = welcomes.iter().zip(said).all(|(welcome, senders)| {
            senders != 0 && senders == u64::from(full_tile_senders(kind, welcome.members.get()))
        });
        if !follow && said[0] != said[1] {
            return Err(ClientError::ServersDiffer { field, said });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twincast_protocol::wire::Body;

    fn welcome(epoch: u32, members: u32) -> Welcome {
        let mut welcome = Welcome::parse(&[0; size_of::<Welcome>()]).unwrap();
        (welcome.epoch, welcome.members, welcome.slots) = (epoch.into(), members.into(), 1.into());
        for (_, kind, senders) in TILE_SIZES {
            let full = full_tile_senders(kind, members);
            match kind {
                PartKind::Confirmation => welcome.confirm_tile_senders = full.into(),
                _ => welcome.key_tile_senders = full.into(),
            }
            assert_eq!(senders(&welcome), u64::from(full));
        }
        welcome.roster_hash = [epoch as u8; 32];
        welcome
    }

    /// So many members that tiles of an epoch are larger than those of the next.
    const MEMBERS: [u32; 2] = [4_000, 9_000];

    #[test]
    fn servers_in_different_epochs_differ_in_what_follows_the_members_and_in_nothing_else() {
        let [mut one, mut two] = [0, 1].map(|epoch| welcome(epoch, MEMBERS[epoch as usize]));
        assert_ne!(one.confirm_tile_senders, two.confirm_tile_senders);
        assert_eq!(compare([&one, &two]), Ok(()));
        // Tiles that follow no number are the same in every epoch.
        (one.key_tile_senders, two.key_tile_senders) = (4.into(), 4.into());
        assert_eq!(compare([&one, &two]), Ok(()));
        (one.key_tile_senders, two.key_tile_senders) = (0.into(), 0.into());
        assert_eq!(compare([&one, &two]), Ok(()));
    }

    #[test]
    fn a_lie_of_one_of_two_servers_in_different_epochs_is_named() {
        type Lie = fn(&mut Welcome);
        let lies: [(&str, Lie); 17] = [
            ("group", |w| w.group = 1.into()),
            ("slots", |w| w.slots = 2.into()),
            ("frame_bytes", |w| w.frame_bytes = 64.into()),
            ("round_timeout_ms", |w| w.round_timeout_ms = 4.into()),
            ("interval_ms", |w| w.interval_ms = 4.into()),
            ("epoch_rounds", |w| w.epoch_rounds = 4.into()),
            ("announce_rounds", |w| w.announce_rounds = 4.into()),
            ("profile", |w| w.profile = 1),
            ("scheme", |w| w.scheme = 1),
            ("subgroups_max", |w| w.subgroups_max = 3.into()),
            ("delivery", |w| w.delivery = 1),
            ("linked", |w| w.linked = 1),
            ("flags", |w| w.flags = 1),
            ("confirm_tile_senders", |w| w.confirm_tile_senders = 0.into()),
            ("confirm_tile_senders", |w| w.confirm_tile_senders = 2.into()),
            ("key_tile_senders", |w| w.key_tile_senders = 0.into()),
            ("key_tile_senders", |w| w.key_tile_senders = 64.into()),
        ];
        for (name, lie) in lies {
            for liar in 0..2 {
                let mut both = [0, 1].map(|epoch| welcome(epoch, MEMBERS[epoch as usize]));
                lie(&mut both[liar]);
                let error = compare([&both[0], &both[1]]).expect_err(name);
                assert!(
                    matches!(error, ClientError::ServersDiffer { field, .. } if field == name),
                    "{name}: {error}"
                );
            }
        }
    }
}
