//! What a run does: the one description that coordinator, hosts and report share.

mod guard;

pub use guard::{ChannelName, IdentitiesName};

use crate::fault::Fault;
use crate::limits::{
    FRAME_BYTES, HOST_ANSWERS_SPARE_BYTES, HOST_BUFFER_BYTES, HOST_SKEW_BYTES, MESSAGE_BYTES,
    PAPER_FRAME_BYTES,
};
use crate::net::{LINK_DEFAULT, Link};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::time::Duration;
use twincast_protocol::answer;
use twincast_protocol::format::{Profile, Scheme, ShareFormat};
use twincast_protocol::sealed::SEAL_OVERHEAD_BYTES;
use twincast_protocol::wire::ANSWERS_HEAD_BYTES;
use twincast_server::config::{Cores, ZeroCopy};

/// A whole run, as the coordinator planned it and every host got it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Members of each group, n.
    pub group: u32,
    /// Independent groups, numbered from 0.
    pub groups: u32,
    /// Client hosts, H. User u of every group is played by host `u mod H`.
    pub hosts: u32,
    /// Measured rounds.
    pub rounds: u32,
    /// Rounds played before the measured ones and dropped.
    pub warmup: u32,
    /// Slots of a member, K; in answer delivery its queries.
    pub slots: u32,
    /// The groups' way out.
    #[serde(default)]
    pub delivery: Delivery,
    /// Threads of each server that work out answers; 0: as many as the machine bears, where it is known.
    #[serde(default)]
    pub answer_threads: u32,
    /// How messages become shares.
    pub profile: ProfileName,
    /// Bytes of a frame, F.
    pub frame_bytes: u32,
    /// Bytes of each message.
    pub message_bytes: u32,
    /// Who writes to whom.
    pub peers: Peers,
    /// Whether the groups use bit confirmation.
    pub confirm: bool,
    /// Whether members exchange keys at the start of each epoch and seal what they write with them.
    pub keys: bool,
    /// Partitions of the paper's key exchange that is worked out beside; 0 for none.
    pub keys_kappa: u32,
    /// Rounds of an epoch; 0: the first has no end.
    pub epoch_rounds: u32,
    /// How many rounds before its end the next epoch is announced.
    pub announce_rounds: u32,
    /// Users who leave, and others who join in their place, at each change of epochs.
    pub churn: u32,
    /// Whether the two servers are linked.
    pub linked: bool,
    /// S2's box for members who are away, in MiB for each group and epoch; 0: none.
    pub box_mib: u32,
    /// How long a round waits for who does not come, in milliseconds; 0: long enough for the slowest machine.
    pub round_timeout_ms: u32,
    /// What is done to the run on its way.
    pub fault: Option<Fault>,
    /// Users on one connection (to each server), at most.
    pub users_per_connection: u32,
    /// Rounds submitted ahead of the one that is being delivered: 0 or 1.
    pub ahead: u32,
    /// How much of what arrives is decoded.
    pub verify: Verify,
    /// Messages, recipients and samples are drawn from it; no secret is.
    pub seed: u64,
    /// How far one server may be read ahead of the other, per connection.
    pub host_skew_bytes: u64,
    /// The link of every server and host.
    pub link: Link,
    /// Rounds per second that are planned, whether or not earlier ones are done; none: lockstep.
    pub rate: Option<f64>,
    /// What goes between users and servers, and between the servers.
    #[serde(default = "ChannelName::before")]
    pub channel: ChannelName,
    /// Who may be a user.
    #[serde(default = "IdentitiesName::before")]
    pub identities: IdentitiesName,
    /// Whether members and servers sign what they send, so that who is at fault can be shown.
    #[serde(default)]
    pub accountable: bool,
    /// Accountable groups: every so many rounds each member asks for the headers of one tile; else 0.
    #[serde(default)]
    pub header_rounds: u32,
    /// How both servers are set up.
    #[serde(default)]
    pub server: ServerSettings,
}

/// How both servers of a run are set up where that is not the server's own default: keys of a server's configuration, by
/// the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// `fan_out.threads`.
    pub fan_out_threads: Option<usize>,
    /// `fan_out.cores`.
    pub fan_out_cores: Option<Cores>,
    /// `front.cores`.
    pub front_cores: Option<Cores>,
    /// `fan_out.slab_bytes`.
    pub slab_bytes: Option<usize>,
    /// `fan_out.slabs`, of each thread.
    pub slabs: Option<usize>,
    /// `fan_out.zero_copy`.
    pub zero_copy: Option<ZeroCopy>,
    /// `fan_out.zero_copy_bytes_min`.
    pub zero_copy_bytes_min: Option<usize>,
    /// `fan_out.send_buffer_bytes`.
    pub send_buffer_bytes: Option<usize>,
}

impl ServerSettings {
    /// What is set, as a configuration says it: section, key and value.
    #[must_use]
    pub fn keys(&self) -> Vec<(&'static str, &'static str, String)> {
        fn put<T: Serialize>(value: &Option<T>) -> Option<String> {
            let value = toml::Value::try_from(value.as_ref()?).expect("every value has a form in TOML");
            Some(value.to_string())
        }
        let all = [
            ("front", "cores", put(&self.front_cores)),
            ("fan_out", "threads", put(&self.fan_out_threads)),
            ("fan_out", "cores", put(&self.fan_out_cores)),
            ("fan_out", "slab_bytes", put(&self.slab_bytes)),
            ("fan_out", "slabs", put(&self.slabs)),
            ("fan_out", "zero_copy", put(&self.zero_copy)),
            ("fan_out", "zero_copy_bytes_min", put(&self.zero_copy_bytes_min)),
            ("fan_out", "send_buffer_bytes", put(&self.send_buffer_bytes)),
        ];
        all.into_iter().filter_map(|(section, key, value)| Some((section, key, value?))).collect()
    }

    /// A line for a person; none if nothing is set.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let keys: Vec<String> =
            self.keys().iter().map(|(section, key, value)| format!("{section}.{key} = {value}")).collect();
        (!keys.is_empty()).then(|| format!("both servers set up with {}", keys.join(", ")))
    }
}

/// A [`Profile`] by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileName {
    /// The default.
    Compact,
    /// The paper's code, shared by XOR.
    PaperXor,
    /// The paper's code, shared in Z_p.
    PaperAdd,
}

/// A group's way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Every member gets a share of every sender: n x n.
    #[default]
    Broadcast,
    /// Every member reads one record for each of its queries, of whomever it asks for: n x K.
    Answer,
}

/// Who writes to whom. The same for all rounds of an epoch, since session keys are dialled for an epoch, and drawn
/// anew for the next; only [`Peers::Many`] in a paper profile, which deals in every round, has others every batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peers {
    /// Everybody writes to themselves: the paper's set-up.
    #[serde(rename = "self")]
    Own,
    /// A random permutation of the group.
    Random,
    /// One message to this many random recipients, for each (sender, slot).
    Subset(u32),
    /// One message to this part of the group, in percent, for each (sender, slot).
    Subgroup(u32),
    /// Different messages to this many members: in as many slots, or by the paper's one-to-many scheme.
    Many(Many),
}

/// Different messages of one sender to several members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Many {
    /// How many members, K: a batch.
    pub recipients: u32,
    /// Rounds that a batch is spread over, R.
    pub spread: u32,
    /// The least noise subgroups of a round.
    pub noise_min: u32,
    /// The most noise subgroups of a round. How many it is, each sender draws afresh for each round.
    pub noise_max: u32,
}

/// How much of what arrives is decoded and verified.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Every cell.
    All,
    /// Each (user, tile) with this probability, and every user's own and addressed cells.
    Sample(f64),
    /// Cells are counted and dropped.
    Count,
}

impl Default for Plan {
    /// What `local` does without a flag.
    fn default() -> Plan {
        Plan {
            group: 1_000,
            groups: 1,
            hosts: 5,
            rounds: 5,
            warmup: 1,
            slots: 1,
            delivery: Delivery::Broadcast,
            answer_threads: 0,
            profile: ProfileName::Compact,
            frame_bytes: FRAME_BYTES,
            message_bytes: MESSAGE_BYTES,
            peers: Peers::Random,
            confirm: true,
            keys: false,
            keys_kappa: 0,
            epoch_rounds: 0,
            announce_rounds: 0,
            churn: 0,
            linked: true,
            box_mib: 0,
            round_timeout_ms: 0,
            fault: None,
            users_per_connection: 200,
            ahead: 0,
            verify: Verify::All,
            seed: 1,
            host_skew_bytes: 32 << 20,
            link: Link { rate: LINK_DEFAULT, mtu: 1_500 },
            rate: None,
            channel: ChannelName::Noise,
            identities: IdentitiesName::Registered,
            accountable: false,
            header_rounds: 0,
            server: ServerSettings::default(),
        }
    }
}

impl Plan {
    /// Whether readers ask for records, instead of being given a share of everybody's.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.delivery == Delivery::Answer
    }

    /// Whether its channels are Noise ones.
    #[must_use]
    pub fn is_noise(&self) -> bool {
        self.channel == ChannelName::Noise
    }

    /// Whether its users have accounts.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.identities == IdentitiesName::Registered
    }

    /// Whether servers and hosts of its run are given keys.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.answers() || self.is_noise() || self.is_registered()
    }

    /// Messages of a sender in a round: one record where readers ask for them, whoever they are.
    #[must_use]
    pub fn messages_each(&self) -> u32 {
        if self.answers() { 1 } else { self.slots }
    }

    /// The share format of every group; in answer delivery that of the frame inside a record.
    ///
    /// # Errors
    /// A sentence: the profile has no such frame, or the group cannot use the scheme.
    pub fn format(&self) -> Result<ShareFormat, String> {
        let format = ShareFormat::new(self.profile.into(), self.frame_bytes, self.scheme());
        let format = format.map_err(|error| error.to_string())?;
        format.check_members(self.group).map_err(|error| error.to_string())?;
        Ok(format)
    }

    /// How shares reach their recipients: a paper profile needs Algorithm 4 for more than one recipient of a message,
    /// and deals subgroups for more than one message.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self.peers {
            _ if !self.profile.is_paper() => Scheme::Plain,
            Peers::Own | Peers::Random | Peers::Subset(..=1) => Scheme::Plain,
            Peers::Subset(_) | Peers::Subgroup(_) => Scheme::Algorithm4,
            Peers::Many(many) => Scheme::OneToMany {
                subgroups_max: u16::try_from(many.recipients_max() + many.noise_max).unwrap_or(u16::MAX),
            },
        }
    }

    /// The one-to-many scheme's batches, where the groups use it.
    #[must_use]
    pub fn dealt(&self) -> Option<Many> {
        match self.peers {
            Peers::Many(many) if self.profile.is_paper() => Some(many),
            _ => None,
        }
    }

    /// Recipients of each message of an epoch, or in the one-to-many scheme messages of a whole batch.
    #[must_use]
    pub fn recipients_each(&self) -> u32 {
        match self.peers {
            // A sender's readers are as many on average as a reader has queries.
            _ if self.answers() => self.slots,
            Peers::Own | Peers::Random => 1,
            Peers::Subset(recipients) => recipients.min(self.group),
            Peers::Subgroup(percent) => subgroup(self.group, percent),
            Peers::Many(_) if !self.profile.is_paper() => 1,
            Peers::Many(many) => many.recipients,
        }
    }

    /// Rounds played in all, warm-up included.
    #[must_use]
    pub fn all_rounds(&self) -> u64 {
        u64::from(self.warmup) + u64::from(self.rounds)
    }

    /// The time between the planned instants of two rounds; none in lockstep. A rate that is none counts as lockstep.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok())
    }

    /// The epochs that its rounds run in.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        match self.epoch_rounds {
            0 => 1,
            rounds => self.all_rounds().div_ceil(u64::from(rounds)) as u32,
        }
    }

    /// The epoch of a round.
    #[must_use]
    pub fn epoch_of(&self, round: u64) -> u32 {
        match self.epoch_rounds {
            0 => 0,
            rounds => (round.saturating_sub(1) / u64::from(rounds)) as u32,
        }
    }

    /// How far a host may read one server ahead of the other, per connection: what keeps the buffers of all its connections
    /// in bounds. A round of answers of one server waits whole for that of the other.
    #[must_use]
    pub fn host_skew_bytes_at_most(&self) -> u64 {
        if self.answers() {
            let answers = u64::from(self.users_per_connection) * u64::from(self.slots) * RECORD_BYTES;
            return 2 * (ANSWERS_HEAD_BYTES as u64 + answers) + HOST_ANSWERS_SPARE_BYTES;
        }
        let of_a_group = self.group.div_ceil(self.hosts).div_ceil(self.users_per_connection);
        HOST_SKEW_BYTES.min(HOST_BUFFER_BYTES / (2 * u64::from(of_a_group) * u64::from(self.groups)))
    }

    /// The users of an epoch: those with the lowest numbers leave, others come after the highest. After the run's last
    /// epoch nobody does.
    #[must_use]
    pub fn roster(&self, epoch: u32) -> RangeInclusive<u32> {
        let first = epoch.min(self.epochs().saturating_sub(1)) * self.churn;
        first..=first + self.group - 1
    }
}

impl Many {
    /// The most recipients in one round of a batch.
    #[must_use]
    pub fn recipients_max(&self) -> u32 {
        self.recipients.div_ceil(self.spread.max(1))
    }

    /// Which of a batch's recipients, by their position, get their message in a round.
    #[must_use]
    pub fn part(&self, round: u64) -> std::ops::Range<u32> {
        let spread = u64::from(self.spread);
        let turn = round.saturating_sub(1) % spread;
        let begin = |turn: u64| (turn * u64::from(self.recipients) / spread) as u32;
        begin(turn)..begin(turn + 1)
    }

    /// The batch that a round belongs to, from 0.
    #[must_use]
    pub fn batch(&self, round: u64) -> u64 {
        round.saturating_sub(1) / u64::from(self.spread)
    }
}

/// How many members a part of a group in percent is: the nearest whole number, and at least one.
#[must_use]
pub fn subgroup(group: u32, percent: u32) -> u32 {
    (((u64::from(group) * u64::from(percent) + 50) / 100) as u32).clamp(1, group)
}

/// The longest message of a group: what the frame takes, less what sealing adds and the byte that tells whether a
/// message is sealed, where members exchange keys.
#[must_use]
pub fn message_bytes_max(format: &ShareFormat, keys: bool) -> u32 {
    let seal = if keys { 1 + SEAL_OVERHEAD_BYTES } else { 0 };
    format.message_bytes_max().saturating_sub(seal) as u32
}

/// Bytes of a record of answer delivery.
pub const RECORD_BYTES: u64 = answer::RECORD_BYTES as u64;
/// Bytes of the frame inside it.
pub const ANSWER_FRAME_BYTES: u32 = answer::FRAME_BYTES as u32;

/// A profile's frame, unless the command line has another.
#[must_use]
pub fn frame_bytes_default(profile: ProfileName) -> u32 {
    if profile.is_paper() { PAPER_FRAME_BYTES } else { FRAME_BYTES }
}

impl ProfileName {
    /// Whether it is one of the paper's.
    #[must_use]
    pub fn is_paper(self) -> bool {
        Profile::from(self).is_paper()
    }
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Profile {
        match name {
            ProfileName::Compact => Profile::Compact,
            ProfileName::PaperXor => Profile::PaperXor,
            ProfileName::PaperAdd => Profile::PaperAdd,
        }
    }
}

impl std::fmt::Display for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Delivery::Broadcast => "broadcast",
            Delivery::Answer => "answer",
        })
    }
}

impl std::str::FromStr for Delivery {
    type Err = String;

    fn from_str(name: &str) -> Result<Delivery, String> {
        let named = [Delivery::Broadcast, Delivery::Answer].into_iter().find(|one| one.to_string() == name);
        named.ok_or_else(|| "give broadcast or answer".into())
    }
}

impl std::fmt::Display for ProfileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Profile::from(*self).fmt(f)
    }
}

impl std::str::FromStr for ProfileName {
    type Err = String;

    fn from_str(name: &str) -> Result<ProfileName, String> {
        let all = [ProfileName::Compact, ProfileName::PaperXor, ProfileName::PaperAdd];
        let named = all.into_iter().find(|profile| profile.to_string() == name);
        named.ok_or_else(|| "give compact, paper-xor or paper-add".into())
    }
}

#[cfg(test)]
pub(crate) mod tests;
