//! Has every machine of a run checked before its rounds, all of them at once.

use super::place::{Deployment, Site};
use super::progress::Progress;
use super::role::Role;
use super::team::Team;
use super::{RunError, far, ssh};
use crate::check::{CheckOrder, MachineCheck};
use crate::limits::{
    CHECK_TIME, CHECK_TIMEOUT, CHECKS_KEPT, CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, SIGNAL_LOOK,
};
use crate::net::Medium;
use crate::plan::Plan;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use twincast_node::{Report, System};

/// What is said of the one machine that everything is on.
const HERE: &str = "this machine";
/// Time for all machines, which are looked at at once: whatever an agent does, and whatever this machine's kernel does.
const ALL_TIME: Duration = CONNECT_TIMEOUT
    .saturating_add(HANDSHAKE_TIMEOUT)
    .saturating_add(CHECK_TIMEOUT)
    .saturating_add(HANDSHAKE_TIMEOUT);

/// The checks of whoever makes several runs: those of one run serve the next ones for a while, if these ask for the same
/// and every machine could be checked.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    at: Instant,
    asked: Vec<CheckOrder>,
    checks: Vec<MachineCheck>,
}

impl Made {
    fn serves(&self, orders: &[CheckOrder], now: Instant) -> bool {
        self.asked == orders
            && now.duration_since(self.at) < CHECKS_KEPT
            && self.checks.iter().all(|check| check.report.is_some())
    }
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
        let now = Instant::now();
        if let Some(made) = self.made.as_ref().filter(|made| made.serves(&orders, now)) {
            return Ok(made.checks.clone());
        }
        progress.spin("checking the machines");
        let checks = check_all(team, looks(deployment, &orders))?;
        self.made = Some(Made { at: now, asked: orders, checks: checks.clone() });
        Ok(checks)
    }
}

/// A look at one machine.
struct Look {
    name: String,
    site: Site,
    role: Role,
    order: CheckOrder,
}

/// Who looks, and from where: each order has its place.
fn looks(deployment: &Deployment, orders: &[CheckOrder]) -> Vec<Look> {
    let roles = [Role::Server; 2].into_iter().chain(std::iter::repeat(Role::Host));
    let all = deployment.servers.iter().chain(&deployment.hosts).zip(roles);
    let look = |name: String, site: &Site, role, order: &CheckOrder| {
        let (site, order) = (site.clone(), order.clone());
        Look { name, site, role, order }
    };
    let places: Vec<(String, &Site, Role)> = match deployment.medium {
        Medium::Loopback(_) => vec![(HERE.into(), &Site::Here, Role::Host)],
        Medium::Namespaces(_) => {
            let [server, host] = [deployment.servers.first(), deployment.hosts.first()];
            let of = |place: &'_ super::place::Place| format!("{} on {HERE}", place.name);
            server.into_iter().chain(host).map(|place| (of(place), &place.site, Role::Host)).collect()
        }
        Medium::Machines => all.map(|(place, role)| (place.name.clone(), &place.site, role)).collect(),
    };
    let looks = places.into_iter().zip(orders);
    looks.map(|((name, site, role), order)| look(name, site, role, order)).collect()
}

/// All at once.
fn check_all(team: &Team, looks: Vec<Look>) -> Result<Vec<MachineCheck>, RunError> {
    let (tell, told) = channel();
    let run = team.run_number();
    let deadline = Instant::now() + ALL_TIME;
    let here = Here(System::here().until(Instant::now() + CHECK_TIME));
    let names: Vec<String> = looks.iter().map(|look| look.name.clone()).collect();
    let mut made: Vec<Option<MachineCheck>> = looks.iter().map(|_| None).collect();
    for (index, look) in looks.into_iter().enumerate() {
        let (tell, system) = (tell.clone(), here.0.clone());
        let name = format!("the check of {}", look.name);
        let thread = std::thread::Builder::new().name(format!("checking {}", look.name));
        let check = move || {
            let found = look.check(&system, run);
            let _ = tell.send((index, MachineCheck::of(look.name, found)));
        };
        thread.spawn(check).map_err(|source| RunError::Start { name, source })?;
    }
    drop(tell);
    while made.iter().any(Option::is_none) {
        match told.recv_timeout(SIGNAL_LOOK) {
            Ok((index, check)) => made[index] = Some(check),
            Err(RecvTimeoutError::Timeout) if team.is_interrupted() => return Err(RunError::Interrupted),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => break,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("a thread that checks a machine panicked"),
        }
    }
    let late = |name: String| {
        MachineCheck::of(name, Err(format!("it did not come to an end in {} s", ALL_TIME.as_secs())))
    };
    Ok(made.into_iter().zip(names).map(|(made, name)| made.unwrap_or_else(|| late(name))).collect())
}

/// This machine, whose programs end with the looking, however that ends.
struct Here(System);

impl Drop for Here {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Look {
    /// Where the machine is. The calling thread is the look's own: it goes into the namespace, and does not come back.
    fn check(&self, system: &System, run: u64) -> Result<Report, String> {
        match &self.site {
            Site::Here => self.order.check(system),
            Site::Namespace(name) => {
                let entered = crate::net::enter(name);
                entered
                    .map_err(|error| format!("its network namespace {name} cannot be entered: {error}"))?;
                self.order.check(system)
            }
            Site::Agent(agent) => far::check_at_agent(agent, self.role, run, &self.order),
            Site::Ssh(machine) => ssh::check(machine, self.role, run, &self.order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::place::Place;
    use crate::plan::tests::plan;

    #[test]
    fn what_was_found_serves_for_a_while_and_what_could_not_be_looked_at_is_looked_at_again() {
        let deployment = Deployment::loopback(2);
        let orders = CheckOrder::all(&deployment, &plan());
        let good = crate::check::tests::machine(HERE, &[]);
        let bad = MachineCheck::of(HERE.into(), Err("nobody is there".into()));
        let at = Instant::now();
        let made = |checks: &[&MachineCheck]| {
            let checks = checks.iter().copied().cloned().collect();
            Made { at, asked: orders.clone(), checks }
        };
        assert!(made(&[&good]).serves(&orders, at));
        assert!(!made(&[&good]).serves(&orders, at + CHECKS_KEPT), "somebody may have mended it");
        assert!(!made(&[&good, &bad]).serves(&orders, at), "one was late");
        let other = CheckOrder::all(&deployment, &Plan { hosts: 9, ..plan() });
        assert!(!made(&[&good]).serves(&other, at), "asked for something else");
    }

    #[test]
    fn in_namespaces_a_server_and_a_host_are_looked_at_and_not_the_machines_own_network() {
        let place = |name: &str| {
            Place::new(name.into(), [10, 0, 0, 1].into(), Site::Namespace(format!("no-such-{name}")))
        };
        let deployment = Deployment {
            servers: [place("server 1"), place("server 2")],
            hosts: vec![place("host 0"), place("host 1")],
            words: String::new(),
            medium: Medium::Namespaces(None),
            links: None,
        };
        let looks = looks(&deployment, &CheckOrder::all(&deployment, &plan()));
        let names: Vec<&str> = looks.iter().map(|look| look.name.as_str()).collect();
        assert_eq!(names, ["server 1 on this machine", "host 0 on this machine"]);
        for look in looks {
            let said = look.check(&System::here(), 1).unwrap_err();
            assert!(said.contains("namespace no-such-") && said.contains("cannot be entered"), "{said}");
        }
    }
}
