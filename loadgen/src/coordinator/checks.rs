//! Has every machine of a run checked before its rounds, all of them at once.

use super::place::{Deployment, Site};
use super::progress::Progress;
use super::role::Role;
use super::team::Team;
use super::{RunError, far, ssh};
use crate::check::{CheckOrder, MachineCheck};
use crate::limits::SIGNAL_LOOK;
use crate::net::Medium;
use crate::plan::Plan;
use std::sync::mpsc::{RecvTimeoutError, channel};
use twincast_node::Report;

/// What is said of the one machine that everything is on.
const HERE: &str = "this machine";

/// The checks of whoever makes several runs: those of the last run serve the next one if it asks for the same.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    made: Option<(Vec<CheckOrder>, Vec<MachineCheck>)>,
}

impl Checks {
    /// Of all machines of a run. One that cannot be checked is told as that, and does not keep the run from being made: if
    /// nobody is there, its start says so.
    ///
    /// # Errors
    /// A signal came.
    pub(crate) fn of(
        &mut self,
        team: &Team,
        deployment: &Deployment,
        plan: &Plan,
        progress: &mut Progress,
    ) -> Result<Vec<MachineCheck>, RunError> {
        let orders = CheckOrder::all(deployment, plan);
        match &self.made {
            Some((asked, made)) if *asked == orders => Ok(made.clone()),
            _ => {
                progress.spin("checking the machines");
                let made = check_all(team, deployment, &orders)?;
                self.made = Some((orders, made.clone()));
                Ok(made)
            }
        }
    }
}

fn check_all(
    team: &Team,
    deployment: &Deployment,
    orders: &[CheckOrder],
) -> Result<Vec<MachineCheck>, RunError> {
    let whole = |order: &CheckOrder| vec![(HERE.to_owned(), Site::Here, Role::Host, order.clone())];
    let places = || {
        let roles = [Role::Server; 2].into_iter().chain(std::iter::repeat(Role::Host));
        let places = deployment.servers.iter().chain(&deployment.hosts).zip(roles);
        places
            .zip(orders)
            .map(|((place, role), order)| (place.name.clone(), place.site.clone(), role, order.clone()))
    };
    let asked = match (&deployment.medium, orders) {
        (Medium::Machines, _) => places().collect(),
        (_, orders) => orders.iter().flat_map(whole).collect::<Vec<_>>(),
    };
    let (tell, told) = channel();
    let run = team.run_number();
    let mut made: Vec<Option<MachineCheck>> = asked.iter().map(|_| None).collect();
    for (index, (name, site, role, order)) in asked.into_iter().enumerate() {
        let tell = tell.clone();
        let thread = std::thread::Builder::new().name(format!("checking {name}"));
        let of_thread = name.clone();
        let spawned = thread.spawn(move || {
            let found = check(&site, role, run, &order);
            let _ = tell.send((index, MachineCheck::of(of_thread, found)));
        });
        spawned.map_err(|source| RunError::Start { name: format!("the check of {name}"), source })?;
    }
    drop(tell);
    while made.iter().any(Option::is_none) {
        match told.recv_timeout(SIGNAL_LOOK) {
            Ok((index, check)) => made[index] = Some(check),
            Err(RecvTimeoutError::Timeout) if team.is_interrupted() => return Err(RunError::Interrupted),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("a thread that checks a machine panicked"),
        }
    }
    Ok(made.into_iter().flatten().collect())
}

/// Where the machine is.
fn check(site: &Site, role: Role, run: u64, order: &CheckOrder) -> Result<Report, String> {
    match site {
        Site::Here | Site::Namespace(_) => order.check(),
        Site::Agent(agent) => far::check_at_agent(agent, role, run, order),
        Site::Ssh(machine) => ssh::check(machine, role, run, order),
    }
}
