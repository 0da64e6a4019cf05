//! The server's configuration: TOML in which every key is known, every number has a unit in its name, and every
//! bound is checked by name before anything starts.

use crate::group::Shape;
use crate::limits::*;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::SocketAddr;
use twincast_protocol::frame::FrameBytes;
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
    /// The executors that take what clients send.
    #[serde(default)]
    pub front: Front,
    /// The threads that write to clients.
    #[serde(default)]
    pub fan_out: FanOut,
    /// What peers may ask of this server.
    #[serde(default)]
    pub limits: Limits,
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
}

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Its number.
    pub id: u32,
    /// Members, n.
    pub members: u32,
    /// Bytes of a frame, F: a multiple of 16; a message may have 3 bytes less.
    #[serde(default = "frame_bytes_default")]
    pub frame_bytes: u32,
    /// Messages that each member sends in a round, K.
    #[serde(default = "slots_default")]
    pub slots: u32,
    /// Whether members are told which slots are for them.
    #[serde(default = "confirm_default")]
    pub confirm: bool,
    /// From a round's first submission, or its opening if that is later, to its seal, whoever is missing.
    #[serde(default = "round_timeout_default")]
    pub round_timeout_ms: u64,
    /// From the first attachment to the end of dialling, whoever is missing.
    #[serde(default = "dial_timeout_default")]
    pub dial_timeout_ms: u64,
}

fn frame_bytes_default() -> u32 {
    FrameBytes::DEFAULT.bytes() as u32
}

fn slots_default() -> u32 {
    1
}

fn confirm_default() -> bool {
    true
}

fn round_timeout_default() -> u64 {
    ROUND_TIMEOUT_MS_DEFAULT
}

fn dial_timeout_default() -> u64 {
    DIAL_TIMEOUT_MS_DEFAULT
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
        }
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
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        let config: Config = toml::from_str(text)?;
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
        for (key, cores, threads) in [
            ("front.cores", &self.front.cores, self.front.executors),
            ("fan_out.cores", &self.fan_out.cores, self.fan_out.threads),
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
            within(&key("members"), group.members.into(), MEMBERS_MIN.into(), MEMBERS_MAX.into())?;
            within(&key("slots"), group.slots.into(), 1, SLOTS_MAX.into())?;
            within(&key("round_timeout_ms"), group.round_timeout_ms, 1, TIMEOUT_MS_MAX)?;
            within(&key("dial_timeout_ms"), group.dial_timeout_ms, 1, TIMEOUT_MS_MAX)?;
            FrameBytes::new(group.frame_bytes)
                .map_err(|error| bounds(&key("frame_bytes"), group.frame_bytes, error.to_string()))?;
        }
        let needed = self.group_memory_bytes();
        if needed > limits.group_memory_bytes_max {
            let needs = format!("at least {needed}, which is what the groups need");
            return Err(bounds("limits.group_memory_bytes_max", limits.group_memory_bytes_max, needs));
        }
        Ok(())
    }

    /// Memory that all groups together take at the most, in bytes.
    #[must_use]
    pub fn group_memory_bytes(&self) -> u64 {
        self.groups.iter().map(|group| Shape::new(group, self.server_side()).memory_bytes()).sum()
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
            stall_timeout: std::time::Duration::from_millis(self.limits.reader_timeout_ms),
            ..EgressConfig::default()
        }
    }
}

fn bounds(key: &str, value: impl std::fmt::Display, bounds: String) -> ConfigError {
    ConfigError::Bounds { key: key.to_owned(), value: value.to_string(), bounds }
}

/// The commented example that `--print-config` prints.
pub const EXAMPLE: &str = include_str!("../twincast-server.toml");

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> String {
        "side = 1\nlisten = \"127.0.0.1:0\"\n[[groups]]\nid = 0\nmembers = 10\n".into()
    }

    #[test]
    fn the_example_is_valid_and_shows_every_default() {
        let example = Config::from_toml(EXAMPLE).unwrap();
        assert_eq!(example.fan_out.slab_bytes, FanOut::default().slab_bytes);
        assert_eq!(example.fan_out.slabs, FanOut::default().slabs);
        assert_eq!(example.fan_out.zero_copy_bytes_min, FanOut::default().zero_copy_bytes_min);
        assert_eq!(example.limits, Limits::default());
        assert_eq!(example.groups[0].frame_bytes, frame_bytes_default());
        assert_eq!(example.groups[0].round_timeout_ms, round_timeout_default());
        assert_eq!(example.groups[0].dial_timeout_ms, dial_timeout_default());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut config = Config::from_toml(&minimal()).unwrap();
        config.fan_out.cores = Cores::List(vec![1]);
        config.front.cores = Cores::Named(CoresNamed::None);
        assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_is_named() {
        for text in [
            format!("colour = 1\n{}", minimal()),
            format!("{}colour = 1\n", minimal()),
            format!("{}[limits]\ncolour = 1\n", minimal()),
            format!("{}[fan_out]\ncolour = 1\n", minimal()),
        ] {
            let error = Config::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains("colour"), "{error}");
        }
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        for (change, key) in [
            ("members = 10|members = 1", "members"),
            ("members = 10|members = 70000", "members"),
            ("members = 10|members = 10\nslots = 0", "slots"),
            ("members = 10|members = 10\nframe_bytes = 300", "frame_bytes"),
            ("members = 10|members = 10\nround_timeout_ms = 0", "round_timeout_ms"),
            ("members = 10|members = 65536\nslots = 256", "group_memory_bytes_max"),
            ("side = 1|side = 3", "side"),
            ("[[groups]]|[fan_out]\nslabs = 1\n[[groups]]", "fan_out.slabs"),
            ("[[groups]]|[fan_out]\nslab_bytes = 70001\n[[groups]]", "fan_out.slab_bytes"),
            ("[[groups]]|[fan_out]\nthreads = 2\ncores = [1]\n[[groups]]", "fan_out.cores"),
            ("[[groups]]|[limits]\nconnections_max = 0\n[[groups]]", "limits.connections_max"),
            ("[[groups]]|[[groups]]\nid = 0\nmembers = 5\n[[groups]]", "id"),
        ] {
            let (from, to) = change.split_once('|').unwrap();
            let text = minimal().replace(from, to);
            let error = Config::from_toml(&text).unwrap_err();
            assert!(matches!(error, ConfigError::Bounds { .. }), "{error}");
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
