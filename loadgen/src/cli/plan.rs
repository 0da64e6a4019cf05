//! The flags that describe a run, and the plan that they make; `local` and all that repeats it take them.

mod refusals;

use super::server_settings::ServerArgs;
use super::values::{fault, link, noise, parts_box, peers, rate, verify, within};
use crate::fault::{Fault, sealed::too_small};
use crate::limits::{
    ANNOUNCE_ROUNDS_MIN, ANSWER_GROUP_MAX, ANSWER_THREADS_MAX, BOX_MIB_MAX, CONFIRM_PART_BYTES,
    FAULT_ROUND_TIMEOUT_MS, FRAME_BYTES_MAX, FRAME_BYTES_MIN, GROUP_MAX, GROUP_MIN, GROUPS_MAX,
    HEADER_ROUNDS_DEFAULT, HEADER_ROUNDS_MAX, HOSTS_MAX, KEY_PART_BYTES, MESSAGE_BYTES, ROUND_TIMEOUT_MS_MAX,
    ROUNDS_MAX, SLOTS_MAX, SWEEP_MAX, USERS_PER_CONNECTION_DEFAULT, USERS_PER_CONNECTION_MAX, WARMUP_MAX,
};
use crate::net::{LINK_DEFAULT, Link, LinkRate, MTU_MAX, MTU_MIN};
use crate::plan::{
    ANSWER_FRAME_BYTES, ChannelName, Delivery, IdentitiesName, Peers, Plan, ProfileName, Verify,
    frame_bytes_default, message_bytes_max,
};
use clap::Args;

const HOSTS_DEFAULT: u32 = 5;
const GROUP_DEFAULT: u32 = 1_000;

/// The flags that describe a run.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Members of each group, n. Every round moves n x n shares out of each server, or n x K with --delivery answer.
    /// `sweep` takes several, as in 100,500,1000 [default: 1000; sweep: 100,500,1000,2000,5000]
    #[arg(long = "group", value_name = "N", value_delimiter = ',', value_parser = within(GROUP_MIN, ANSWER_GROUP_MAX))]
    sizes: Vec<u32>,

    /// The one of them that a plan is made for.
    #[arg(skip)]
    group: u32,

    /// Independent groups of that size on the same two servers
    #[arg(long, value_name = "G", default_value = "1", value_parser = within(1, GROUPS_MAX))]
    groups: u32,

    /// Client hosts: processes that play the users, user u on host u mod H [default: 5, fewer in a smaller group]
    #[arg(long, value_name = "H", value_parser = within(1, HOSTS_MAX))]
    hosts: Option<u32>,

    /// Rounds that are measured
    #[arg(long, value_name = "R", default_value = "5", value_parser = within(1, ROUNDS_MAX))]
    rounds: u32,

    /// Rounds played before them and dropped from every figure [default: 1, or 0 with --rounds 1 or --fault]
    #[arg(long, value_name = "W", value_parser = within(0, WARMUP_MAX))]
    warmup: Option<u32>,

    /// How messages become shares: compact, or the paper's own arithmetic, paper-xor or paper-add. The paper's is a
    /// baseline to measure against: one server alone can find recipients or forge (engine/docs/THREAT_MODEL.md), so
    /// it takes --insecure-baseline
    #[arg(long, value_name = "PROFILE", default_value = "compact")]
    profile: ProfileName,

    /// Allow a profile in which one server alone can find recipients or forge messages
    #[arg(long)]
    insecure_baseline: bool,

    /// Bytes of a frame. compact: a multiple of 16 from 16 to 65,536, for a message of 3 bytes less [default: 288, with
    /// messages of 256]; paper profiles: 256, or up to 65,536 for messages authenticated by their hash [default: 256]
    #[arg(long, value_name = "BYTES", value_parser = within(FRAME_BYTES_MIN, FRAME_BYTES_MAX))]
    frame_bytes: Option<u32>,

    /// How messages reach their readers: broadcast (every member gets a share of every sender, n x n), or answer (every
    /// member reads one record for each of its queries, n x K, and no server learns whose: for large groups)
    #[arg(long, value_name = "DELIVERY", default_value = "broadcast")]
    delivery: Delivery,

    /// With --delivery answer: threads of each server that work out answers [default: a quarter of this machine's cores,
    /// at least 1; on another machine 1]
    #[arg(long, value_name = "T", value_parser = within(1, ANSWER_THREADS_MAX))]
    answer_threads: Option<u32>,

    /// Messages that every member may send in a round, each in a slot; every slot is filled, with cover if need be. With
    /// --delivery answer: queries of every member, who sends one record whatever K is [default: 1, or K with --peers
    /// many:K in the compact profile]
    #[arg(long, value_name = "K", value_parser = within(1, SLOTS_MAX))]
    slots: Option<u32>,

    /// Who writes to whom: self (everybody to themselves, the paper's set-up), random (a random permutation), subset:K
    /// (one message to K random recipients), subgroup:P% (one message to P percent of the group; the paper's example
    /// is 25%), or many:K (different messages to K members). The paper profiles need Algorithm 4 for more than one
    /// recipient (an even group, at most half of it), and deal the group into subgroups for many:K. With --delivery
    /// answer, who reads whom, for each query: self, random, or subset:K (the records of one are read by K)
    #[arg(long, value_name = "WHO", default_value = "random", value_parser = peers)]
    peers: Peers,

    /// With many:K in a paper profile: so many subgroups without a recipient hide how many have one; the number is
    /// drawn afresh for every round and sender [default: 0..0]
    #[arg(long, value_name = "MIN..MAX", value_parser = noise)]
    noise: Option<(u32, u32)>,

    /// With many:K in a paper profile: the K recipients of a batch are spread over R rounds [default: 1]
    #[arg(long, value_name = "R", value_parser = within(1, ROUNDS_MAX))]
    spread: Option<u32>,

    /// Leave out bit confirmation, in which every user learns at dialling which senders' messages are for it
    #[arg(long)]
    no_confirm: bool,

    /// Exchange keys at the start of each epoch, and seal each message to one recipient with the key that they share
    #[arg(long)]
    keys: bool,

    /// Also work out the paper's own key exchange with KAPPA partitions: its bytes, and how often another user's
    /// account reads a key, by its formula and measured
    #[arg(long, value_name = "KAPPA", value_parser = within(2, GROUP_MAX))]
    keys_kappa: Option<u32>,

    /// Rounds of an epoch. Recipients change with the epoch, and every slot is dialled anew, while rounds go on
    /// [default: the first epoch has no end]
    #[arg(long, value_name = "N", value_parser = within(ANNOUNCE_ROUNDS_MIN, ROUNDS_MAX))]
    epoch_rounds: Option<u32>,

    /// Rounds before an epoch's end at which the next one is announced, and can be dialled [default: 2]
    #[arg(long, value_name = "A", value_parser = within(ANNOUNCE_ROUNDS_MIN, ROUNDS_MAX))]
    announce_rounds: Option<u32>,

    /// Users who leave at the end of each epoch, and as many who join in their place
    #[arg(long, value_name = "K", value_parser = within(1, GROUP_MAX))]
    churn: Option<u32>,

    /// Run the two servers without the link between them: what one of them does not have is then `Incomplete`
    #[arg(long)]
    no_link: bool,

    /// S2's box, in which senders' confirmations wait for members who are away: its size in MiB for each group and
    /// epoch, or off
    #[arg(long = "box", value_name = "MIB", default_value = "off", value_parser = parts_box)]
    parts_box: u32,

    /// How long a round waits for who does not come, in milliseconds [default: what the slowest machine needs, or
    /// 5,000 with --fault]
    #[arg(long, value_name = "MS", value_parser = within(1, ROUND_TIMEOUT_MS_MAX))]
    round_timeout: Option<u32>,

    /// Break one thing in one round on its way between servers and hosts, and pass if that has exactly the effect that
    /// it must have: flip (a bit of a cell), drop or replay (a tile of S1's), drop-frame or replay-frame (the same, so that
    /// the client must stop), delay or delay:MS (S2's cells come late), half-submit (a submission reaches S1 only),
    /// kill-host; these change frames, and take plain channels. On Noise channels: net-flip, net-drop, net-replay or
    /// net-reorder (the first record of S1's to one connection, as it is sealed), --accountable or not
    #[arg(long, value_name = "KIND@ROUND", value_parser = fault)]
    fault: Option<Fault>,

    /// What goes between users and servers, and between the servers: noise (private channels, each server's key pinned),
    /// or plain (frames as they are, to measure what privacy costs and to break frames) [default: noise, or plain with a
    /// --fault that changes frames]
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<ChannelName>,

    /// Who may be a user: registered (who has an account at both servers, and proves it on each channel), or open (whoever
    /// says so) [default: registered with --channel noise or --accountable, else open]
    #[arg(long, value_name = "WHO")]
    identities: Option<IdentitiesName>,

    /// Members and servers sign what they send, so that who is at fault can be shown to anybody: evidence that hosts get is
    /// kept beside the results, and a run with evidence against somebody fails
    #[arg(long)]
    accountable: bool,

    /// With --accountable: every so many rounds each member asks for the headers of one tile [default: 16]
    #[arg(long, value_name = "R", value_parser = within(1, HEADER_ROUNDS_MAX))]
    header_rounds: Option<u32>,

    /// Users on one connection to each server [default: all users that a host plays of a group, at most 512]
    #[arg(long, value_name = "U", value_parser = within(1, USERS_PER_CONNECTION_MAX))]
    users_per_connection: Option<u32>,

    /// Rounds submitted ahead of the one being delivered, 0 or 1. With 1 the link is never idle between rounds. With
    /// --rate a round that is in time overlaps with the one before in any case
    #[arg(long, value_name = "A", default_value = "0", value_parser = within(0, 1))]
    ahead: u32,

    /// What is decoded and checked of what arrives: all, sample:P (each user and tile with probability P, and always
    /// what a user sent or should get), or count (nothing is decoded)
    #[arg(long, value_name = "HOW", default_value = "all", value_parser = verify)]
    verify: Verify,

    /// Messages, recipients and samples are drawn from this number; secrets never are
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// The link of each server and host: a rate such as 1gbit, 10gbit or 250mbit, which network namespaces are shaped to
    /// both ways; off (namespaces, links as fast as the machine); or loopback (no namespaces) [default: 10gbit, or
    /// loopback with --fault]
    #[arg(long, value_name = "RATE", value_parser = link)]
    link: Option<LinkRate>,

    /// Largest packet of those links
    #[arg(long, value_name = "BYTES", default_value = "1500", value_parser = within(MTU_MIN, MTU_MAX))]
    mtu: u32,

    /// Rounds per second that are planned, whether or not earlier ones are done (open loop): latencies count from the
    /// planned instant [default: lockstep, a round begins when the last one is done]
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,

    /// How both servers are set up.
    #[command(flatten)]
    server: ServerArgs,
}

impl PlanArgs {
    /// The run that the flags describe.
    ///
    /// # Errors
    /// A sentence with the flag, its bound and the remedy: two flags do not go together.
    pub fn plan(&self) -> Result<Plan, String> {
        match self.sizes.as_slice() {
            [] => self.plan_for(GROUP_DEFAULT),
            [group] => self.plan_for(*group),
            [first, ..] => Err(format!(
                "--group has {} sizes: give one, as in --group {first}, or use sweep, which takes several",
                self.sizes.len()
            )),
        }
    }

    /// A run for each group size, in their order; for those of `default` where none is given.
    ///
    /// # Errors
    /// As [`PlanArgs::plan`], for the first size that does not go with the other flags; or a size that comes twice.
    pub fn plans(&self, default: &[u32]) -> Result<Vec<Plan>, String> {
        let sizes = if self.sizes.is_empty() { default } else { &self.sizes };
        if sizes.len() > SWEEP_MAX {
            return Err(format!("--group has {} sizes; give at most {SWEEP_MAX}", sizes.len()));
        }
        if let Some(twice) = (1..sizes.len()).find(|index| sizes[..*index].contains(&sizes[*index])) {
            return Err(format!("--group has {} twice; give each size once, and --repeats K", sizes[twice]));
        }
        sizes.iter().map(|group| self.plan_for(*group)).collect()
    }

    /// The run that the flags describe, as if `--group` had been this; hosts, connections and buffers follow.
    ///
    /// # Errors
    /// As [`PlanArgs::plan`].
    pub fn plan_for(&self, group: u32) -> Result<Plan, String> {
        PlanArgs { group, ..self.clone() }.plan_of_its_group()
    }

    fn plan_of_its_group(&self) -> Result<Plan, String> {
        self.refuse()?;
        let hosts = self.hosts.unwrap_or(HOSTS_DEFAULT.min(self.group));
        let users_per_connection =
            self.users_per_connection.unwrap_or_else(|| default_users_per_connection(self.group, hosts));
        let is_paper = self.profile.is_paper();
        let answers = self.answers();
        let peers = self.whole_peers();
        let many = matches!(peers, Peers::Many(_));
        let slots = match peers {
            Peers::Many(many) if !is_paper => many.recipients,
            _ => self.slots.unwrap_or(1),
        };
        let warmup = u32::from(self.rounds > 1 && self.fault.is_none());
        let mut plan = Plan {
            group: self.group,
            groups: self.groups,
            hosts,
            rounds: self.rounds,
            warmup: self.warmup.unwrap_or(warmup),
            slots,
            delivery: self.delivery,
            answer_threads: self.answer_threads.unwrap_or(0),
            profile: self.profile,
            frame_bytes: self.frame_bytes.unwrap_or(match answers {
                true => ANSWER_FRAME_BYTES,
                false => frame_bytes_default(self.profile),
            }),
            message_bytes: 0,
            peers,
            // Halves that are dealt round by round are not dialled, so there is nothing to confirm.
            confirm: !(self.no_confirm || answers || many && is_paper),
            keys: self.keys,
            keys_kappa: self.keys_kappa.unwrap_or(0),
            epoch_rounds: self.epoch_rounds.unwrap_or(0),
            announce_rounds: self.announce_rounds.unwrap_or(ANNOUNCE_ROUNDS_MIN),
            churn: self.churn.unwrap_or(0),
            linked: !self.no_link,
            box_mib: self.parts_box,
            round_timeout_ms: self.round_timeout_ms(),
            fault: self.fault,
            users_per_connection,
            ahead: self.ahead,
            verify: self.verify,
            seed: self.seed,
            host_skew_bytes: 0,
            link: self.link(),
            rate: self.rate,
            channel: self.channel(),
            identities: self.identities(),
            accountable: self.accountable,
            header_rounds: match self.accountable {
                true => self.header_rounds.unwrap_or(HEADER_ROUNDS_DEFAULT),
                false => 0,
            },
            server: self.server.settings()?,
        };
        if self.accountable && plan.box_mib == 0 {
            plan.box_mib = box_mib_min(&plan);
        }
        plan.host_skew_bytes = plan.host_skew_bytes_at_most();
        plan.message_bytes = self.message_bytes(&plan)?;
        match self.fault.filter(|fault| fault.kind.is_net()).and_then(|_| too_small(&plan)) {
            Some(why) => Err(format!("--fault and --group {}: {why}; give a larger --group", plan.group)),
            None => Ok(plan),
        }
    }

    /// Messages fill their frame; in the default frame of the compact profile they are the paper's 256 bytes.
    fn message_bytes(&self, plan: &Plan) -> Result<u32, String> {
        let format = plan.format().map_err(|error| self.frame_refused(plan, &error))?;
        let most = message_bytes_max(&format, plan.keys);
        let whole = self.frame_bytes.is_some() && !self.answers() || plan.profile.is_paper();
        Ok(if whole { most } else { most.min(MESSAGE_BYTES) })
    }

    /// Whether a round rate is given.
    pub fn has_rate(&self) -> bool {
        self.rate.is_some()
    }

    /// Whether something is broken on purpose.
    pub fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    /// The run that the flags describe, over such channels, with the users that go with them.
    ///
    /// # Errors
    /// As [`PlanArgs::plan`].
    pub(super) fn guarded(&self, channel: ChannelName, accountable: bool) -> Result<Plan, String> {
        let header_rounds = self.header_rounds.filter(|_| accountable);
        PlanArgs { channel: Some(channel), accountable, header_rounds, ..self.clone() }.plan()
    }

    /// Whether readers ask for records.
    fn answers(&self) -> bool {
        self.delivery == Delivery::Answer
    }

    /// What the run's channels are.
    fn channel(&self) -> ChannelName {
        let frames = self.fault.is_some_and(|fault| fault.kind.needs_frames());
        self.channel.unwrap_or(if frames { ChannelName::Plain } else { ChannelName::Noise })
    }

    /// Who may be a user.
    fn identities(&self) -> IdentitiesName {
        let default = if self.accountable { IdentitiesName::Registered } else { self.channel().identities() };
        self.identities.unwrap_or(default)
    }

    fn link(&self) -> Link {
        let default = if self.fault.is_some() { LinkRate::Loopback } else { LINK_DEFAULT };
        Link { rate: self.link.unwrap_or(default), mtu: self.mtu }
    }

    fn round_timeout_ms(&self) -> u32 {
        let default = if self.fault.is_some() { FAULT_ROUND_TIMEOUT_MS } else { 0 };
        self.round_timeout.unwrap_or(default)
    }

    /// [`PlanArgs::peers`] with the rounds and the noise of its batches.
    fn whole_peers(&self) -> Peers {
        match self.peers {
            Peers::Many(mut many) => {
                many.spread = self.spread.unwrap_or(1);
                (many.noise_min, many.noise_max) = self.noise.unwrap_or((0, 0));
                Peers::Many(many)
            }
            peers => peers,
        }
    }
}

/// A box with room for everything that members give at the start of an epoch, and what it writes beside them.
fn box_mib_min(plan: &Plan) -> u32 {
    let members = u64::from(plan.group);
    let keys = if plan.keys { 2 * KEY_PART_BYTES } else { 0 };
    let each = u64::from(plan.slots) * CONFIRM_PART_BYTES + keys;
    let bytes = members * (members + 16) * each * 9 / 8;
    bytes.div_ceil(1 << 20).clamp(1, BOX_MIB_MAX.into()) as u32
}

/// All the users that a host plays of a group on one connection, up to [`USERS_PER_CONNECTION_DEFAULT`].
fn default_users_per_connection(group: u32, hosts: u32) -> u32 {
    group.div_ceil(hosts).min(USERS_PER_CONNECTION_DEFAULT)
}

#[cfg(test)]
mod tests;
