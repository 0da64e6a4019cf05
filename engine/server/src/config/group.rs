//! What a group is: its members, how they send, and when its rounds and epochs end.

use super::{Config, ConfigError, bounds};
use crate::limits::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use twincast_protocol::answer;
use twincast_protocol::error::ProtocolError;
use twincast_protocol::format::{Profile, Scheme, ShareFormat};
use twincast_protocol::frame::FrameBytes;

/// The paper's frame.
const PAPER_FRAME_BYTES: u32 = 256;

/// One group. Both servers must have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Its number.
    pub id: u32,
    /// Members of its first epoch, n: the users `0..n`.
    pub members: u32,
    /// The most members of any epoch; 0: as many as the first one has, so that one can only join for one who leaves.
    #[serde(default)]
    pub members_max: u32,
    /// How messages become shares: `compact`, or one of the insecure baselines `paper-xor` and `paper-add`.
    #[serde(default = "profile_default")]
    pub profile: String,
    /// How shares reach a set of recipients.
    #[serde(default)]
    pub scheme: SchemeName,
    /// Subgroups of a round at the most, noise included: in the one-to-many scheme, and 0 in the others.
    #[serde(default)]
    pub subgroups_max: u16,
    /// Bytes of a frame, F. Compact: a multiple of 16; a message may have 3 bytes less. Paper profiles: 256, or more
    /// for longer messages that are authenticated by their hash. Delivery `answer`: 272. 0: their own, 288, 256 or 272.
    #[serde(default)]
    pub frame_bytes: u32,
    /// Messages that each member sends in a round, K.
    #[serde(default = "slots_default")]
    pub slots: u32,
    /// Whether members are told which slots are for them. Means nothing where the delivery is `answer`.
    #[serde(default = "confirm_default")]
    pub confirm: bool,
    /// Whether members exchange keys at the start of each epoch.
    #[serde(default)]
    pub keys: bool,
    /// The way out.
    #[serde(default)]
    pub delivery: Delivery,
    /// The file with the members' verifying keys, where there is a list and no registry: a line `USER 64-HEX-DIGITS` for
    /// each member of the first epoch and everybody who may join.
    pub verifying_keys: Option<PathBuf>,
    /// Who may be a user.
    #[serde(default)]
    pub identities: IdentitiesName,
    /// Whether users may register their keys over the network, where they are registered.
    #[serde(default)]
    pub registration: RegistrationName,
    /// Whether members and servers sign what they send, so that who is at fault can be shown.
    #[serde(default)]
    pub accountable: bool,
    /// Accountable: every so many rounds each member asks for the headers of one tile.
    #[serde(default = "header_rounds_default")]
    pub header_rounds: u32,
    /// The number of the first epoch, where the delivery is `answer` or the group accountable; none: the Unix time in
    /// seconds when the server starts. Members' keys outlive servers, and an epoch must never come again under the same
    /// keys: where there is a registry, epochs go on behind those that it has kept; where there is none, whoever gives a
    /// number sees to that. Each server may have its own: the two meet at the number after the higher one.
    pub first_epoch: Option<u32>,
    /// When a round is sealed.
    #[serde(default)]
    pub round_mode: RoundMode,
    /// Timed rounds: from one seal to the next, at multiples of it on the Unix clock. 0 in lockstep.
    #[serde(default)]
    pub interval_ms: u64,
    /// Rounds of an epoch; 0: the first epoch has no end, and nobody can join or leave.
    #[serde(default)]
    pub epoch_rounds: u32,
    /// How many rounds before its first one an epoch is announced.
    #[serde(default = "announce_rounds_default")]
    pub announce_rounds: u32,
    /// Lockstep: from a round's first submission, or its opening if that is later, to its seal, whoever is missing.
    #[serde(default = "round_timeout_default")]
    pub round_timeout_ms: u64,
    /// From the first attachment, or the announcement of a later epoch, to the end of dialling, whoever is missing;
    /// never before the last epoch ends.
    #[serde(default = "dial_timeout_default")]
    pub dial_timeout_ms: u64,
}

/// How shares reach a set of recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemeName {
    /// Two halves a server.
    #[default]
    Plain,
    /// The paper's Algorithm 4.
    Algorithm4,
    /// The paper's 5.4.2: subgroups that are dealt anew each round.
    OneToMany,
}

/// A group's way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Every member gets a cell of every sender.
    #[default]
    Broadcast,
    /// Every member gets one record for each of its queries, of whichever member it asks for.
    Answer,
}

/// Who may be a user of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentitiesName {
    /// Who has an account, and proves it.
    #[default]
    Registered,
    /// Whoever says so: for measurements.
    Open,
}

/// Whether users may register their keys over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationName {
    /// The operators add accounts.
    #[default]
    Closed,
    /// Whoever comes first with a user's number.
    Open,
}

/// When a round is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoundMode {
    /// When everybody who is waited for has submitted, or at the time limit.
    #[default]
    Lockstep,
    /// By the clock, also when everybody has submitted.
    Timed,
}

fn profile_default() -> String {
    Profile::Compact.to_string()
}

fn slots_default() -> u32 {
    1
}

fn confirm_default() -> bool {
    true
}

fn announce_rounds_default() -> u32 {
    ANNOUNCE_ROUNDS_DEFAULT
}

fn header_rounds_default() -> u32 {
    HEADER_ROUNDS_DEFAULT
}

pub(super) fn round_timeout_default() -> u64 {
    ROUND_TIMEOUT_MS_DEFAULT
}

pub(super) fn dial_timeout_default() -> u64 {
    DIAL_TIMEOUT_MS_DEFAULT
}

impl GroupConfig {
    /// A group of this many members with every default.
    #[must_use]
    pub fn new(id: u32, members: u32) -> GroupConfig {
        GroupConfig {
            id,
            members,
            members_max: 0,
            profile: profile_default(),
            scheme: SchemeName::Plain,
            subgroups_max: 0,
            frame_bytes: FrameBytes::DEFAULT.bytes() as u32,
            slots: slots_default(),
            confirm: confirm_default(),
            keys: false,
            delivery: Delivery::Broadcast,
            verifying_keys: None,
            identities: IdentitiesName::default(),
            registration: RegistrationName::default(),
            accountable: false,
            header_rounds: header_rounds_default(),
            first_epoch: None,
            round_mode: RoundMode::Lockstep,
            interval_ms: 0,
            epoch_rounds: 0,
            announce_rounds: announce_rounds_default(),
            round_timeout_ms: round_timeout_default(),
            dial_timeout_ms: dial_timeout_default(),
        }
    }

    /// The most members of any epoch.
    #[must_use]
    pub fn members_most(&self) -> u32 {
        if self.members_max == 0 { self.members } else { self.members_max }
    }

    /// How messages become shares, and every size.
    ///
    /// # Errors
    /// What is wrong with profile, frame or scheme.
    pub fn format(&self) -> Result<ShareFormat, ProtocolError> {
        let scheme = match self.scheme {
            SchemeName::Plain => Scheme::Plain,
            SchemeName::Algorithm4 => Scheme::Algorithm4,
            SchemeName::OneToMany => Scheme::OneToMany { subgroups_max: self.subgroups_max },
        };
        ShareFormat::new(self.profile.parse()?, self.frame_bytes_own(), scheme)
    }

    /// Bytes of a frame, the profile's own where none are configured.
    #[must_use]
    pub fn frame_bytes_own(&self) -> u32 {
        match (self.frame_bytes, self.profile.parse()) {
            (0, _) if self.delivery == Delivery::Answer => answer::FRAME_BYTES as u32,
            (0, Ok(Profile::Compact)) => FrameBytes::DEFAULT.bytes() as u32,
            (0, Ok(_)) => PAPER_FRAME_BYTES,
            (bytes, _) => bytes,
        }
    }

    /// A hash over all of it but what means nothing, where files are, and the first epoch: two servers whose hashes
    /// differ do not serve the same group.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let resolved = GroupConfig {
            frame_bytes: self.frame_bytes_own(),
            confirm: self.confirm && self.delivery == Delivery::Broadcast,
            verifying_keys: None,
            first_epoch: None,
            ..self.clone()
        };
        let canonical = toml::to_string(&resolved).expect("every value has a form in TOML");
        Sha256::new_with_prefix(b"twincast/settings/v1").chain_update(canonical).finalize().into()
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`ConfigError::Bounds`] for the first value that is out of its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let key = |name: &str| format!("groups[id = {}].{name}", self.id);
        let within = |name: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(bounds(&key(name), value, format!("{least} to {most}")))
        };
        let members_most = match self.delivery {
            Delivery::Broadcast => MEMBERS_MAX,
            Delivery::Answer => ANSWER_MEMBERS_MAX,
        };
        within("members", self.members.into(), MEMBERS_MIN.into(), members_most.into())?;
        within("members_max", self.members_most().into(), self.members.into(), members_most.into())?;
        self.check_delivery()?;
        self.check_identities()?;
        self.check_accountable()?;
        if let Some(first_epoch) = self.first_epoch {
            // One that is given up has one after it.
            within("first_epoch", first_epoch.into(), 0, u64::from(EPOCH_MAX) - 1)?;
        }
        within("slots", self.slots.into(), 1, SLOTS_MAX.into())?;
        within("round_timeout_ms", self.round_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        within("dial_timeout_ms", self.dial_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        let (interval_least, interval_most) = match self.round_mode {
            RoundMode::Lockstep => (0, 0),
            RoundMode::Timed => (INTERVAL_MS_MIN, TIMEOUT_MS_MAX),
        };
        within("interval_ms", self.interval_ms, interval_least, interval_most)?;
        if self.epoch_rounds != 0 {
            within(
                "epoch_rounds",
                self.epoch_rounds.into(),
                ANNOUNCE_ROUNDS_MIN.into(),
                u64::from(u32::MAX),
            )?;
            let most = self.epoch_rounds.into();
            within("announce_rounds", self.announce_rounds.into(), ANNOUNCE_ROUNDS_MIN.into(), most)?;
        }
        if self.scheme != SchemeName::OneToMany {
            within("subgroups_max", self.subgroups_max.into(), 0, 0)?;
        }
        let format = self.format().map_err(|error| match error {
            ProtocolError::UnknownProfile => bounds(&key("profile"), &self.profile, error.to_string()),
            ProtocolError::Subgroups { .. } => {
                bounds(&key("subgroups_max"), self.subgroups_max, error.to_string())
            }
            _ => bounds(&key("frame_bytes"), self.frame_bytes, error.to_string()),
        })?;
        let members = format.check_members(self.members);
        members.map_err(|error| bounds(&key("members"), self.members, error.to_string()))
    }

    /// Whether something is sealed or signed by an epoch's number, with keys that outlive the epoch.
    #[must_use]
    pub fn signs_epochs(&self) -> bool {
        self.delivery == Delivery::Answer || self.accountable
    }

    /// Checks that keys are named and registered only where users are known.
    fn check_identities(&self) -> Result<(), ConfigError> {
        let key = |name: &str| format!("groups[id = {}].{name}", self.id);
        let registered = self.identities == IdentitiesName::Registered;
        if let Some(file) = &self.verifying_keys
            && !registered
            && self.delivery == Delivery::Broadcast
        {
            let why = "only where identities = \"registered\" or delivery = \"answer\"; leave it out".into();
            return Err(bounds(&key("verifying_keys"), file.display(), why));
        }
        if self.registration == RegistrationName::Open && (!registered || self.verifying_keys.is_some()) {
            let why = "\"closed\" where identities = \"open\", which needs no accounts, and where verifying_keys names \
                       everybody"
                .into();
            return Err(bounds(&key("registration"), "\"open\"", why));
        }
        Ok(())
    }

    /// Checks what the delivery leaves to choose.
    fn check_delivery(&self) -> Result<(), ConfigError> {
        let only = |name: &str, value: &dyn std::fmt::Display, good: bool, why: String| {
            let key = format!("groups[id = {}].{name}", self.id);
            if good { Ok(()) } else { Err(bounds(&key, value, why)) }
        };
        if self.delivery == Delivery::Broadcast {
            let why = "only where delivery = \"answer\" or accountable = true; others begin with epoch 0: leave it out".into();
            let first = self.first_epoch.unwrap_or_default();
            return only("first_epoch", &first, self.first_epoch.is_none() || self.signs_epochs(), why);
        }
        let compact = Profile::Compact.to_string();
        let why = |name: &str| format!("{name} where delivery = \"answer\": a record is one sealed frame");
        only("profile", &self.profile, self.profile == compact, why("\"compact\""))?;
        only("scheme", &"another one", self.scheme == SchemeName::Plain, why("\"plain\""))?;
        let own = answer::FRAME_BYTES as u32;
        only(
            "frame_bytes",
            &self.frame_bytes,
            [0, own].contains(&self.frame_bytes),
            why(&format!("{own}, or left out,")),
        )?;
        let why =
            "false where delivery = \"answer\": there is nothing to confirm, and keys come from elsewhere"
                .into();
        only("keys", &self.keys, !self.keys, why)
    }
}

impl Config {
    /// Checks that it is kept somewhere how far epochs have come, where something is signed by them.
    pub(super) fn check_epochs(&self, group: &GroupConfig) -> Result<(), ConfigError> {
        if group.signs_epochs() && group.first_epoch.is_none() && self.registry.is_none() {
            return Err(ConfigError::EpochsUnkept { group: group.id });
        }
        Ok(())
    }

    /// Checks that what users register has somewhere to be kept.
    pub(super) fn check_accounts(&self, group: &GroupConfig) -> Result<(), ConfigError> {
        if group.registration == RegistrationName::Open && self.registry.is_none() {
            let key = format!("groups[id = {}].registration", group.id);
            let why =
                "\"closed\" where there is no [registry], whose folder is where accounts are kept".into();
            return Err(bounds(&key, "\"open\"", why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut GroupConfig)) -> String {
        let mut config = GroupConfig::new(3, 10);
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn what_is_out_of_bounds_is_named_with_its_group() {
        let one_to_many = |subgroups| {
            move |config: &mut GroupConfig| {
                config.scheme = SchemeName::OneToMany;
                config.subgroups_max = subgroups;
            }
        };
        let timed = |interval_ms| {
            move |config: &mut GroupConfig| {
                config.round_mode = RoundMode::Timed;
                config.interval_ms = interval_ms;
            }
        };
        for (error, key) in [
            (refused(|config| config.members = 1), "members"),
            (refused(|config| config.members_max = 9), "members_max"),
            (refused(|config| config.profile = "paper".into()), "profile"),
            (refused(|config| config.frame_bytes = 300), "frame_bytes"),
            (
                refused(|config| {
                    config.profile = "paper-xor".into();
                    config.frame_bytes = 255;
                }),
                "frame_bytes",
            ),
            (refused(|config| config.subgroups_max = 2), "subgroups_max"),
            (refused(one_to_many(0)), "subgroups_max"),
            (refused(one_to_many(u16::MAX)), "subgroups_max"),
            (refused(one_to_many(11)), "members"),
            (
                refused(|config| {
                    config.scheme = SchemeName::Algorithm4;
                    config.members = 11;
                }),
                "members",
            ),
            (refused(|config| config.interval_ms = 100), "interval_ms"),
            (refused(timed(0)), "interval_ms"),
            (refused(|config| config.epoch_rounds = 1), "epoch_rounds"),
            (
                refused(|config| {
                    config.epoch_rounds = 5;
                    config.announce_rounds = 6;
                }),
                "announce_rounds",
            ),
            (refused(|config| config.round_timeout_ms = 0), "round_timeout_ms"),
            (refused(|config| config.dial_timeout_ms = TIMEOUT_MS_MAX + 1), "dial_timeout_ms"),
        ] {
            assert!(error.starts_with(&format!("groups[id = 3].{key} = ")), "{error}");
        }
        assert!(GroupConfig::new(3, 10).check().is_ok());
    }

    #[test]
    fn a_frame_has_the_profiles_own_bytes_unless_configured() {
        for (profile, bytes) in [("compact", 288), ("paper-xor", 256), ("paper-add", 256)] {
            let read: GroupConfig =
                toml::from_str(&format!("id = 3\nmembers = 10\nprofile = \"{profile}\"")).unwrap();
            read.check().unwrap();
            assert_eq!(read.format().unwrap().frame_bytes(), bytes, "{profile}");
            let named =
                GroupConfig { profile: profile.into(), frame_bytes: bytes as u32, ..GroupConfig::new(3, 10) };
            assert_eq!(read.hash(), named.hash(), "{profile}");
        }
    }

    #[test]
    fn every_setting_shows_in_the_hash() {
        let hash = |change: fn(&mut GroupConfig)| {
            let mut config = GroupConfig::new(3, 10);
            change(&mut config);
            config.hash()
        };
        let changes: [fn(&mut GroupConfig); 18] = [
            |_| {},
            |config| config.id = 4,
            |config| config.members = 12,
            |config| config.members_max = 12,
            |config| config.profile = "paper-xor".into(),
            |config| config.scheme = SchemeName::Algorithm4,
            |config| config.subgroups_max = 1,
            |config| config.frame_bytes = 16,
            |config| config.slots = 2,
            |config| config.confirm = false,
            |config| config.keys = true,
            |config| config.delivery = Delivery::Answer,
            |config| config.round_mode = RoundMode::Timed,
            |config| config.interval_ms = 1,
            |config| config.epoch_rounds = 9,
            |config| config.announce_rounds = 9,
            |config| config.round_timeout_ms = 9,
            |config| config.dial_timeout_ms = 9,
        ];
        let hashes: std::collections::HashSet<_> = changes.into_iter().map(hash).collect();
        assert_eq!(hashes.len(), 18);
    }
}
