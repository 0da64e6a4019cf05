//! The server's configuration: TOML in which every key is known, every number has a unit in its name, and every
//! bound is checked by name before anything starts.

mod accountable;
mod channel;
mod group;
mod peers;
#[cfg(test)]
mod tests;

pub use channel::{ChannelName, Insecure};
pub(crate) use channel::{check_channel_key, read_channel_key};
pub use group::{Delivery, GroupConfig, IdentitiesName, RegistrationName, RoundMode, SchemeName};
#[cfg(feature = "fault-swap-half")]
pub use peers::{
    AccountableFault, AccountableFaultKind, AnswerFault, AnswerFaultKind, FaultConfig, SwapHalf,
};
pub use peers::{BoxConfig, LinkConfig, RegistryConfig};

use crate::group::Shape;
use crate::limits::*;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use twincast_protocol::format::Profile;
use twincast_protocol::ids::ServerSide;
use twincast_ring::{EgressConfig, RingError};

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which server this is: 1 or 2.
    pub side: u8,
    /// Where clients connect. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/metrics` and `/healthz` are served; nowhere if absent.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether groups may have a profile of the paper, in which one server alone can find recipients or forge.
    #[serde(default)]
    pub insecure_baseline: bool,
    /// How clients and the other server are talked to.
    #[serde(default)]
    pub channel: ChannelName,
    /// Whether channels may be plain where not all addresses are loopback ones: for measurements.
    #[serde(default)]
    pub insecure_plain: bool,
    /// The file with the private key of this server's channels (X25519): 64 hexadecimal digits.
    pub channel_key: Option<PathBuf>,
    /// The file with what this server signs with (Ed25519): 64 hexadecimal digits.
    pub signing_key: Option<PathBuf>,
    /// Where the accounts of users are kept, where a group's users are registered.
    pub registry: Option<RegistryConfig>,
    /// The connection to the other server; without it this one runs alone.
    pub link: Option<LinkConfig>,
    /// Where S2 keeps the parts of senders for recipients who come later; without it they are not kept.
    #[serde(rename = "box")]
    pub parts_box: Option<BoxConfig>,
    /// The executors that take what clients send.
    #[serde(default)]
    pub front: Front,
    /// The threads that write to clients.
    #[serde(default)]
    pub fan_out: FanOut,
    /// The threads that work answers out; there are none where no group's delivery is `answer`.
    #[serde(default)]
    pub answer: AnswerConfig,
    /// What peers may ask of this server.
    #[serde(default)]
    pub limits: Limits,
    /// What the server does wrong, so that tests can see who notices. Not in any build that is to be used.
    #[cfg(feature = "fault-swap-half")]
    #[serde(default)]
    pub fault: FaultConfig,
    /// The groups that it serves.
    pub groups: Vec<GroupConfig>,
}

/// Which cores threads are pinned to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cores {
    /// By name: pin if there are cores enough, or never.
    Named(CoresNamed),
    /// These, one a thread.
    List(Vec<usize>),
}

impl Default for Cores {
    fn default() -> Cores {
        Cores::Named(CoresNamed::Auto)
    }
}

/// The choices of [`Cores`] that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoresNamed {
    /// Pinned where the machine has a core for each thread of this server.
    Auto,
    /// Not pinned.
    None,
}

/// The executors that take what clients send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Front {
    /// How many. Each group belongs to one.
    pub executors: usize,
    /// Where they run.
    pub cores: Cores,
}

/// The threads that write to clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FanOut {
    /// How many. Each connection belongs to one.
    pub threads: usize,
    /// Where they run.
    pub cores: Cores,
    /// Bytes of a slab, a multiple of 4096.
    pub slab_bytes: usize,
    /// Slabs of each thread.
    pub slabs: usize,
    /// Whether to send without copying.
    pub zero_copy: ZeroCopy,
    /// Bytes from which on a send is worth doing without a copy.
    pub zero_copy_bytes_min: usize,
    /// Whether slabs are registered with the kernel, which locks memory.
    pub registered: Registered,
    /// Bytes asked for as each client's send buffer; 0: the kernel's own choice, which grows with the connection.
    pub send_buffer_bytes: usize,
}

/// The threads that work answers out, and verify signatures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerConfig {
    /// How many. Each has a part of every group's answers.
    pub threads: usize,
    /// Where they run.
    pub cores: Cores,
}

/// Whether to send without copying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroCopy {
    /// Per connection, for as long as the kernel does not copy after all.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Whether slabs are registered with the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registered {
    /// Where zero-copy may be used and the limit on locked memory allows it.
    #[default]
    Auto,
    /// Yes, or no start.
    On,
    /// No.
    Off,
}

/// What peers may ask of this server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at a time.
    pub connections_max: usize,
    /// Members that one connection may play.
    pub users_per_connection_max: u32,
    /// Time for a new connection to say HELLO.
    pub hello_timeout_ms: u64,
    /// Time that a reader may acknowledge no byte of those that wait for it.
    pub reader_timeout_ms: u64,
    /// Memory that all groups together may take.
    pub group_memory_bytes_max: u64,
    /// Connections of one address that have not said who they are, at a time.
    pub strangers_per_address_max: u32,
    /// Connections of one address that may begin in a second before they have said who they are.
    pub stranger_connections_per_second_max: u32,
    /// Bytes that one address may send in a second over connections that have not said who they are.
    pub stranger_bytes_per_second_max: u64,
    /// How long a user's registration waits for the other server's signature.
    pub registration_timeout_ms: u64,
}

impl Default for Front {
    fn default() -> Front {
        Front { executors: 1, cores: Cores::default() }
    }
}

impl Default for FanOut {
    fn default() -> FanOut {
        let egress = EgressConfig::default();
        FanOut {
            threads: 1,
            cores: Cores::default(),
            slab_bytes: egress.slab_bytes,
            slabs: egress.slabs,
            zero_copy: ZeroCopy::Auto,
            zero_copy_bytes_min: egress.zero_copy_bytes_min,
            registered: Registered::Auto,
            send_buffer_bytes: 0,
        }
    }
}

impl Default for AnswerConfig {
    fn default() -> AnswerConfig {
        AnswerConfig { threads: 1, cores: Cores::default() }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: CONNECTIONS_DEFAULT,
            users_per_connection_max: USERS_PER_CONNECTION_DEFAULT,
            hello_timeout_ms: HELLO_TIMEOUT_MS_DEFAULT,
            reader_timeout_ms: READER_TIMEOUT_MS_DEFAULT,
            group_memory_bytes_max: GROUP_MEMORY_BYTES_DEFAULT,
            strangers_per_address_max: STRANGERS_PER_ADDRESS_DEFAULT,
            stranger_connections_per_second_max: STRANGER_CONNECTIONS_PER_SECOND_DEFAULT,
            stranger_bytes_per_second_max: STRANGER_BYTES_PER_SECOND_DEFAULT,
            registration_timeout_ms: REGISTRATION_TIMEOUT_MS_DEFAULT,
        }
    }
}

/// What is wrong with a configuration: the operator's doing; nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not TOML, or has a key that is unknown, missing or of the wrong type.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A value is out of its bounds.
    #[error("{key} = {value} is out of bounds: {bounds}")]
    Bounds {
        /// The key, with its path.
        key: String,
        /// What it says.
        value: String,
        /// What it may say.
        bounds: String,
    },
    /// The wrong end of the link, or none, is configured.
    #[error(
        "link: side = {side} {does}, and needs link.{needs} and no link.{forbids}: S1 connects to where S2 listens"
    )]
    LinkEnd {
        /// Which server this is.
        side: u8,
        /// What it does.
        does: &'static str,
        /// The key that it needs.
        needs: &'static str,
        /// The key that it must not have.
        forbids: &'static str,
    },
    /// S2 does not say who may link to it, or S1 says what only S2 may.
    #[error("link: side = {side} {does} link.peer: S2 has there the IP address that S1 connects from")]
    LinkPeer {
        /// Which server this is.
        side: u8,
        /// What it does with the key.
        does: &'static str,
    },
    /// The link would lead to this server itself.
    #[error(
        "link.{key} = {address} is this server's own {own}: it has to be an address of the other server's link"
    )]
    LinkSelf {
        /// Which end.
        key: &'static str,
        /// What it says.
        address: SocketAddr,
        /// Which of its own addresses that is.
        own: &'static str,
    },
    /// Channels are plain where others than this machine could listen, and nobody asked for that.
    #[error(
        "channel = \"plain\" and {key} has the address {address}, where others can read and change what goes over it: use \
         \"noise\", or a loopback address, or say `insecure_plain = true` or --insecure-plain to measure"
    )]
    PlainReached {
        /// The key whose address it is.
        key: &'static str,
        /// The address.
        address: IpAddr,
    },
    /// A group's delivery is `answer`, and there is no other server.
    #[error(
        "groups[id = {group}].delivery = answer needs the other server: both agree on every round's records before they \
         answer from them, so configure [link]"
    )]
    AnswerAlone {
        /// The group.
        group: u32,
    },
    /// A group is accountable, and there is no other server.
    #[error(
        "groups[id = {group}].accountable = true needs the other server: who of the two is at fault shows in what both \
         signed, so configure [link]"
    )]
    AccountableAlone {
        /// The group.
        group: u32,
    },
    /// Something is signed by a group's epochs, and how far they have come is kept nowhere.
    #[error(
        "groups[id = {group}]: no epoch's number may come again, since members and servers sign by it, and how far epochs \
         have come is kept nowhere: configure [registry] with a folder for that; where keys are drawn for one run alone, \
         first_epoch = 0 does as well"
    )]
    EpochsUnkept {
        /// The group.
        group: u32,
    },
    /// A group is accountable, and S2 keeps no parts.
    #[error(
        "groups[id = {group}].accountable = true needs what S2 was given for each recipient, to show it later: configure \
         [box] with bytes_max of at least {bytes}"
    )]
    AccountableUnkept {
        /// The group.
        group: u32,
        /// What its parts take.
        bytes: u64,
    },
    /// A group has a profile of the paper, and nobody asked for that.
    #[error(
        "groups[id = {group}].profile = {profile} is a baseline for measurements in which one server alone can find \
         recipients or forge messages (engine/docs/THREAT_MODEL.md): use \"compact\", or say \
         `insecure_baseline = true` or --insecure-baseline"
    )]
    Baseline {
        /// The group.
        group: u32,
        /// Its profile.
        profile: String,
    },
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        Config::from_toml_with(text, Insecure::default())
    }

    /// The same, with what is insecure allowed whatever the text says, as far as that is asked for.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn from_toml_with(text: &str, insecure: Insecure) -> Result<Config, ConfigError> {
        let mut config: Config = toml::from_str(text)?;
        config.insecure_baseline |= insecure.baseline;
        config.insecure_plain |= insecure.plain;
        config.check()?;
        Ok(config)
    }

    /// The configuration as TOML.
    ///
    /// # Panics
    /// Never: every value has a form in TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every value has a form in TOML")
    }

    /// Which server this is.
    #[must_use]
    pub fn server_side(&self) -> ServerSide {
        if self.side == 1 { ServerSide::One } else { ServerSide::Two }
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`ConfigError::Bounds`] for the first value that is out of its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let within = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(bounds(key, value, format!("{least} to {most}")))
        };
        within("side", self.side.into(), 1, 2)?;
        within("front.executors", self.front.executors as u64, 1, THREADS_MAX as u64)?;
        within("fan_out.threads", self.fan_out.threads as u64, 1, THREADS_MAX as u64)?;
        within("answer.threads", self.answer.threads as u64, 1, THREADS_MAX as u64)?;
        for (key, cores, threads) in [
            ("front.cores", &self.front.cores, self.front.executors),
            ("fan_out.cores", &self.fan_out.cores, self.fan_out.threads),
            ("answer.cores", &self.answer.cores, self.answer.threads),
        ] {
            if let Cores::List(list) = cores
                && list.len() != threads
            {
                return Err(bounds(
                    key,
                    format!("{list:?}"),
                    format!("one core for each of {threads} threads"),
                ));
            }
        }
        let limits = &self.limits;
        within("limits.connections_max", limits.connections_max as u64, 1, CONNECTIONS_MAX as u64)?;
        let users = limits.users_per_connection_max.into();
        within("limits.users_per_connection_max", users, 1, MEMBERS_MAX.into())?;
        within("limits.hello_timeout_ms", limits.hello_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        within("limits.reader_timeout_ms", limits.reader_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        within("limits.registration_timeout_ms", limits.registration_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        self.check_channel()?;
        self.check_link()?;
        if let Some(parts_box) = &self.parts_box {
            let least = BOX_FILE_HEAD_BYTES + BOX_REGION_HEAD_BYTES;
            within("box.bytes_max", parts_box.bytes_max, least, u64::MAX)?;
        }
        let send_buffer = self.fan_out.send_buffer_bytes;
        if send_buffer != 0 && !(SEND_BUFFER_BYTES_MIN..=SEND_BUFFER_BYTES_MAX).contains(&send_buffer) {
            let allowed = format!(
                "0 for the kernel's own choice, or {SEND_BUFFER_BYTES_MIN} to {SEND_BUFFER_BYTES_MAX}"
            );
            return Err(bounds("fan_out.send_buffer_bytes", send_buffer, allowed));
        }
        // What is left of its bounds are the slabs'.
        if let Err(RingError::Config { name, value, bounds: allowed }) = self.egress().check() {
            return Err(bounds(&format!("fan_out.{name}"), value, allowed));
        }
        within("groups (how many)", self.groups.len() as u64, 1, GROUPS_MAX as u64)?;
        let mut ids = HashSet::new();
        for group in &self.groups {
            let key = |name: &str| format!("groups[id = {}].{name}", group.id);
            if !ids.insert(group.id) {
                return Err(bounds(&key("id"), group.id, "each group has a number of its own".into()));
            }
            group.check()?;
            self.check_accounts(group)?;
            if group.delivery == Delivery::Answer && self.link.is_none() {
                return Err(ConfigError::AnswerAlone { group: group.id });
            }
            self.check_accountable(group)?;
            self.check_epochs(group)?;
            let profile: Profile = group.profile.parse().expect("the group was checked");
            if profile != Profile::Compact && !self.insecure_baseline {
                return Err(ConfigError::Baseline { group: group.id, profile: group.profile.clone() });
            }
        }
        let needed = self.group_memory_bytes();
        if needed > limits.group_memory_bytes_max {
            let needs = format!("at least {needed}, which is what the groups need");
            return Err(bounds("limits.group_memory_bytes_max", limits.group_memory_bytes_max, needs));
        }
        Ok(())
    }

    /// What a group of this configuration is on this side.
    #[must_use]
    pub fn shape(&self, group: &GroupConfig) -> Shape {
        let shape = Shape::new(group, self.server_side()).with_answer_threads(self.answer.threads);
        match &self.link {
            Some(link) => shape.with_link(Duration::from_millis(link.peer_timeout_ms)),
            None => shape,
        }
    }

    /// Threads that work answers out: none where no group needs them.
    #[must_use]
    pub fn answer_threads(&self) -> usize {
        let answers = self.groups.iter().any(|group| group.delivery == Delivery::Answer);
        if answers { self.answer.threads } else { 0 }
    }

    /// Memory that all groups together take at the most, in bytes.
    #[must_use]
    pub fn group_memory_bytes(&self) -> u64 {
        self.groups.iter().map(|group| self.shape(group).memory_bytes()).sum()
    }

    /// What of it is for the queries of groups whose delivery is `answer`, of as many epochs as there may be at a time.
    #[must_use]
    pub fn query_memory_bytes(&self) -> u64 {
        let of_group = |group: &GroupConfig| {
            let shape = self.shape(group);
            let queries = shape.queries(shape.members_max);
            queries.map_or(0, |queries| shape.epochs_at_a_time() * queries.query_memory_bytes())
        };
        self.groups.iter().map(of_group).sum()
    }

    /// Bytes of disk that boxes of all groups together take at the most; none where this server keeps no parts.
    /// `box.bytes_max` is for each group and epoch, and the next epoch's parts come while one runs, and an accountable
    /// group's are kept for a while: the disk has to hold all of them, unless a group has fewer parts than that.
    #[must_use]
    pub fn box_disk_bytes(&self) -> Option<u64> {
        let parts_box = self.parts_box.as_ref().filter(|_| self.server_side() == ServerSide::Two)?;
        let of_group = |group: &GroupConfig| {
            let shape = self.shape(group);
            shape.epochs_kept() * shape.box_bytes().min(parts_box.bytes_max)
        };
        Some(self.groups.iter().map(of_group).sum())
    }

    /// What each fan-out thread's egress is set up with.
    #[must_use]
    pub fn egress(&self) -> EgressConfig {
        EgressConfig {
            slab_bytes: self.fan_out.slab_bytes,
            slabs: self.fan_out.slabs,
            connections_max: self.limits.connections_max,
            zero_copy: match self.fan_out.zero_copy {
                ZeroCopy::Auto => twincast_ring::ZeroCopy::Auto,
                ZeroCopy::On => twincast_ring::ZeroCopy::On,
                ZeroCopy::Off => twincast_ring::ZeroCopy::Off,
            },
            zero_copy_bytes_min: self.fan_out.zero_copy_bytes_min,
            registered: match self.fan_out.registered {
                Registered::Auto => twincast_ring::Registered::Auto,
                Registered::On => twincast_ring::Registered::On,
                Registered::Off => twincast_ring::Registered::Off,
            },
            stall_timeout: Duration::from_millis(self.limits.reader_timeout_ms),
            ..EgressConfig::default()
        }
    }
}

fn bounds(key: &str, value: impl std::fmt::Display, bounds: String) -> ConfigError {
    ConfigError::Bounds { key: key.to_owned(), value: value.to_string(), bounds }
}

/// The commented example that `--print-config` prints.
pub const EXAMPLE: &str = include_str!("../twincast-server.toml");
