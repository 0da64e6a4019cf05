//! Both deliveries beside each other, which one to use and why, and how far the figures can be trusted.

use crate::constants::{Constants, Origin};
use crate::group::{DELIVERIES, Delivery, Group, Machine};
use crate::prediction::Prediction;
use crate::units::{thousands, time};
use serde::{Deserialize, Serialize};

/// The schema's name and version.
pub const SCHEMA: &str = "twincast-plan/1";

/// What a round of answers must be quicker by to be worth its signatures and its link between the servers.
const WORTH: f64 = 0.9;

/// A plan: schema `twincast-plan/1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// Who is planned for.
    pub group: Group,
    /// On what.
    pub machine: Machine,
    /// Payload that the link carries, bits per second; none where its rate is not known.
    pub goodput_bits_per_s: Option<f64>,
    /// Where the constants come from.
    pub origin: Origin,
    /// What of it is a prediction, and what else to mind; sentences.
    pub marks: Vec<String>,
    /// Broadcast, then answer.
    pub deliveries: Vec<Prediction>,
    /// Which to use.
    pub choice: Choice,
}

/// Which delivery to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// None: neither can be used.
    pub delivery: Option<Delivery>,
    /// Why, in a sentence.
    pub why: String,
    /// Of what can be used: a sentence where an epoch takes longer than some rounds.
    pub epochs: Vec<String>,
}

impl Plan {
    /// Plans for a group. `here`: the machine that this is worked out on.
    ///
    /// # Errors
    /// A sentence: no broadcast frame has these bytes.
    pub fn new(
        group: &Group,
        machine: &Machine,
        constants: &Constants,
        here: &Origin,
    ) -> Result<Plan, String> {
        let predicted = |delivery| Prediction::of(delivery, group, machine, constants, 1.0);
        let deliveries = DELIVERIES.into_iter().map(predicted).collect::<Result<Vec<_>, String>>()?;
        Ok(Plan {
            schema: SCHEMA.into(),
            group: *group,
            machine: *machine,
            goodput_bits_per_s: machine.goodput_bits_per_s(),
            origin: constants.origin.clone(),
            marks: marks(group, machine, constants, here),
            choice: choose(&deliveries),
            deliveries,
        })
    }
}

/// What of a plan with these constants is a prediction.
#[must_use]
pub fn marks(group: &Group, machine: &Machine, constants: &Constants, here: &Origin) -> Vec<String> {
    let Constants { origin, .. } = constants;
    let mut marks = Vec::new();
    if !origin.is_same_processor(here) {
        marks.push(format!(
            "PREDICTION for another machine: the constants are those of {}, and this one is {}",
            origin.cpu, here.cpu
        ));
    }
    if u64::from(machine.cores) > origin.cores {
        marks.push(format!(
            "PREDICTION for {} cores: measured on one core of a machine with {}, and divided by {}",
            machine.cores, origin.cores, machine.cores
        ));
    }
    for delivery in DELIVERIES {
        let most = crate::prediction::members_max(delivery);
        if group.members > most {
            marks.push(format!(
                "PREDICTION beyond what this server takes: {delivery} has {} members at the most",
                thousands(most.into())
            ));
        }
    }
    let (rate, queries) = (constants.kernel(group.queries()), group.queries());
    if rate.queries != queries {
        marks.push(format!(
            "the kernel's rate is that of {} queries, and this group has {}; --measure measures it for this group",
            thousands(rate.queries),
            thousands(queries)
        ));
    }
    if !rate.is_whole() {
        marks.push(format!(
            "the kernel was measured on part of the work: {} of {} records, {} of {} queries",
            thousands(rate.records_measured),
            thousands(rate.records),
            thousands(rate.queries_measured),
            thousands(rate.queries)
        ));
    }
    if !origin.optimised {
        marks.push(
            "the constants were measured by a program built without optimisation: use --release".into(),
        );
    }
    marks
}

/// The quicker of those that can be used.
fn choose(deliveries: &[Prediction]) -> Choice {
    let usable: Vec<&Prediction> = deliveries.iter().filter(|one| one.obstacles.is_empty()).collect();
    let told =
        |one: &Prediction| format!("a round takes {}, limited by {}", time(one.times.round_s), one.limit);
    let obstacles: Vec<&str> = deliveries.iter().flat_map(|one| &one.obstacles).map(String::as_str).collect();
    let obstacles = obstacles.join("; ");
    let epochs = usable.iter().filter_map(|one| one.epoch_warning()).collect();
    match usable.as_slice() {
        [] => Choice { delivery: None, why: format!("neither: {obstacles}"), epochs },
        [only] => {
            let why = format!("{}: {}; {obstacles}", only.delivery, told(only));
            Choice { delivery: Some(only.delivery), why, epochs }
        }
        [broadcast, answer, ..] => {
            let answers = answer.times.round_s < WORTH * broadcast.times.round_s;
            let (better, other) = if answers { (answer, broadcast) } else { (broadcast, answer) };
            let why = format!(
                "{}: {}; {} would take {}, limited by {}",
                better.delivery,
                told(better),
                other.delivery,
                time(other.times.round_s),
                other.limit
            );
            Choice { delivery: Some(better.delivery), why, epochs }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::tests::constants;

    fn machine() -> Machine {
        let link = "10gbit".parse().unwrap();
        Machine { cores: 2, memory_bytes: 64 << 30, link, mtu: 1_500, everything: false }
    }

    fn plan(members: u32, machine: Machine) -> Plan {
        let constants = constants();
        Plan::new(&Group::new(members), &machine, &constants, &constants.origin).unwrap()
    }

    #[test]
    fn small_groups_are_broadcast_to_and_large_ones_are_answered() {
        assert_eq!(plan(20, machine()).choice.delivery, Some(Delivery::Broadcast));
        let large = plan(10_000, machine()).choice;
        assert_eq!(large.delivery, Some(Delivery::Answer));
        assert!(
            large.why.contains("limited by verifying signatures; broadcast would take 28."),
            "{}",
            large.why
        );
        let larger = plan(100_000, machine()).choice;
        assert!(larger.why.contains("no link carries broadcast in a minute"), "{}", larger.why);
        assert_eq!(larger.epochs.len(), 1, "{larger:?}");
        assert!(larger.epochs[0].starts_with("an epoch's list of members takes 34."), "{larger:?}");
        let neither = plan(1_000_000, machine()).choice;
        assert_eq!(neither.delivery, None);
        assert!(neither.why.starts_with("neither: broadcast takes"), "{}", neither.why);
        assert!(neither.why.contains("answer takes "), "{}", neither.why);
    }

    #[test]
    fn what_was_not_measured_here_is_marked() {
        assert!(plan(10_000, machine()).marks.is_empty());
        let marks = plan(1_000_000, Machine { cores: 48, ..machine() }).marks.join("\n");
        for said in
            ["PREDICTION for 48 cores", "broadcast has 65,536", "answer has 262,144", "of 100,000 queries"]
        {
            assert!(marks.contains(said), "{said}: {marks}");
        }
        let constants = constants();
        let other = Origin { cpu: "Another CPU".into(), ..constants.origin.clone() };
        let marks = super::marks(&Group::new(10_000), &machine(), &constants, &other);
        assert_eq!(
            marks,
            [
                "PREDICTION for another machine: the constants are those of Some CPU, and this one is Another CPU"
            ]
        );
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let plan = plan(1_000, machine());
        let text = serde_json::to_string(&plan).unwrap();
        let read: Plan = serde_json::from_str(&text).unwrap();
        // The last digit of a time may be another; nothing else.
        assert_eq!((&read.group, &read.machine, &read.choice), (&plan.group, &plan.machine, &plan.choice));
        for (read, plan) in read.deliveries.iter().zip(&plan.deliveries) {
            assert_eq!((read.bytes, read.memory, read.limit), (plan.bytes, plan.memory, plan.limit));
            assert!((read.times.round_s / plan.times.round_s - 1.0).abs() < 1e-12);
        }
    }
}
