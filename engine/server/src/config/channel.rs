//! How peers are talked to: by private channels or, where nobody else can listen, without.

use super::{Config, ConfigError, bounds};
use crate::limits::STRANGER_BYTES;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use twincast_protocol::channel::{RECORD_BYTES_MAX, StaticKey};
use twincast_protocol::identity::KEY_BYTES;

/// How a peer is talked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelName {
    /// Encrypted and authenticated, by Noise XK.
    #[default]
    Noise,
    /// Neither: to be measured.
    Plain,
}

/// What an operator has asked for on the command line although it is not secure, whatever the configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insecure {
    /// Groups of the paper's own profiles.
    pub baseline: bool,
    /// Plain channels on addresses that others may reach.
    pub plain: bool,
}

impl Insecure {
    /// All of it: for who only looks at a configuration.
    pub const ALL: Insecure = Insecure { baseline: true, plain: true };
}

/// A public key for channels, of 64 hexadecimal digits.
pub(crate) fn read_channel_key(digits: &str) -> Result<[u8; KEY_BYTES], &'static str> {
    let mut key = [0; KEY_BYTES];
    hex::decode_to_slice(digits, &mut key).map_err(|_| "a channel key is 64 hexadecimal digits")?;
    check_channel_key(&key)?;
    Ok(key)
}

/// Whether some server may have this public key.
pub(crate) fn check_channel_key(key: &[u8; KEY_BYTES]) -> Result<(), &'static str> {
    // It says nothing in X25519, and so is never set: who has such a key pinned meets nobody.
    if key[KEY_BYTES - 1] & 0x80 != 0 {
        return Err("no channel key has its highest bit set, so that this may be a verifying key");
    }
    match StaticKey::agrees_with(key) {
        true => Ok(()),
        false => Err(
            "it is a point of small order, with which everybody agrees on the same secret, and no server's key",
        ),
    }
}

impl Config {
    /// Checks that plain channels stay on this machine, that slabs hold whole records, and what strangers may do.
    pub(super) fn check_channel(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        for (key, most) in [
            ("limits.strangers_per_address_max", limits.strangers_per_address_max),
            ("limits.stranger_connections_per_second_max", limits.stranger_connections_per_second_max),
        ] {
            if most == 0 {
                return Err(bounds(key, most, "1 or more".into()));
            }
        }
        let (bytes, least) = (limits.stranger_bytes_per_second_max, STRANGER_BYTES as u64);
        if bytes < least {
            return Err(bounds("limits.stranger_bytes_per_second_max", bytes, format!("{least} or more")));
        }
        match self.channel {
            ChannelName::Noise if self.fan_out.slab_bytes < RECORD_BYTES_MAX => {
                let allowed = format!("{RECORD_BYTES_MAX} or more, one record, where channel = \"noise\"");
                Err(bounds("fan_out.slab_bytes", self.fan_out.slab_bytes, allowed))
            }
            ChannelName::Plain if !self.insecure_plain => self.check_loopback(),
            _ => Ok(()),
        }
    }

    /// Plain bytes are for loopback alone: of each address that others could reach, the key is named.
    fn check_loopback(&self) -> Result<(), ConfigError> {
        let link = self.link.as_ref();
        let ends = [
            ("listen", Some(self.listen.ip())),
            ("link.listen", link.and_then(|link| link.listen).map(|end| end.ip())),
            ("link.connect", link.and_then(|link| link.connect).map(|end| end.ip())),
        ];
        let reached = |ip: &IpAddr| !ip.to_canonical().is_loopback();
        match ends.into_iter().find_map(|(key, ip)| Some((key, ip.filter(reached)?))) {
            Some((key, address)) => Err(ConfigError::PlainReached { key, address }),
            None => Ok(()),
        }
    }
}
