//! What a server is known by: the static key of its channels, and what it signs with.
//!
//! Both are secrets of one server. They come from files that the configuration names, which nobody but the server's user
//! may read, or from a caller that has them in memory; they are wiped when they are dropped, and no `Debug`, log line or
//! error shows them. `twincast-server keygen` makes the files ([`generate`]).
//!
//! ```text
//! channel_key       64 hexadecimal digits: an X25519 private key; mode 0600 or 0400
//! signing_key       64 hexadecimal digits: the private key of RFC 8032; mode 0600 or 0400
//! ```

mod file;
mod generate;
#[cfg(test)]
mod tests;

pub(crate) use file::{FileError, Secret, read_secret};
pub use generate::{GenerateError, Generated, generate};

use crate::answer::{Identities, IdentityError};
use crate::config::{ChannelName, Config, LinkConfig, check_channel_key};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;
use twincast_protocol::channel::StaticKey;
use twincast_protocol::identity::KEY_BYTES;

/// All that a server is known by, and knows others by. Nothing of it is needed where channels are plain and no group's
/// users are known.
#[derive(Debug, Default)]
pub struct Keys {
    /// What its channels are made with; none where they are plain.
    pub channel: Option<ChannelKeys>,
    /// What it signs with, and whose signatures it takes.
    pub identities: Option<Identities>,
}

/// What a server's channels are made with. `Debug` shows no key.
pub struct ChannelKeys {
    own: StaticKey,
    peer: Option<[u8; KEY_BYTES]>,
}

/// Why a server does not have its keys: the operator's doing; nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The configuration does not say what a key is, or where.
    #[error("channel = \"noise\" needs {key}: {remedy}")]
    Unnamed {
        /// The key of the configuration.
        key: &'static str,
        /// What it has to say, and how to come by it.
        remedy: &'static str,
    },
    /// A file cannot be read.
    #[error("{key}: cannot read {file} ({error})")]
    Unreadable {
        /// The key of the configuration.
        key: &'static str,
        /// Which.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others than this server's user may read a secret.
    #[error("{key}: {file} has mode {mode:04o}, and others could be this server: `chmod 600 {file}`")]
    Mode {
        /// The key of the configuration.
        key: &'static str,
        /// Which.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A secret's file holds something else.
    #[error(
        "{key}: {file} has to hold 64 hexadecimal digits and nothing else, as `twincast-server keygen` writes them"
    )]
    Form {
        /// The key of the configuration.
        key: &'static str,
        /// Which.
        file: PathBuf,
    },
    /// The other server's key is this one's own.
    #[error(
        "link.peer_channel_key is this server's own: it has to be the public key that belongs to the other server's \
         channel_key"
    )]
    OwnPeer,
    /// The other server's key is nobody's, of keys that a caller has: from a configuration it is refused with that.
    #[error(
        "link.peer_channel_key: {what}: it has to be the public key that belongs to the other server's channel_key"
    )]
    PeerNobody {
        /// What is wrong with it.
        what: &'static str,
    },
    /// One secret serves for two things.
    #[error(
        "channel_key and signing_key hold the same secret, in one file or in a copy of it: each needs one of its own, as \
         `twincast-server keygen` makes them"
    )]
    Same,
    /// It is not known who signs with what.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl Keys {
    /// Reads the files that the configuration names: none where nothing needs them.
    ///
    /// # Errors
    /// [`KeyError`], which names key, file and remedy.
    pub fn load(config: &Config) -> Result<Keys, KeyError> {
        Ok(Keys { channel: ChannelKeys::load(config)?, identities: Identities::load(config)? })
    }

    /// Checks keys that a caller has against what the configuration needs. Keys for channels are passed over where those
    /// are plain.
    pub(crate) fn check(&self, config: &Config) -> Result<(), KeyError> {
        match (&self.channel, config.channel) {
            (None, ChannelName::Noise) => return Err(no_channel_key()),
            (Some(keys), ChannelName::Noise) => keys.check(config)?,
            (_, ChannelName::Plain) => {}
        }
        match &self.identities {
            Some(identities) => identities.check(config)?,
            None => Identities::check_unneeded(config)?,
        }
        Ok(())
    }
}

impl From<Identities> for Keys {
    /// Keys of a server whose channels are plain.
    fn from(identities: Identities) -> Keys {
        Keys { channel: None, identities: Some(identities) }
    }
}

impl ChannelKeys {
    /// This server's static key, and the other server's public one where the two are linked.
    #[must_use]
    pub fn new(own: StaticKey, peer: Option<[u8; KEY_BYTES]>) -> ChannelKeys {
        ChannelKeys { own, peer }
    }

    /// Reads the file that the configuration names; none where channels are plain.
    ///
    /// # Errors
    /// [`KeyError`], which names key, file and remedy.
    pub fn load(config: &Config) -> Result<Option<ChannelKeys>, KeyError> {
        if config.channel == ChannelName::Plain {
            return Ok(None);
        }
        let file = config.channel_key.as_ref().ok_or_else(no_channel_key)?;
        let secret = own_secret(config, file)?;
        let peer = config.link.as_ref().and_then(LinkConfig::peer_channel);
        let keys = ChannelKeys::new(StaticKey::from_bytes(&secret), peer);
        keys.check(config)?;
        Ok(Some(keys))
    }

    /// The public key that belongs to the secret in the file that a configuration names, also where nothing else is
    /// there yet, since each of two operators waits for the other one's. None: it names no file, or channels are plain.
    ///
    /// # Errors
    /// [`KeyError`] where the file is not as it has to be.
    pub fn own_key(config: &Config) -> Result<Option<[u8; KEY_BYTES]>, KeyError> {
        let Some(file) = config.channel_key.as_ref().filter(|_| config.channel == ChannelName::Noise) else {
            return Ok(None);
        };
        Ok(Some(StaticKey::from_bytes(&**own_secret(config, file)?).public()))
    }

    /// What clients and the other server know this one by.
    #[must_use]
    pub fn public(&self) -> [u8; KEY_BYTES] {
        self.own.public()
    }

    /// What the other server's channels are known by here.
    #[must_use]
    pub fn peer(&self) -> Option<[u8; KEY_BYTES]> {
        self.peer
    }

    /// What handshakes are made with.
    pub(crate) fn own(&self) -> &StaticKey {
        &self.own
    }

    fn check(&self, config: &Config) -> Result<(), KeyError> {
        if config.link.is_none() {
            return Ok(());
        }
        let peer = self.peer.ok_or(KeyError::Unnamed {
            key: "link.peer_channel_key",
            remedy: "the other server's public key for channels, 64 hexadecimal digits, which its operator sees with \
                     `--check`",
        })?;
        if bool::from(peer.ct_eq(&self.public())) {
            return Err(KeyError::OwnPeer);
        }
        check_channel_key(&peer).map_err(|what| KeyError::PeerNobody { what })
    }
}

impl fmt::Debug for ChannelKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelKeys").finish_non_exhaustive()
    }
}

impl KeyError {
    fn from_file(key: &'static str, file: &Path, error: FileError) -> KeyError {
        let file = file.to_owned();
        match error {
            FileError::Unreadable(error) => KeyError::Unreadable { key, file, error },
            FileError::Mode(mode) => KeyError::Mode { key, file, mode },
            FileError::Form => KeyError::Form { key, file },
        }
    }
}

/// What this server's channels are made with, which is not what it signs with: whoever swapped the files, or copied one
/// over the other, hears of it before anybody is given a key.
fn own_secret(config: &Config, file: &Path) -> Result<Secret, KeyError> {
    let secret = read_secret(file).map_err(|error| KeyError::from_file("channel_key", file, error))?;
    // One that cannot be read is told of by who signs with it.
    let signing = config.signing_key.as_ref().and_then(|file| read_secret(file).ok());
    if signing.is_some_and(|signing| bool::from(signing.as_slice().ct_eq(secret.as_slice()))) {
        return Err(KeyError::Same);
    }
    Ok(secret)
}

fn no_channel_key() -> KeyError {
    KeyError::Unnamed {
        key: "channel_key",
        remedy: "the file with the private key of this server's channels, which `twincast-server keygen --out FOLDER` makes; \
                 or say channel = \"plain\" where everything is on one machine and is to be measured",
    }
}
