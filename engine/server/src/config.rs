//! The server's configuration: TOML in which every key is known, every number has a unit in its name, and every
//! bound is checked by name before anything starts.

mod group;

pub use group::{Delivery, GroupConfig, RoundMode, SchemeName};

use crate::group::Shape;
use crate::limits::*;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::SocketAddr;
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

/// The connection to the other server: S1 makes it, S2 takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkConfig {
    /// S2: where S1 connects. Port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// S1: where S2 listens for it.
    pub connect: Option<SocketAddr>,
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

/// What a test build does wrong.
#[cfg(feature = "fault-swap-half")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultConfig {
    /// One member gets the other half of one sender's shares.
    pub swap_half: Option<SwapHalf>,
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

fn peer_timeout_default() -> u64 {
    PEER_TIMEOUT_MS_DEFAULT
}

fn box_bytes_default() -> u64 {
    BOX_BYTES_DEFAULT
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
    /// The link would lead to this server itself.
    #[error("link.{key} = {address} is this server's own {own}: it has to be an address of the other server's link")]
    LinkSelf {
        /// Which end.
        key: &'static str,
        /// What it says.
        address: SocketAddr,
        /// Which of its own addresses that is.
        own: &'static str,
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
        Config::from_toml_with(text, false)
    }

    /// The same, with `insecure_baseline` whatever the text says, if so asked.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn from_toml_with(text: &str, insecure_baseline: bool) -> Result<Config, ConfigError> {
        let mut config: Config = toml::from_str(text)?;
        config.insecure_baseline |= insecure_baseline;
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
        self.check_link()?;
        if let Some(parts_box) = &self.parts_box {
            let least = BOX_FILE_HEAD_BYTES + BOX_REGION_HEAD_BYTES;
            within("box.bytes_max", parts_box.bytes_max, least, u64::MAX)?;
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

    fn check_link(&self) -> Result<(), ConfigError> {
        let Some(link) = &self.link else { return Ok(()) };
        let side = self.side;
        let (does, needs, forbids, there, other) = match self.server_side() {
            ServerSide::One => ("connects", "connect", "listen", link.connect, link.listen),
            ServerSide::Two => ("listens", "listen", "connect", link.listen, link.connect),
        };
        let (Some(address), None) = (there, other) else {
            return Err(ConfigError::LinkEnd { side, does, needs, forbids });
        };
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

    /// What a group of this configuration is on this side.
    #[must_use]
    pub fn shape(&self, group: &GroupConfig) -> Shape {
        let shape = Shape::new(group, self.server_side());
        match &self.link {
            Some(link) => shape.with_link(Duration::from_millis(link.peer_timeout_ms)),
            None => shape,
        }
    }

    /// Memory that all groups together take at the most, in bytes.
    #[must_use]
    pub fn group_memory_bytes(&self) -> u64 {
        self.groups.iter().map(|group| self.shape(group).memory_bytes()).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> String {
        "side = 1\nlisten = \"127.0.0.1:0\"\n[[groups]]\nid = 0\nmembers = 10\n".into()
    }

    #[test]
    fn the_example_is_valid_and_shows_every_default() {
        let example = Config::from_toml(EXAMPLE).unwrap();
        assert_eq!(example.front, Front::default());
        assert_eq!(example.fan_out, FanOut::default());
        assert_eq!(example.limits, Limits::default());
        assert_eq!(example.link.unwrap().peer_timeout_ms, peer_timeout_default());
        assert_eq!(example.parts_box.unwrap().bytes_max, box_bytes_default());
        assert!(!example.insecure_baseline);
        assert_eq!(example.groups, [GroupConfig::new(0, 1_000)]);
    }

    #[test]
    fn the_example_shows_every_key() {
        fn keys(value: &toml::Value, into: &mut Vec<String>) {
            match value {
                toml::Value::Table(table) => {
                    for (key, value) in table {
                        into.push(key.clone());
                        keys(value, into);
                    }
                }
                toml::Value::Array(list) => list.iter().for_each(|value| keys(value, into)),
                _ => {}
            }
        }
        let mut whole = Config::from_toml(EXAMPLE).unwrap();
        whole.link.as_mut().unwrap().listen = Some(whole.listen);
        let mut all = Vec::new();
        keys(&toml::Value::try_from(&whole).unwrap(), &mut all);
        assert!(all.len() > 40, "{all:?}");
        for key in all.iter().filter(|key| *key != "fault") {
            let shown = EXAMPLE.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} = ")) || line == format!("[{key}]") || line == format!("[[{key}]]")
            });
            assert!(shown, "{key}");
        }
    }

    #[test]
    fn the_link_has_the_end_of_its_side_and_leads_elsewhere() {
        let with = |side: u8, link: &str| {
            let head = format!("side = {side}\nlisten = \"127.0.0.1:7701\"\nmetrics_listen = \"127.0.0.1:7791\"\n");
            Config::from_toml(&format!("{head}[link]\n{link}\n[[groups]]\nid = 0\nmembers = 10\n"))
        };
        let (connect, listen) = ("connect = \"127.0.0.1:7712\"", "listen = \"127.0.0.1:7712\"");
        assert_eq!(with(1, connect).unwrap().shape(&GroupConfig::new(0, 10)).peer_timeout.as_millis(), 2_000);
        assert!(with(2, listen).unwrap().shape(&GroupConfig::new(0, 10)).linked);
        assert!(with(2, "listen = \"127.0.0.1:0\"").is_ok());
        for (side, link) in
            [(1, listen.to_owned()), (2, connect.to_owned()), (1, String::new()), (2, format!("{connect}\n{listen}"))]
        {
            let error = with(side, &link).unwrap_err();
            assert!(matches!(error, ConfigError::LinkEnd { .. }), "{link}: {error}");
        }
        for (side, link) in [(1, "connect = \"127.0.0.1:7701\""), (2, "listen = \"127.0.0.1:7791\"")] {
            let error = with(side, link).unwrap_err();
            assert!(matches!(error, ConfigError::LinkSelf { .. }), "{link}: {error}");
            assert!(error.to_string().contains("own"), "{error}");
        }
        for (link, key) in [
            ("connect = \"127.0.0.1:0\"".to_owned(), "link.connect"),
            (format!("{connect}\npeer_timeout_ms = 0"), "link.peer_timeout_ms"),
            (format!("{connect}\ncolour = 0"), "colour"),
        ] {
            let error = with(1, &link).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_paper_profile_is_refused_in_one_sentence_unless_asked_for() {
        for profile in ["paper-xor", "paper-add"] {
            let keys = format!("members = 10\nprofile = \"{profile}\"\nframe_bytes = 256");
            let text = minimal().replace("members = 10", &keys);
            let error = Config::from_toml(&text).unwrap_err().to_string();
            for part in [profile, "find recipients", "THREAT_MODEL.md", "--insecure-baseline"] {
                assert!(error.contains(part), "{error}");
            }
            assert_eq!(error.matches(". ").count(), 0, "one sentence: {error}");
            assert!(Config::from_toml_with(&text, true).unwrap().insecure_baseline);
            assert!(Config::from_toml(&format!("insecure_baseline = true\n{text}")).is_ok());
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut config = Config::from_toml(&minimal()).unwrap();
        config.fan_out.cores = Cores::List(vec![1]);
        config.front.cores = Cores::Named(CoresNamed::None);
        config.link = Some(LinkConfig {
            listen: None,
            connect: Some(SocketAddr::from(([10, 0, 0, 2], 7_712))),
            peer_timeout_ms: 300,
        });
        config.parts_box = Some(BoxConfig { folder: "/tmp/box".into(), bytes_max: 4_096 });
        assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_is_named() {
        for text in [
            format!("colour = 1\n{}", minimal()),
            format!("{}colour = 1\n", minimal()),
            format!("{}[limits]\ncolour = 1\n", minimal()),
            format!("{}[fan_out]\ncolour = 1\n", minimal()),
            format!("{}[box]\nfolder = \"/tmp\"\ncolour = 1\n", minimal()),
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
            ("[[groups]]|[box]\nfolder = \"/tmp\"\nbytes_max = 40\n[[groups]]", "box.bytes_max"),
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
