//! Whether this machine's limits allow a run, asked before anything is started.

use super::RunError;
use crate::limits::{
    CONNECTIONS_SPARE, DESCRIPTORS_PER_CONNECTION, DESCRIPTORS_SPARE, EXECUTOR_MEMLOCK_BYTES,
};
use crate::plan::{Plan, RECORD_BYTES};
use crate::process::{hard_limit, memlock_is_counted, memory_available_bytes};
use crate::server_role::{Ends, config_text};
use crate::units::memory as in_words;
use rustix::process::Resource;
use rustix::thread::CpuSet;
use std::path::Path;
use twincast_server::config::{Config, ConfigError, Cores};

/// What a host keeps for a user whom it plays, about: keys, dials, names.
const USER_BYTES: u64 = 2 << 10;
/// What a host keeps for a connection beside the answers of a round, about: buffers of what it sends.
const CONNECTION_BYTES: u64 = 512 << 10;

/// Refuses a plan that this machine's limits are too low for.
///
/// # Errors
/// Wrong usage, with the limit and the remedy.
pub(crate) fn check(plan: &Plan) -> Result<(), RunError> {
    memlock(plan, hard_limit(Resource::Memlock), memlock_is_counted())
        .and_then(|()| descriptors(plan, hard_limit(Resource::Nofile)))
        .and_then(|()| cores(plan))
        .and_then(|()| servers(plan))
        .and_then(|()| memory(plan, memory_available_bytes()))
        .map_err(RunError::Usage)
}

/// Hosts and servers have one glommio executor each. Each process needs its share within its own limit; where the
/// kernel counts, it counts for all processes of a user together.
fn memlock(plan: &Plan, hard: u64, counted: bool) -> Result<(), String> {
    let executors = if counted { u64::from(plan.hosts) + 2 } else { 1 };
    let need = executors * EXECUTOR_MEMLOCK_BYTES;
    if hard >= need {
        return Ok(());
    }
    Err(format!(
        "this run locks {} KiB of memory ({} KiB for each of 2 servers and {} hosts) and the limit is {} KiB; raise \
         it with `ulimit -l {}` (as root, or in /etc/security/limits.conf), or give fewer --hosts",
        need >> 10,
        EXECUTOR_MEMLOCK_BYTES >> 10,
        plan.hosts,
        hard >> 10,
        need >> 10
    ))
}

/// A server has a connection in several descriptors: the front's, the fan-out's, and those of the hand-over.
fn descriptors(plan: &Plan, hard: u64) -> Result<(), String> {
    let need = connections_max(plan) * DESCRIPTORS_PER_CONNECTION + DESCRIPTORS_SPARE;
    if hard >= need {
        return Ok(());
    }
    Err(format!(
        "a server of this run opens {need} files ({} connections) and the limit is {hard}; raise it with `ulimit -Hn \
         {need}` as root, or give a larger --users-per-connection",
        connections(plan)
    ))
}

/// A thread that cannot be pinned runs anywhere, with a line in the log that nobody reads: figures would be of other
/// settings than they say.
fn cores(plan: &Plan) -> Result<(), String> {
    let Ok(own) = rustix::thread::sched_getaffinity(None) else { return Ok(()) };
    for (flag, cores) in [("fan-out", &plan.server.fan_out_cores), ("front", &plan.server.front_cores)] {
        let Some(Cores::List(list)) = cores else { continue };
        if let Some(missing) = list.iter().find(|core| **core >= CpuSet::MAX_CPU || !own.is_set(**core)) {
            let known: Vec<String> =
                (0..CpuSet::MAX_CPU).filter(|core| own.is_set(*core)).map(|core| core.to_string()).collect();
            return Err(format!(
                "--{flag}-cores: there is no core {missing} for this process; give some of {}",
                known.join(",")
            ));
        }
    }
    Ok(())
}

/// What a server would not take: groups that need more memory than it allows.
fn servers(plan: &Plan) -> Result<(), String> {
    // The folder is made with the run.
    let parts_box = (plan.box_mib > 0).then(|| Path::new("/"));
    let text = config_text(plan, &Ends { parts_box, ..Ends::loopback(2) });
    let refused = |error: ConfigError| {
        format!(
            "a server refuses these groups: {error}; give a smaller --group, fewer --groups or --slots, a smaller \
                 --frame-bytes, or fewer recipients and less noise with --peers many:K"
        )
    };
    Config::from_toml(&text).map(drop).map_err(refused)
}

/// Queries take n * n * K bits in each server, twice while epochs change, as a server counts them; where an epoch has
/// no end, no other one is dialled, and it takes half. What the machine does not have is refused before anything is
/// started. Broadcast is bounded by the server's own limit.
fn memory(plan: &Plan, available: Option<u64>) -> Result<(), String> {
    if !plan.answers() {
        return Ok(());
    }
    let text = config_text(plan, &Ends::loopback(2));
    let config = Config::from_toml(&text).map_err(|error| error.to_string())?;
    let users = u64::from(plan.group) * u64::from(plan.groups);
    let of_one_epoch = users * u64::from(plan.slots) * u64::from(plan.group).div_ceil(64) * 8;
    let unused = match plan.epoch_rounds {
        0 => config.query_memory_bytes().saturating_sub(of_one_epoch),
        _ => 0,
    };
    let server = config.group_memory_bytes() - unused;
    // Of each server's answers, and their sums.
    let answers = 3 * users * u64::from(plan.slots) * RECORD_BYTES;
    let hosts = answers + users * USER_BYTES + connections(plan) * CONNECTION_BYTES;
    let need = 2 * server + hosts;
    tracing::info!(
        "memory of two servers, at most: {} each; of all hosts, about: {}",
        in_words(server),
        in_words(hosts)
    );
    match available {
        Some(available) if need > available => Err(format!(
            "this run takes up to {} of memory ({} for each server, about {} for all hosts), and this machine has {} \
             available; give a smaller --group, or fewer --slots or --groups",
            in_words(need),
            in_words(server),
            in_words(hosts),
            in_words(available)
        )),
        _ => Ok(()),
    }
}

/// Connections of each server at the start.
pub(crate) fn connections(plan: &Plan) -> u64 {
    connections_by_host(plan).iter().sum()
}

/// Connections that each server is set up for: with those of users who join later.
pub(crate) fn connections_max(plan: &Plan) -> u64 {
    let changes = u64::from(plan.epochs().saturating_sub(1));
    let joining = if plan.churn > 0 { changes * u64::from(plan.churn) } else { 0 };
    connections(plan) + joining * u64::from(plan.groups) + CONNECTIONS_SPARE
}

/// Connections of each host to each server.
pub(crate) fn connections_by_host(plan: &Plan) -> Vec<u64> {
    let of_host = |host| {
        let users = plan.group / plan.hosts + u32::from(host < plan.group % plan.hosts);
        u64::from(plan.groups) * u64::from(users.div_ceil(plan.users_per_connection))
    };
    (0..plan.hosts).map(of_host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{answer_plan, plan};

    #[test]
    fn the_main_job_fits_into_six_mebibytes_of_locked_memory() {
        assert_eq!(memlock(&plan(), 6 << 20, true), Ok(()));
        let sentence = memlock(&plan(), 3 << 20, true).unwrap_err();
        assert!(sentence.contains("3584 KiB") && sentence.contains("ulimit -l 3584"), "{sentence}");
        assert_eq!(
            memlock(&plan(), 512 << 10, false),
            Ok(()),
            "whoever may lock any amount needs one share a process"
        );
    }

    #[test]
    fn cores_that_are_not_there_are_refused_before_the_start() {
        let with = |list: Vec<usize>| {
            let server =
                crate::plan::ServerSettings { fan_out_cores: Some(Cores::List(list)), ..Default::default() };
            cores(&Plan { server, ..plan() })
        };
        let own = rustix::thread::sched_getaffinity(None).unwrap();
        let some = (0..CpuSet::MAX_CPU).find(|core| own.is_set(*core)).unwrap();
        assert_eq!((with(vec![some]), cores(&plan())), (Ok(()), Ok(())));
        let sentence = with(vec![some, 1_023]).unwrap_err();
        assert!(
            sentence.contains("--fan-out-cores: there is no core 1023") && sentence.contains("give some of"),
            "{sentence}"
        );
    }

    #[test]
    fn groups_that_no_server_takes_are_refused_before_the_start() {
        assert_eq!(servers(&plan()), Ok(()));
        let sentence = servers(&Plan { group: 60_000, slots: 8, ..plan() }).unwrap_err();
        assert!(
            sentence.contains("group_memory_bytes_max") && sentence.contains("a smaller --group"),
            "{sentence}"
        );
    }

    #[test]
    fn queries_that_the_machine_has_no_room_for_are_refused_before_the_start() {
        let plan = Plan { group: 50_000, ..answer_plan() };
        // n * n bits in each of two servers at the least.
        let least = 2 * 50_000 * 50_000 / 8;
        let sentence = memory(&plan, Some(least)).unwrap_err();
        assert!(sentence.contains("available") && sentence.contains("a smaller --group"), "{sentence}");
        assert_eq!(memory(&plan, Some(100 << 30)), Ok(()));
        let large = Plan { group: 262_144, ..answer_plan() };
        let one_epoch = 2 * 262_144 * 262_144 / 8;
        assert_eq!(memory(&large, Some(3 * one_epoch / 2)), Ok(()), "no second epoch is dialled");
        let epochs = Plan { epoch_rounds: 3, announce_rounds: 2, rounds: 9, ..large };
        let sentence = memory(&epochs, Some(3 * one_epoch / 2)).unwrap_err();
        assert!(sentence.contains("available"), "{sentence}");
        assert_eq!(memory(&plan, None), Ok(()), "nobody knows");
        assert_eq!(memory(&super::tests::plan(), Some(1)), Ok(()), "broadcast has a limit of its own");
    }

    #[test]
    fn connections_and_their_descriptors_are_counted_before_the_start() {
        let mut plan = plan();
        assert_eq!(connections(&plan), 5);
        plan.users_per_connection = 1;
        assert_eq!(connections(&plan), u64::from(plan.group));
        plan.groups = 3;
        assert_eq!(connections(&plan), 3 * u64::from(plan.group));
        assert_eq!(descriptors(&plan, 20_000), Ok(()));
        let sentence = descriptors(&plan, 1_024).unwrap_err();
        assert!(
            sentence.contains("ulimit -Hn 12128") && sentence.contains("--users-per-connection"),
            "{sentence}"
        );
    }
}
