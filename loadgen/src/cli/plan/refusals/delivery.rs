//! Flags that do not go with one of the two ways out.

use crate::cli::PlanArgs;
use crate::limits::{GROUP_MAX, SLOTS_MAX};
use crate::plan::{ANSWER_FRAME_BYTES, Peers, Verify};
use crate::units::thousands;

impl PlanArgs {
    /// What belongs to the other delivery.
    pub(super) fn refuse_delivery(&self) -> Result<(), String> {
        if self.answers() { self.refuse_for_answer() } else { self.refuse_for_broadcast() }
    }

    fn refuse_for_broadcast(&self) -> Result<(), String> {
        if self.answer_threads.is_some() {
            return Err(
                "--answer-threads belongs to --delivery answer; give that too, or leave it out".into()
            );
        }
        if self.group > GROUP_MAX {
            return Err(format!(
                "--group {} is more than the {} members that a group has in broadcast delivery; give fewer, or \
                 --delivery answer",
                self.group,
                thousands(GROUP_MAX.into())
            ));
        }
        Ok(())
    }

    fn refuse_for_answer(&self) -> Result<(), String> {
        let refused = |flag: &str, why: &str, remedy: &str| {
            Err(format!("--delivery answer and {flag} do not go together: {why}; {remedy}"))
        };
        let leave = |flag: &str, why: &str| refused(flag, why, &format!("leave {flag} out"));
        if self.profile.is_paper() {
            let flag = format!("--profile {}", self.profile);
            return refused(&flag, "records have no halves to share", "leave --profile out, or give compact");
        }
        match self.peers {
            Peers::Own | Peers::Random | Peers::Subset(1..) => {}
            Peers::Subset(0) => {
                return refused(
                    "--peers subset:0",
                    "every query asks for somebody",
                    "give at least subset:1",
                );
            }
            Peers::Subgroup(_) => {
                let why = "a record is read by whoever asks for it";
                return refused("--peers subgroup:P%", why, "give subset:K for K readers of each record");
            }
            Peers::Many(_) => {
                let why = "a member sends one record a round, whoever reads it";
                return refused(
                    "--peers many:K",
                    why,
                    &format!("give --slots K for K queries of each reader, up to {SLOTS_MAX}"),
                );
            }
        }
        if self.frame_bytes.is_some_and(|bytes| bytes != ANSWER_FRAME_BYTES) {
            let why = format!("the frame inside a record has {ANSWER_FRAME_BYTES} bytes");
            return leave("--frame-bytes", &why);
        }
        if self.verify != Verify::All {
            return leave("--verify", "every answer is verified");
        }
        let whys = [
            (
                "--no-confirm",
                self.no_confirm,
                "there is nothing to confirm: readers dial, and know whom they ask for",
            ),
            ("--keys", self.keys, "records are sealed with keys that the run gives its users"),
            (
                "--keys-kappa",
                self.keys_kappa.is_some(),
                "records are sealed with keys that the run gives its users",
            ),
            ("--no-link", self.no_link, "servers answer only what they have agreed on over their link"),
            ("--box", self.parts_box > 0, "there are no confirmations that wait for anybody"),
            (
                "--fault",
                self.fault.is_some(),
                "what is broken on the way, and what it must cause, are told of shares",
            ),
        ];
        match whys.into_iter().find(|(_, given, _)| *given) {
            Some((flag, _, why)) => leave(flag, why),
            None => Ok(()),
        }
    }
}
