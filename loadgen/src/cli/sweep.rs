//! `twincast-loadgen sweep`: group sizes one after another.

use super::keep::KeepArgs;
use super::plan::PlanArgs;
use crate::experiment::Experiment;
use clap::Args;

/// The group sizes of the paper's first figures, and those beyond that this machine can show.
const SIZES: [u32; 5] = [100, 500, 1_000, 2_000, 5_000];

const EXAMPLES: &str = "\
Examples:
  twincast-loadgen sweep
      groups of 100, 500, 1,000, 2,000 and 5,000
  twincast-loadgen sweep --group 100,1000 --repeats 3 --link 1gbit
      three runs of each on links of 1 Gb/s; medians and their spread
  twincast-loadgen sweep --group 500,1000 --find-rate --no-roof
      and the highest round rate that loses nothing at each size";

/// The flags of `sweep`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SweepArgs {
    /// What is run.
    #[command(flatten)]
    pub plan: PlanArgs,

    /// How often, and what is kept.
    #[command(flatten)]
    pub keep: KeepArgs,
}

impl SweepArgs {
    /// A plan for each group size.
    ///
    /// # Errors
    /// A sentence: two flags do not go together, or not with one of the sizes.
    pub fn experiment(&self) -> Result<Experiment, String> {
        let plans = self.plan.plans(&SIZES)?;
        let sizes: Vec<u32> = plans.iter().map(|plan| plan.group).collect();
        let ends = sizes.iter().min().zip(sizes.iter().max());
        let name = ends.map_or_else(|| "sweep".into(), |(least, most)| format!("sweep-n{least}-{most}"));
        self.keep.experiment(plans, name)
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use crate::experiment::Experiment;
    use clap::Parser as _;

    fn sweep(line: &str) -> Result<Experiment, String> {
        let words = ["twincast-loadgen", "sweep"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Sweep(args) => args.experiment(),
            _ => unreachable!("the line says sweep"),
        }
    }

    #[test]
    fn what_follows_from_the_group_is_worked_out_for_each() {
        let experiment = sweep("--group 3,130,5000 --repeats 2").unwrap();
        let of = |of: fn(&crate::plan::Plan) -> u32| experiment.plans.iter().map(of).collect::<Vec<_>>();
        assert_eq!(of(|plan| plan.group), [3, 130, 5_000]);
        assert_eq!(of(|plan| plan.hosts), [3, 5, 5]);
        assert_eq!(of(|plan| plan.users_per_connection), [1, 26, 512]);
        assert_eq!((experiment.repeats, experiment.name.as_str()), (2, "sweep-n3-5000"));
        assert_eq!(sweep("").unwrap().plans.len(), 5);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for (line, said) in [
            ("--group 5,x", "give a whole number from 2 to 262,144"),
            ("--group 5,", "give a whole number from 2 to 262,144"),
            ("--group 5,5", "--group has 5 twice"),
            ("--group 10,4 --hosts 5", "--hosts 5 is more than the 4 members"),
            ("--fault flip@1 --group 130,140", "--fault breaks one run"),
            ("--rate 3 --find-rate", "leave out --rate"),
            ("--repeats 0", "give a whole number from 1 to 1,000"),
        ] {
            let error = sweep(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
