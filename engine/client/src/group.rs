//! The group as both servers describe it.

use crate::error::ClientError;
use crate::limits::{CONFIRMED_BYTES_MAX, MEMBERS_MAX, SLOTS_MAX, TILE_SENDERS};
use std::time::Duration;
use twincast_protocol::confirm::CONFIRMATION_BYTES;
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, ServerSide};
use twincast_protocol::wire::{Kind, Welcome};

/// The compact profile's number in WELCOME.
const COMPACT: u8 = 2;

/// What both servers' WELCOME say of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// The group.
    pub group: GroupId,
    /// The epoch that is dialled.
    pub epoch: Epoch,
    /// Members, n.
    pub members: u32,
    /// Slots of a member, K.
    pub slots: u32,
    /// The size of a frame, F.
    pub frame: FrameBytes,
    /// Senders to a tile of confirmations; 0 where the group has none.
    pub confirm_tile_senders: u32,
    /// How long a round waits for the second server.
    pub round_timeout: Duration,
}

impl GroupSettings {
    /// What `server` says, checked against what was asked for.
    pub(crate) fn read(
        server: ServerSide,
        welcome: &Welcome,
        asked: (GroupId, Epoch),
        users: &[MemberIndex],
    ) -> Result<GroupSettings, ClientError> {
        let kind = Kind::Welcome;
        let must_be = |field, said: u64, expected: u64| match said == expected {
            true => Ok(()),
            false => Err(ClientError::Field { server, kind, field, said, expected }),
        };
        let refuse = |field, said: u32| Err(ClientError::Group { server, field, said: said.into() });

        must_be("group", welcome.group.get().into(), asked.0.0.into())?;
        must_be("epoch", welcome.epoch.get().into(), asked.1.0.into())?;
        must_be("profile", welcome.profile.into(), COMPACT.into())?;
        let (members, slots) = (welcome.members.get(), welcome.slots.get());
        let last = users.last().map_or(0, |user| user.0);
        if members > MEMBERS_MAX || members <= last {
            return refuse("members", members);
        }
        if slots == 0 || slots > SLOTS_MAX {
            return refuse("slots", slots);
        }
        let masks = u64::from(members.div_ceil(TILE_SENDERS)) * u64::from(slots) * users.len() as u64;
        if masks * 16 > CONFIRMED_BYTES_MAX {
            return refuse("members", members);
        }
        let frame_bytes = welcome.frame_bytes.get();
        let Ok(frame) = FrameBytes::new(frame_bytes) else { return refuse("frame_bytes", frame_bytes) };
        must_be("share_bytes", welcome.share_bytes.get().into(), frame.share_bytes() as u64)?;
        let confirm_tile_senders = welcome.confirm_tile_senders.get();
        let whole = confirm_tile_senders.is_power_of_two() && confirm_tile_senders <= TILE_SENDERS;
        if !whole && confirm_tile_senders != 0 {
            return refuse("confirm_tile_senders", confirm_tile_senders);
        }
        Ok(GroupSettings {
            group: asked.0,
            epoch: asked.1,
            members,
            slots,
            frame,
            confirm_tile_senders,
            round_timeout: Duration::from_millis(welcome.round_timeout_ms.get().into()),
        })
    }

    /// Whether the group has bit confirmation.
    #[must_use]
    pub fn confirms(&self) -> bool {
        self.confirm_tile_senders != 0
    }

    /// Tiles of one slot of a round.
    #[must_use]
    pub fn tiles(&self) -> u32 {
        self.members.div_ceil(TILE_SENDERS)
    }

    /// The most bytes that one user gets of a tile, message or confirmation.
    pub(crate) fn piece_bytes(&self) -> usize {
        TILE_SENDERS as usize * self.frame.share_bytes().max(CONFIRMATION_BYTES)
    }
}

/// A field of WELCOME, as a number.
type Value = fn(&Welcome) -> u64;

/// Refuses two servers that describe different groups.
pub(crate) fn compare(welcomes: [&Welcome; 2]) -> Result<(), ClientError> {
    let fields: [(&'static str, Value); 9] = [
        ("group", |welcome| welcome.group.get().into()),
        ("epoch", |welcome| welcome.epoch.get().into()),
        ("members", |welcome| welcome.members.get().into()),
        ("slots", |welcome| welcome.slots.get().into()),
        ("frame_bytes", |welcome| welcome.frame_bytes.get().into()),
        ("share_bytes", |welcome| welcome.share_bytes.get().into()),
        ("confirm_tile_senders", |welcome| welcome.confirm_tile_senders.get().into()),
        ("round_timeout_ms", |welcome| welcome.round_timeout_ms.get().into()),
        ("profile", |welcome| welcome.profile.into()),
    ];
    for (field, value) in fields {
        let said = welcomes.map(value);
        if said[0] != said[1] {
            return Err(ClientError::ServersDiffer { field, said });
        }
    }
    Ok(())
}
