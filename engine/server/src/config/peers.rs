//! What joins the two servers, and what S2 keeps for members who are away.

use super::{Config, ConfigError, bounds, read_channel_key};
use crate::answer::read_key;
use crate::limits::{BOX_BYTES_DEFAULT, PEER_TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use twincast_protocol::identity::{KEY_BYTES, VerifyingKey};
use twincast_protocol::ids::ServerSide;

/// What to do about a key of the other server that is none.
const PEER_KEYS: &str =
    "write in the line that `twincast-server keygen`, or --check, prints at the other server";

/// The connection to the other server: S1 makes it, S2 takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkConfig {
    /// S2: where S1 connects. Port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// S2: the address that S1 connects from, as S2 sees it. Whoever comes from another one is not listened to.
    pub peer: Option<IpAddr>,
    /// S1: where S2 listens for it.
    pub connect: Option<SocketAddr>,
    /// What the other server's signatures are verified with, where a group's delivery is `answer`: 64 hexadecimal digits.
    pub peer_verifying_key: Option<String>,
    /// The other server's public key for channels, where those are not plain: 64 hexadecimal digits.
    pub peer_channel_key: Option<String>,
    /// How long a sealed round waits for the other server's word.
    #[serde(default = "peer_timeout_default")]
    pub peer_timeout_ms: u64,
}

/// Where S2 keeps parts. S1 may have it, so that both configurations are alike, and does not use it: seeds are small,
/// and stay in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxConfig {
    /// A folder of this server's own, which exists.
    pub folder: PathBuf,
    /// The most bytes of a box, for each group and epoch.
    #[serde(default = "box_bytes_default")]
    pub bytes_max: u64,
}

/// Where the accounts of users are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// A folder of this server's own, which exists.
    pub folder: PathBuf,
}

/// What a test build does wrong.
#[cfg(feature = "fault-swap-half")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultConfig {
    /// One member gets the other half of one sender's shares.
    pub swap_half: Option<SwapHalf>,
    /// Something of a round of answers is not what the two servers agreed on.
    pub answer: Option<AnswerFault>,
    /// One member of an accountable group gets something else in the place of one sender's share.
    pub accountable: Option<AccountableFault>,
}

/// Who of an accountable group gets what, in the place of whose share, and when.
#[cfg(feature = "fault-swap-half")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountableFault {
    /// The round.
    pub round: u64,
    /// The sender's member index.
    pub sender: u32,
    /// The recipient's member index.
    pub user: u32,
    /// The slot.
    #[serde(default)]
    pub slot: u32,
    /// What it gets.
    pub kind: AccountableFaultKind,
}

/// What a server of an accountable group may give in the place of a share.
#[cfg(feature = "fault-swap-half")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountableFaultKind {
    /// The share with a bit flipped.
    Alter,
    /// Zeros, as if the sender were absent.
    Withhold,
    /// The other half.
    Swap,
    /// What it got of that sender in the round before.
    Replay,
}

/// What is wrong of a round of answers.
#[cfg(feature = "fault-swap-half")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerFault {
    /// The round.
    pub round: u64,
    /// What.
    pub kind: AnswerFaultKind,
    /// The sender whose record it is, by member index, or the number of the query that is answered.
    #[serde(default)]
    pub index: u32,
}

/// What a server may lie about in a round of answers.
#[cfg(feature = "fault-swap-half")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerFaultKind {
    /// It changes a sender's record in its own table, once both servers agreed on it.
    Record,
    /// It changes a bit of the answer to one query.
    Answer,
    /// It names another root than its table has.
    Root,
}

/// Who gets the wrong half, of whom, and when.
#[cfg(feature = "fault-swap-half")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapHalf {
    /// The round.
    pub round: u64,
    /// The sender's member index.
    pub sender: u32,
    /// The recipient's member index.
    pub user: u32,
}

pub(super) fn peer_timeout_default() -> u64 {
    PEER_TIMEOUT_MS_DEFAULT
}

pub(super) fn box_bytes_default() -> u64 {
    BOX_BYTES_DEFAULT
}

impl LinkConfig {
    /// What the other server's signatures are verified with, if that is configured and was checked.
    #[must_use]
    pub fn peer_key(&self) -> Option<VerifyingKey> {
        read_key(self.peer_verifying_key.as_deref()?).ok()
    }

    /// The other server's public key for channels, if that is configured and was checked.
    #[must_use]
    pub fn peer_channel(&self) -> Option<[u8; KEY_BYTES]> {
        read_channel_key(self.peer_channel_key.as_deref()?).ok()
    }
}

impl Config {
    /// Checks that the link has the end of this side, and leads elsewhere.
    pub(super) fn check_link(&self) -> Result<(), ConfigError> {
        let Some(link) = &self.link else { return Ok(()) };
        let side = self.side;
        let (does, needs, forbids, there, other) = match self.server_side() {
            ServerSide::One => ("connects", "connect", "listen", link.connect, link.listen),
            ServerSide::Two => ("listens", "listen", "connect", link.listen, link.connect),
        };
        let (Some(address), None) = (there, other) else {
            return Err(ConfigError::LinkEnd { side, does, needs, forbids });
        };
        let wanted = self.server_side() == ServerSide::Two;
        if link.peer.is_some() != wanted {
            return Err(ConfigError::LinkPeer { side, does: if wanted { "needs" } else { "must not have" } });
        }
        if let Some(peer) = link.peer.filter(IpAddr::is_unspecified) {
            return Err(bounds("link.peer", peer, "the one address that S1 connects from".into()));
        }
        let wrong = |key: &str, digits: &str, what: &str| bounds(key, digits, format!("{what}; {PEER_KEYS}"));
        if let Some(digits) = &link.peer_verifying_key {
            read_key(digits).map_err(|what| wrong("link.peer_verifying_key", digits, what))?;
        }
        if let Some(digits) = &link.peer_channel_key {
            let key =
                read_channel_key(digits).map_err(|what| wrong("link.peer_channel_key", digits, what))?;
            if link.peer_key().is_some_and(|other| other.to_bytes() == key) {
                let what = "link.peer_verifying_key has the same digits";
                return Err(wrong("link.peer_channel_key", digits, what));
            }
        }
        let timeout = link.peer_timeout_ms;
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout) {
            return Err(bounds("link.peer_timeout_ms", timeout, format!("1 to {TIMEOUT_MS_MAX}")));
        }
        // Several listeners may have port 0, which is none yet; to connect to it leads nowhere.
        if address.port() == 0 {
            if needs == "connect" {
                return Err(bounds("link.connect", address, "the port on which S2 listens".into()));
            }
            return Ok(());
        }
        let own = [("listen", Some(self.listen)), ("metrics_listen", self.metrics_listen)];
        match own.into_iter().find(|(_, own)| *own == Some(address)) {
            Some((own, _)) => Err(ConfigError::LinkSelf { key: needs, address, own }),
            None => Ok(()),
        }
    }
}
