//! How a run is guarded: its channels, who may be a user, and whether everybody signs.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What goes between users and servers, and between the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelName {
    /// Noise channels: nobody on the way reads or changes anything.
    Noise,
    /// Frames as they are: for measurements, and for faults that change frames.
    Plain,
}

/// Who may be a user of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentitiesName {
    /// Who has an account, and proves it on each channel.
    Registered,
    /// Whoever says so: for measurements.
    Open,
}

impl ChannelName {
    /// That of a plan from before there was a choice.
    #[must_use]
    pub fn before() -> ChannelName {
        ChannelName::Plain
    }

    /// Who may be a user, unless the command line says otherwise: a proof is worth little on a channel that others read.
    #[must_use]
    pub fn identities(self) -> IdentitiesName {
        match self {
            ChannelName::Noise => IdentitiesName::Registered,
            ChannelName::Plain => IdentitiesName::Open,
        }
    }
}

impl IdentitiesName {
    /// That of a plan from before there was a choice.
    #[must_use]
    pub fn before() -> IdentitiesName {
        IdentitiesName::Open
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChannelName::Noise => "noise",
            ChannelName::Plain => "plain",
        })
    }
}

impl fmt::Display for IdentitiesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdentitiesName::Registered => "registered",
            IdentitiesName::Open => "open",
        })
    }
}

impl FromStr for ChannelName {
    type Err = String;

    fn from_str(name: &str) -> Result<ChannelName, String> {
        let named = [ChannelName::Noise, ChannelName::Plain].into_iter().find(|one| one.to_string() == name);
        named.ok_or_else(|| "give noise or plain".into())
    }
}

impl FromStr for IdentitiesName {
    type Err = String;

    fn from_str(name: &str) -> Result<IdentitiesName, String> {
        let all = [IdentitiesName::Registered, IdentitiesName::Open];
        let named = all.into_iter().find(|one| one.to_string() == name);
        named.ok_or_else(|| "give registered or open".into())
    }
}
