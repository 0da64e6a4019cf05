//! What may be tried: for each knob its default and the other values, and the plan that a candidate becomes.

use super::knobs::{Candidate, Knob, Value};
use super::tune_file::Named;
use rustix::thread::CpuSet;
use std::collections::BTreeSet;
use twincast_loadgen::limits::USERS_PER_CONNECTION_MAX;
use twincast_loadgen::plan::Plan;
use twincast_ring::{SLABS_MAX, SLABS_MIN};
use twincast_server::config::{Cores, CoresNamed, FanOut, ZeroCopy};

/// Sizes of a slab that are tried unless the plan names some.
const SLAB_BYTES: [u64; 3] = [64 << 10, 128 << 10, 256 << 10];
/// Slabs of a connection. One that copies can use one; what waits for the kernel's word after zero-copy is beside it.
const SLABS_PER_CONNECTION: [f64; 3] = [1.0, 2.0, 4.0];
/// Connections of a host.
const CONNECTIONS_PER_HOST: [u64; 3] = [1, 2, 4];
/// From where on nothing is copied.
const ZERO_COPY_BYTES_MIN: [u64; 3] = [16 << 10, 64 << 10, 128 << 10];
/// Send buffers.
const SEND_BUFFER_BYTES: [u64; 3] = [256 << 10, 1 << 20, 4 << 20];
/// The most threads that are tried unasked.
const THREADS_TRIED_MAX: u64 = 16;
/// What is tried of servers whose cores nobody here knows.
const THREADS_ELSEWHERE: u64 = 4;

/// What values follow from that nobody has named.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Cores.
    pub cores: u64,
    /// The cores on which this process may run, and servers that it starts; none: servers are elsewhere, or nobody says.
    pub core_numbers: Option<BTreeSet<usize>>,
    /// The largest send buffer that a program may ask for, in bytes; none: not known.
    pub send_buffer_bytes_max: Option<u64>,
    /// Whether servers and hosts are all on it.
    pub has_everything: bool,
}

/// A knob, and what it may be set to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Choice {
    /// Which one.
    pub knob: Knob,
    /// Its default.
    pub default: Value,
    /// What else is tried; nothing the same as the default.
    pub values: Vec<Value>,
    /// Why there are none, or what to mind; a sentence.
    pub note: Option<String>,
}

/// All that may be tried.
#[derive(Clone, Debug)]
pub struct Space {
    /// The plan of the default. Every setting that a knob changes is said in it.
    pub plan: Plan,
    /// Every knob, in the order of [`Knob::ALL`].
    pub choices: Vec<Choice>,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn here(has_everything: bool) -> Machine {
        let bytes = twincast_node::System::here().number("/proc/sys/net/core/wmem_max");
        let own = rustix::thread::sched_getaffinity(None);
        let own = own.ok().map(|own| (0..CpuSet::MAX_CPU).filter(|core| own.is_set(*core)).collect());
        Machine {
            cores: twincast_loadgen::environment::cores(),
            core_numbers: own.filter(|_| has_everything),
            send_buffer_bytes_max: bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            has_everything,
        }
    }

    /// Whether these cores are there, as far as is known. A server runs its threads anywhere if it cannot pin them, and what
    /// is measured would be of other settings than it says.
    ///
    /// # Errors
    /// A sentence: one is not.
    pub fn has(&self, cores: &Cores) -> Result<(), String> {
        let (Some(own), Cores::List(list)) = (&self.core_numbers, cores) else { return Ok(()) };
        match list.iter().find(|core| !own.contains(core)) {
            None => Ok(()),
            Some(missing) => {
                let own: Vec<String> = own.iter().map(usize::to_string).collect();
                Err(format!("there is no core {missing} here for servers; give some of {}", own.join(", ")))
            }
        }
    }
}

impl Space {
    /// Of a plan, whose own server settings come before those of a server's configuration; and of the values that the file
    /// names.
    #[must_use]
    pub fn new(plan: &Plan, fan_out: &FanOut, named: &Named, machine: &Machine) -> Space {
        let mut plan = plan.clone();
        let server = &mut plan.server;
        server.fan_out_threads.get_or_insert(fan_out.threads);
        server.fan_out_cores.get_or_insert_with(|| fan_out.cores.clone());
        server.slab_bytes.get_or_insert(fan_out.slab_bytes);
        server.slabs.get_or_insert(fan_out.slabs);
        server.zero_copy.get_or_insert(fan_out.zero_copy);
        server.zero_copy_bytes_min.get_or_insert(fan_out.zero_copy_bytes_min);
        server.send_buffer_bytes.get_or_insert(fan_out.send_buffer_bytes);
        let mut space = Space { plan, choices: Vec::new() };
        for knob in Knob::ALL {
            let (values, note) = match named.get(&knob) {
                Some(values) => (values.clone(), clipped(knob, values, machine)),
                None => space.unasked(knob, machine),
            };
            let default = space.default_of(knob);
            // What comes to the same plan is not worth a run.
            let mut kept: Vec<Value> = Vec::new();
            let mut plans = vec![space.plan.clone()];
            for value in values {
                let plan = space.plan_of(&space.turned(&[(knob, value.clone())]));
                if !plans.contains(&plan) {
                    plans.push(plan);
                    kept.push(value);
                }
            }
            space.choices.push(Choice { knob, default, values: kept, note });
        }
        space
    }

    /// The default of a knob.
    #[must_use]
    pub fn default_of(&self, knob: Knob) -> Value {
        setting(&self.plan, knob)
    }

    /// A candidate with these knobs turned, one after another. A list of cores has one for each thread, so the number of
    /// threads goes with it; where a later knob leaves another number of threads, cores are the server's choice.
    #[must_use]
    pub fn turned(&self, turns: &[(Knob, Value)]) -> Candidate {
        let mut candidate = Candidate::default();
        let mut set = |knob: Knob, value: &Value| {
            if *value == self.default_of(knob) {
                candidate.changes.remove(&knob);
            } else {
                candidate.changes.insert(knob, value.clone());
            }
            let now = |knob| candidate.changes.get(&knob).cloned().unwrap_or_else(|| self.default_of(knob));
            let (threads, cores) = (now(Knob::FanOutThreads), now(Knob::FanOutCores));
            match (threads, cores) {
                (Value::Whole(threads), Value::Cores(Cores::List(list))) if list.len() as u64 != threads => {
                    match knob {
                        Knob::FanOutThreads => Some((Knob::FanOutCores, Value::Cores(Cores::default()))),
                        _ => Some((Knob::FanOutThreads, Value::Whole(list.len() as u64))),
                    }
                }
                _ => None,
            }
        };
        for (knob, value) in turns {
            if let Some((other, follows)) = set(*knob, value) {
                set(other, &follows);
            }
        }
        candidate
    }

    /// Each knob turned alone, knob after knob.
    #[must_use]
    pub fn singles(&self) -> Vec<(Knob, Vec<Candidate>)> {
        let of = |choice: &Choice| {
            let turned = |value: &Value| self.turned(&[(choice.knob, value.clone())]);
            (choice.knob, choice.values.iter().map(turned).collect())
        };
        self.choices.iter().map(of).filter(|(_, all): &(Knob, Vec<Candidate>)| !all.is_empty()).collect()
    }

    /// The plan that a candidate becomes.
    #[must_use]
    pub fn plan_of(&self, candidate: &Candidate) -> Plan {
        let mut plan = self.plan.clone();
        for (knob, value) in &candidate.changes {
            let server = &mut plan.server;
            match (knob, value) {
                (Knob::FanOutThreads, Value::Whole(n)) => server.fan_out_threads = Some(*n as usize),
                (Knob::FanOutCores, Value::Cores(cores)) => server.fan_out_cores = Some(cores.clone()),
                (Knob::SlabBytes, Value::Whole(n)) => server.slab_bytes = Some(*n as usize),
                (Knob::ZeroCopy, Value::ZeroCopy(how)) => server.zero_copy = Some(*how),
                (Knob::ZeroCopyBytesMin, Value::Whole(n)) => server.zero_copy_bytes_min = Some(*n as usize),
                (Knob::SendBufferBytes, Value::Whole(n)) => server.send_buffer_bytes = Some(*n as usize),
                (Knob::ConnectionsPerHost, Value::Whole(n)) => connect(&mut plan, *n),
                // Below, since it hangs on threads and connections.
                (Knob::SlabsPerConnection, Value::Part(_)) => {}
                (knob, value) => unreachable!("{knob} is never {value:?}"),
            }
        }
        if let Some(Value::Part(each)) = candidate.changes.get(&Knob::SlabsPerConnection) {
            let slabs = (each * connections_of_a_thread(&plan)).ceil() as usize;
            plan.server.slabs = Some(slabs.clamp(SLABS_MIN, SLABS_MAX));
        }
        plan
    }

    /// What is tried of a knob of which the file says nothing.
    fn unasked(&self, knob: Knob, machine: &Machine) -> (Vec<Value>, Option<String>) {
        let numbers = |all: &[u64]| all.iter().copied().map(Value::Whole).collect::<Vec<_>>();
        let no_card =
            "on one machine the kernel copies what was to go out without a copy: nothing to gain".to_owned();
        match knob {
            Knob::FanOutThreads => {
                let most = match machine.has_everything {
                    true => machine.cores.min(THREADS_TRIED_MAX),
                    false => THREADS_ELSEWHERE,
                };
                let powers = (0..).map(|power| 1 << power).take_while(|threads| *threads <= most);
                (powers.map(Value::Whole).collect(), None)
            }
            Knob::FanOutCores => {
                let named = [CoresNamed::Auto, CoresNamed::None].map(|name| Value::Cores(Cores::Named(name)));
                (named.into(), None)
            }
            Knob::SlabBytes => (numbers(&SLAB_BYTES), None),
            Knob::SlabsPerConnection => (SLABS_PER_CONNECTION.map(Value::Part).into(), None),
            Knob::ConnectionsPerHost => {
                let users = u64::from(users_of_a_host(&self.plan));
                let least = users.div_ceil(u64::from(USERS_PER_CONNECTION_MAX));
                let all = CONNECTIONS_PER_HOST.map(|times| times * least).into_iter();
                (all.filter(|n| *n <= users).map(Value::Whole).collect(), None)
            }
            Knob::ZeroCopy if machine.has_everything => {
                ([ZeroCopy::Auto, ZeroCopy::Off].map(Value::ZeroCopy).into(), None)
            }
            Knob::ZeroCopy => {
                ([ZeroCopy::Auto, ZeroCopy::On, ZeroCopy::Off].map(Value::ZeroCopy).into(), None)
            }
            Knob::ZeroCopyBytesMin if machine.has_everything => (Vec::new(), Some(no_card)),
            Knob::ZeroCopyBytesMin => (numbers(&ZERO_COPY_BYTES_MIN), None),
            Knob::SendBufferBytes => {
                let most = machine.send_buffer_bytes_max.unwrap_or(u64::MAX);
                let fit: Vec<u64> = SEND_BUFFER_BYTES.into_iter().filter(|bytes| *bytes <= most).collect();
                let note = (fit.len() < SEND_BUFFER_BYTES.len()).then(|| {
                    format!("no more than net.core.wmem_max, {most}, is tried: more is clipped to that")
                });
                ([0].into_iter().chain(fit).map(Value::Whole).collect(), note)
            }
        }
    }
}

/// What to mind of named values.
fn clipped(knob: Knob, values: &[Value], machine: &Machine) -> Option<String> {
    let most = machine.send_buffer_bytes_max.filter(|_| knob == Knob::SendBufferBytes)?;
    let over = values.iter().find(|value| matches!(value, Value::Whole(bytes) if *bytes > most))?;
    Some(format!("{over} is more than net.core.wmem_max, {most}, of this machine, which clips it"))
}

/// What a plan sets a knob to.
#[must_use]
pub fn setting(plan: &Plan, knob: Knob) -> Value {
    let server = &plan.server;
    let number = |number: Option<usize>| Value::Whole(number.unwrap_or(0) as u64);
    match knob {
        Knob::FanOutThreads => number(server.fan_out_threads),
        Knob::FanOutCores => Value::Cores(server.fan_out_cores.clone().unwrap_or_default()),
        Knob::SlabBytes => number(server.slab_bytes),
        Knob::SlabsPerConnection => {
            Value::Part(server.slabs.unwrap_or(0) as f64 / connections_of_a_thread(plan))
        }
        Knob::ConnectionsPerHost => {
            Value::Whole(u64::from(users_of_a_host(plan).div_ceil(plan.users_per_connection)))
        }
        Knob::ZeroCopy => Value::ZeroCopy(server.zero_copy.unwrap_or_default()),
        Knob::ZeroCopyBytesMin => number(server.zero_copy_bytes_min),
        Knob::SendBufferBytes => number(server.send_buffer_bytes),
    }
}

/// Of the host with the most, of one group.
#[must_use]
pub fn users_of_a_host(plan: &Plan) -> u32 {
    plan.group.div_ceil(plan.hosts)
}

/// To one server, of the thread with the most, as a number to divide by.
fn connections_of_a_thread(plan: &Plan) -> f64 {
    let of_a_host = users_of_a_host(plan).div_ceil(plan.users_per_connection);
    let all = u64::from(of_a_host) * u64::from(plan.hosts) * u64::from(plan.groups);
    all.div_ceil(plan.server.fan_out_threads.unwrap_or(1) as u64) as f64
}

/// Gives every host so many connections to each server and group, and room in its buffers as the load generator has it.
fn connect(plan: &mut Plan, connections: u64) {
    let users = users_of_a_host(plan);
    let connections = u32::try_from(connections).unwrap_or(u32::MAX).clamp(1, users);
    plan.users_per_connection = users.div_ceil(connections);
    plan.host_skew_bytes = plan.host_skew_bytes_at_most();
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Everything on one machine of so many cores.
    pub(in crate::sweep) fn space(cores: u64) -> Space {
        let machine = Machine {
            cores,
            core_numbers: Some((0..cores as usize).collect()),
            send_buffer_bytes_max: Some(1 << 20),
            has_everything: true,
        };
        Space::new(&Plan::default(), &FanOut::default(), &BTreeMap::new(), &machine)
    }

    fn values(space: &Space, knob: Knob) -> Vec<String> {
        let choice = space.choices.iter().find(|choice| choice.knob == knob).unwrap();
        choice.values.iter().map(Value::to_string).collect()
    }

    #[test]
    fn values_follow_from_the_machine() {
        let here = space(8);
        assert_eq!(values(&here, Knob::FanOutThreads), ["2", "4", "8"]);
        assert_eq!(values(&here, Knob::FanOutCores), ["none"]);
        assert_eq!(values(&here, Knob::SlabBytes), ["65536", "131072"]);
        assert_eq!(values(&here, Knob::ZeroCopy), ["off"], "nothing is gained by `on` here");
        assert!(values(&here, Knob::ZeroCopyBytesMin).is_empty());
        assert_eq!(values(&here, Knob::SendBufferBytes), ["262144", "1048576"], "4 MiB would be clipped");
        // 200 users of a host on one connection: 5 connections, and 16 slabs for them.
        assert_eq!(here.default_of(Knob::SlabsPerConnection).to_string(), "3.2");
        assert_eq!(values(&here, Knob::ConnectionsPerHost), ["2", "4"]);
        let machine =
            Machine { cores: 2, core_numbers: None, send_buffer_bytes_max: None, has_everything: false };
        let far = Space::new(&Plan::default(), &FanOut::default(), &BTreeMap::new(), &machine);
        assert_eq!(values(&far, Knob::FanOutThreads), ["2", "4"], "whatever cores there are here");
        assert_eq!(values(&far, Knob::ZeroCopy), ["on", "off"]);
        assert_eq!(values(&far, Knob::ZeroCopyBytesMin), ["16384", "65536", "131072"]);
    }

    #[test]
    fn cores_are_there_where_servers_are_here() {
        let machine = |core_numbers| Machine {
            cores: 2,
            core_numbers,
            send_buffer_bytes_max: None,
            has_everything: true,
        };
        let here = machine(Some(BTreeSet::from([0, 3])));
        assert_eq!(here.has(&Cores::List(vec![3, 0])), Ok(()));
        assert_eq!(here.has(&Cores::Named(CoresNamed::Auto)), Ok(()));
        let said = here.has(&Cores::List(vec![0, 2])).unwrap_err();
        assert!(said.contains("no core 2 ") && said.ends_with("give some of 0, 3"), "{said}");
        assert_eq!(
            machine(None).has(&Cores::List(vec![99])),
            Ok(()),
            "nobody knows those of servers elsewhere"
        );
        let own = Machine::here(true);
        assert_eq!(own.core_numbers.as_ref().map(|all| all.len() as u64 >= own.cores), Some(true), "{own:?}");
        assert_eq!(Machine::here(false).core_numbers, None);
    }

    #[test]
    fn slabs_follow_threads_and_connections() {
        let space = space(8);
        let slabs = |turns: &[(Knob, Value)]| space.plan_of(&space.turned(turns)).server.slabs.unwrap();
        let each = (Knob::SlabsPerConnection, Value::Part(2.0));
        assert_eq!(slabs(std::slice::from_ref(&each)), 10);
        let connections = (Knob::ConnectionsPerHost, Value::Whole(4));
        assert_eq!(slabs(&[each.clone(), connections.clone()]), 40);
        let threads = (Knob::FanOutThreads, Value::Whole(8));
        assert_eq!(slabs(&[each.clone(), connections.clone(), threads]), 6, "20 on 8 threads: 3 at the most");
        assert_eq!(slabs(&[connections]), 16, "as the default has it, unless somebody asks");
        assert_eq!(slabs(&[(Knob::SlabsPerConnection, Value::Part(0.1))]), SLABS_MIN);
        assert_eq!(slabs(&[(Knob::SlabsPerConnection, Value::Part(1e6))]), SLABS_MAX);
    }

    #[test]
    fn connections_become_users_of_one_and_buffers_that_hold_them() {
        let space = space(2);
        let plan = space.plan_of(&space.turned(&[(Knob::ConnectionsPerHost, Value::Whole(4))]));
        assert_eq!((plan.users_per_connection, plan.host_skew_bytes), (50, (96 << 20) / 8));
        assert_eq!(setting(&plan, Knob::ConnectionsPerHost), Value::Whole(4));
    }

    #[test]
    fn a_list_of_cores_brings_its_threads_and_other_threads_drop_the_list() {
        let space = space(4);
        let list = (Knob::FanOutCores, Value::Cores(Cores::List(vec![2, 3])));
        let candidate = space.turned(std::slice::from_ref(&list));
        assert_eq!(candidate.to_string(), "fan_out_threads 2, fan_out_cores [2, 3]");
        let candidate = space.turned(&[list.clone(), (Knob::FanOutThreads, Value::Whole(4))]);
        assert_eq!(candidate.to_string(), "fan_out_threads 4");
        let candidate = space.turned(&[(Knob::FanOutThreads, Value::Whole(4)), list]);
        assert_eq!(candidate.to_string(), "fan_out_threads 2, fan_out_cores [2, 3]");
    }
}
