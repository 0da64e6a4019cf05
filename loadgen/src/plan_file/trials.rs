//! A plan file as trials read it: places may be left out, and there is one group size.

use super::{File, GROUP_DEFAULT, Problem, opened, places};
use crate::trials::{TrialPlaces, TrialsFile};
use std::path::Path;
use std::sync::Arc;

/// Reads a file for trials.
///
/// # Errors
/// A sentence with the file, the line and the key.
pub(crate) fn read(path: &Path) -> Result<TrialsFile, String> {
    let (text, folder, name) = opened(path)?;
    of(&text, folder, &name).map_err(|problem| problem.told(path, &text))
}

fn of(text: &str, folder: &Path, name: &str) -> Result<TrialsFile, Problem> {
    let file = File::read(text)?;
    let deployment = match file.tables()? {
        Some(tables) => Some(places::deployment(&file, tables, folder)?),
        None => None,
    };
    if let Some((key, _)) = file.run.iter().find(|(key, _)| key.get_ref() == "fault") {
        let what =
            "run.fault breaks one run on purpose, and trials are compared with each other: leave it out";
        return Err(Problem::at(key.span(), what));
    }
    if let Some(sweep) = file.sweep.as_ref().filter(|sweep| sweep.group.get_ref().len() != 1) {
        let what = format!(
            "sweep.group has {} sizes and trials are of one group size: give group in [run], or a plan for each size",
            sweep.group.get_ref().len()
        );
        return Err(Problem::at(sweep.group.span(), what));
    }
    let args = file.flags(name, deployment.as_ref())?.parse(&[])?;
    let plans = args.plan.plans(&[GROUP_DEFAULT])?;
    let experiment = args.keep.experiment(plans, name.to_owned())?;
    let [plan] = experiment.plans.try_into().expect("there is one group size");
    let places = match deployment {
        // Nobody gave these places addresses: they may as well have links between them.
        Some(deployment) if !deployment.is_here() => TrialPlaces::At(Arc::new(deployment)),
        named => TrialPlaces::Here(named.map(Arc::new)),
    };
    Ok(TrialsFile { plan, name: experiment.name, tune: file.tune, places })
}
