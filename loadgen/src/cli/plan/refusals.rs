//! Flags that do not go together: which, why, and what to give instead.

mod delivery;
mod guard;

use super::PlanArgs;
use crate::fault::{FaultKind, LATE_FACTOR};
use crate::limits::{ANNOUNCE_ROUNDS_MIN, CHURN_ROUNDS, SLOTS_MAX};
use crate::net::LinkRate;
use crate::plan::{Many, Peers, Plan, Verify, subgroup};
use crate::units::thousands;
use twincast_protocol::format::{SUBGROUPS_MAX, Scheme};

impl PlanArgs {
    /// Refuses flags that do not go together.
    pub(super) fn refuse(&self) -> Result<(), String> {
        self.refuse_baseline()?;
        self.refuse_delivery()?;
        self.refuse_hosts()?;
        self.refuse_recipients()?;
        self.refuse_many()?;
        self.refuse_keys()?;
        self.refuse_epochs()?;
        self.refuse_guard()?;
        self.refuse_fault()
    }

    fn refuse_baseline(&self) -> Result<(), String> {
        if self.profile.is_paper() && !self.insecure_baseline {
            return Err(format!(
                "--profile {} is a baseline in which one server alone can find recipients or forge messages (read \
                 engine/docs/THREAT_MODEL.md): add --insecure-baseline to measure it all the same",
                self.profile
            ));
        }
        Ok(())
    }

    fn refuse_hosts(&self) -> Result<(), String> {
        match self.hosts {
            Some(hosts) if hosts > self.group => Err(format!(
                "--hosts {hosts} is more than the {} members of --group: every host plays at least one; give at \
                 most --hosts {}",
                self.group, self.group
            )),
            _ => Ok(()),
        }
    }

    fn refuse_recipients(&self) -> Result<(), String> {
        let (group, half) = (self.group, self.group / 2);
        let (said, recipients) = match self.peers {
            Peers::Subset(recipients) => (format!("subset:{recipients}"), recipients),
            Peers::Subgroup(percent) => (format!("subgroup:{percent}%"), subgroup(group, percent)),
            Peers::Own | Peers::Random | Peers::Many(_) => return Ok(()),
        };
        if recipients > group {
            return Err(format!(
                "--peers {said} is more than the {group} members of --group; give at most subset:{group}"
            ));
        }
        let by_algorithm4 = match self.peers {
            Peers::Subset(recipients) => recipients > 1,
            _ => true,
        };
        if !self.profile.is_paper() || !by_algorithm4 {
            return Ok(());
        }
        if !group.is_multiple_of(2) {
            return Err(format!(
                "--peers {said} in --profile {} is the paper's Algorithm 4, which needs an even group, and --group \
                 is {group}; give --group {}, or --profile compact",
                self.profile,
                group + 1
            ));
        }
        if recipients > half {
            return Err(format!(
                "--peers {said} in --profile {} is the paper's Algorithm 4, which reaches at most half of the group, \
                 and {recipients} recipients are more than half of {group}; give at most subset:{half} or subgroup:50%, \
                 or --profile compact",
                self.profile
            ));
        }
        Ok(())
    }

    fn refuse_many(&self) -> Result<(), String> {
        let Peers::Many(many) = self.whole_peers() else {
            return match (self.noise, self.spread) {
                (None, None) => Ok(()),
                _ => {
                    Err("--noise and --spread belong to --peers many:K; give that too, or leave them out"
                        .into())
                }
            };
        };
        let recipients = many.recipients;
        if recipients > self.group {
            return Err(format!(
                "--peers many:{recipients} is more than the {} members of --group; give at most many:{}",
                self.group, self.group
            ));
        }
        if self.profile.is_paper() { self.refuse_dealt(many) } else { self.refuse_slots(recipients) }
    }

    /// In the compact profile K messages go in K slots.
    fn refuse_slots(&self, recipients: u32) -> Result<(), String> {
        if self.noise.is_some() || self.spread.is_some() {
            return Err("--noise and --spread belong to the paper's one-to-many scheme; the compact profile sends \
                        many:K in K slots, which are always all filled: leave them out, or give a paper --profile"
                .into());
        }
        if self.slots.is_some_and(|slots| slots != recipients) {
            return Err(format!(
                "--peers many:{recipients} in the compact profile takes {recipients} slots; leave --slots out"
            ));
        }
        if recipients > SLOTS_MAX {
            return Err(format!(
                "--peers many:{recipients} in the compact profile takes as many slots, and a member has at most \
                 {SLOTS_MAX}; give at most many:{SLOTS_MAX}"
            ));
        }
        Ok(())
    }

    /// In a paper profile each round deals the group into subgroups.
    fn refuse_dealt(&self, many: Many) -> Result<(), String> {
        if self.slots.is_some_and(|slots| slots != 1) {
            return Err(
                "--peers many:K in a paper profile deals one slot into subgroups; leave --slots out".into()
            );
        }
        if many.spread > many.recipients {
            return Err(format!(
                "--spread {} is more than the {} recipients of --peers many:{}: some rounds would have none; give \
                 at most --spread {}",
                many.spread, many.recipients, many.recipients, many.recipients
            ));
        }
        let subgroups = u64::from(many.recipients_max()) + u64::from(many.noise_max);
        let most = self.group.min(SUBGROUPS_MAX.into());
        if subgroups > u64::from(most) {
            return Err(format!(
                "--peers many:{} with --noise {}..{} and --spread {} deals up to {subgroups} subgroups, and a round of \
                 this group has at most {most}; give fewer recipients a round, or less noise",
                many.recipients, many.noise_min, many.noise_max, many.spread
            ));
        }
        Ok(())
    }

    fn refuse_keys(&self) -> Result<(), String> {
        match self.keys_kappa {
            Some(kappa) if kappa > self.group => Err(format!(
                "--keys-kappa {kappa} is more partitions than the {} members of --group; give from 2 to {}",
                self.group, self.group
            )),
            _ => Ok(()),
        }
    }

    fn refuse_epochs(&self) -> Result<(), String> {
        let Some(rounds) = self.epoch_rounds else {
            return match (self.announce_rounds, self.churn) {
                (None, None) => Ok(()),
                (Some(_), _) => Err("--announce-rounds belongs to --epoch-rounds; give that too".into()),
                (None, Some(_)) => Err("--churn needs epochs that change: give --epoch-rounds too".into()),
            };
        };
        let announce = self.announce_rounds.unwrap_or(ANNOUNCE_ROUNDS_MIN);
        if announce > rounds {
            return Err(format!(
                "--announce-rounds {announce} is more than the {rounds} rounds of --epoch-rounds; give at most {rounds}"
            ));
        }
        let Some(churn) = self.churn else { return Ok(()) };
        if self.rate.is_some() {
            return Err("--churn and --rate do not go together: rounds wait for those who join, whatever their schedule \
                        says; leave one of the two out"
                .into());
        }
        if churn > self.group / 2 {
            return Err(format!(
                "--churn {churn} is more than half of the {} members of --group; give at most {}",
                self.group,
                self.group / 2
            ));
        }
        if rounds < announce + CHURN_ROUNDS {
            return Err(format!(
                "--churn needs {CHURN_ROUNDS} rounds between an epoch's first and the next one's announcement, and \
                 --epoch-rounds {rounds} leaves {}; give at least --epoch-rounds {}",
                rounds - announce,
                announce + CHURN_ROUNDS
            ));
        }
        Ok(())
    }

    fn refuse_fault(&self) -> Result<(), String> {
        let Some(fault) = self.fault else { return Ok(()) };
        let name = fault.kind.name();
        let refused = |flag: &str, why: &str| {
            Err(format!("--fault {name} and {flag} do not go together: {why}; leave {flag} out"))
        };
        if self.link.is_some_and(|link| link != LinkRate::Loopback) {
            return Err(format!(
                "--fault {name} and --link do not go together: what breaks the run stands on the loopback interface \
                 between servers and hosts; leave --link out, or give --link loopback"
            ));
        }
        if self.epoch_rounds.is_some() {
            return refused("--epoch-rounds", "what a fault must cause is worked out for one epoch");
        }
        if self.warmup.is_some_and(|warmup| warmup > 0) {
            return refused("--warmup", "rounds that are dropped do not show what it causes");
        }
        if self.ahead > 0 {
            return refused("--ahead", "one round at a time shows what it causes");
        }
        if self.rate.is_some() {
            return refused("--rate", "one round at a time shows what it causes");
        }
        if self.verify != Verify::All {
            return refused("--verify", "every verdict is looked at");
        }
        let last = u64::from(self.rounds);
        if fault.round > last || (fault.kind.repeats() && fault.round < 2) {
            let first = if fault.kind.repeats() { 2 } else { 1 };
            return Err(format!(
                "--fault {name}@{}: give a round from {first} to the last of --rounds, {last}",
                thousands(fault.round)
            ));
        }
        let hosts = self.hosts.unwrap_or(super::HOSTS_DEFAULT.min(self.group));
        if fault.kind == FaultKind::KillHost && hosts < 2 {
            return Err("--fault kill-host needs a host that is left: give at least --hosts 2".into());
        }
        let limit = self.round_timeout_ms();
        let (within, beyond) = (u64::from(limit) * 3 / 4, u64::from(limit * LATE_FACTOR) * 5 / 4);
        if fault.kind == FaultKind::Delay && (within..beyond).contains(&fault.hold_ms.into()) {
            return Err(format!(
                "--fault delay:{}@{} is too near to the time limit of a round, {limit} ms, to tell what it must cause; \
                 give less than {within} or at least {beyond}, or another --round-timeout",
                fault.hold_ms, fault.round
            ));
        }
        let has_recipient = !self.profile.is_paper() || matches!(self.peers, Peers::Own | Peers::Random);
        if fault.kind == FaultKind::SwapHalf && !has_recipient {
            return Err("--fault swap-half in a paper profile needs one recipient of each message, for whom its effect is \
                        certain; give --peers self or random"
                .into());
        }
        Ok(())
    }

    /// Why the profile has no such frame, or the group cannot use the scheme.
    pub(super) fn frame_refused(&self, plan: &Plan, error: &str) -> String {
        if plan.scheme() != Scheme::Plain && self.frame_bytes.is_none() {
            return format!("--peers cannot be had by this group: {error}");
        }
        let bounds = if plan.profile.is_paper() {
            "256, or more up to 65,536 for messages authenticated by their hash"
        } else {
            "a multiple of 16 from 16 to 65,536"
        };
        format!("--frame-bytes {} is no frame of --profile {}; give {bounds}", plan.frame_bytes, plan.profile)
    }
}
