//! Flags that do not go with how a run is guarded.

use crate::cli::PlanArgs;
use crate::fault::FaultKind;
use crate::plan::{ChannelName, IdentitiesName};
use twincast_protocol::accountable::turn::rounds_kept;

impl PlanArgs {
    /// What does not go with the channel, with accounts, or with groups that are accountable.
    pub(super) fn refuse_guard(&self) -> Result<(), String> {
        self.refuse_channel()?;
        if self.accountable {
            return self.refuse_for_accountable();
        }
        match self.header_rounds {
            Some(_) => Err("--header-rounds belongs to --accountable; give that too, or leave it out".into()),
            None => Ok(()),
        }
    }

    /// What `price` changes from run to run, or cannot have.
    ///
    /// # Errors
    /// A sentence with the flag.
    pub(in crate::cli) fn refuse_for_price(&self) -> Result<(), String> {
        let given = [
            ("--channel", self.channel.is_some()),
            ("--identities", self.identities.is_some()),
            ("--accountable", self.accountable),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(format!("{flag} is what price changes from run to run; leave it out")),
            None if self.fault.is_some() => {
                Err("--fault breaks a run, whose figures say nothing of a good one's; leave it out".into())
            }
            None => Ok(()),
        }
    }

    fn refuse_channel(&self) -> Result<(), String> {
        let Some(fault) = self.fault else { return Ok(()) };
        let name = fault.kind.name();
        if fault.kind.needs_frames() && self.channel() == ChannelName::Noise {
            return Err(format!(
                "--fault {name} and --channel noise do not go together: it changes frames, which nobody on the way sees; \
                 leave --channel out, or give net-flip, net-drop, net-replay or net-reorder"
            ));
        }
        if fault.kind.is_net() && self.channel() == ChannelName::Plain {
            return Err(format!(
                "--fault {name} and --channel plain do not go together: nothing tells a client that a plain channel was \
                 changed; leave --channel out, or give flip, drop, replay or the like"
            ));
        }
        Ok(())
    }

    fn refuse_for_accountable(&self) -> Result<(), String> {
        let refused = |flag: &str, why: &str, remedy: &str| {
            Err(format!("--accountable and {flag} do not go together: {why}; {remedy}"))
        };
        let leave = |flag: &str, why: &str| refused(flag, why, &format!("leave {flag} out"));
        if self.identities == Some(IdentitiesName::Open) {
            let why = "what nobody's registered key has signed is evidence against nobody";
            return leave("--identities open", why);
        }
        if self.answers() {
            return leave("--delivery answer", "its records are signed in any case");
        }
        if self.profile.is_paper() {
            let flag = format!("--profile {}", self.profile);
            let why = "one server alone can forge what a baseline's shares say";
            return refused(&flag, why, "leave --profile out, or give compact");
        }
        if self.no_confirm {
            return leave("--no-confirm", "which half is right is shown by a bit's confirmation");
        }
        if self.no_link {
            return leave("--no-link", "the servers agree over their link on whose uploads a round has");
        }
        let header_rounds = self.header_rounds.unwrap_or(crate::limits::HEADER_ROUNDS_DEFAULT);
        let least = rounds_kept(header_rounds);
        if let Some(rounds) = self.epoch_rounds.filter(|rounds| (*rounds as usize) < least) {
            return Err(format!(
                "--accountable and --epoch-rounds {rounds} do not go together: headers of a round are asked for within {least} \
                 rounds, twice --header-rounds {header_rounds} and two, and only in its own epoch; give at least \
                 --epoch-rounds {least}, or fewer --header-rounds"
            ));
        }
        match self.fault {
            Some(fault) if fault.kind == FaultKind::SwapHalf => {
                let rounds = header_rounds;
                let least = fault.round + u64::from(rounds);
                if u64::from(self.rounds) < least {
                    return Err(format!(
                        "--fault swap-half@{} in an accountable group is shown within --header-rounds {rounds}; give at \
                         least --rounds {least}, or fewer --header-rounds",
                        fault.round
                    ));
                }
                Ok(())
            }
            Some(fault) if fault.kind.needs_frames() => {
                let flag = format!("--fault {}", fault.kind.name());
                leave(&flag, "what it must cause is worked out for groups that do not sign")
            }
            _ => Ok(()),
        }
    }
}
