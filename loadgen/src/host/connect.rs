//! Connections: who plays whom over which, and the sockets.

use crate::limits::{DESCRIPTORS_SPARE, EXECUTOR_MEMLOCK_BYTES};
use crate::plan::Plan;
use glommio::net::TcpStream;
use rustix::process::{Resource, getrlimit};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use twincast_protocol::ids::ServerSide;

/// Time for a server to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The first members of a group that a host plays over each of its connection pairs.
pub(super) fn users_of(plan: &Plan, host: u32) -> Vec<Vec<u32>> {
    chunks(plan, host, plan.roster(0))
}

/// The users of a host who join when an epoch ends, over each of their connection pairs.
pub(super) fn joiners(plan: &Plan, host: u32, epoch: u32) -> Vec<Vec<u32>> {
    chunks(plan, host, plan.roster(epoch).end() + 1..=*plan.roster(epoch + 1).end())
}

/// How many connection pairs of a host have members of an epoch, all groups together.
pub(super) fn pairs_of_epoch(plan: &Plan, host: u32, epoch: u32) -> usize {
    let roster = plan.roster(epoch);
    let plays = |users: &Vec<u32>| users.iter().any(|user| roster.contains(user));
    all_chunks(plan, host, epoch).filter(plays).count() * plan.groups as usize
}

/// How many connection pairs a host has at the end of a run.
pub(super) fn pairs_max(plan: &Plan, host: u32) -> usize {
    all_chunks(plan, host, plan.epochs().saturating_sub(1)).count() * plan.groups as usize
}

/// The users of each connection pair that a host has made by the time of an epoch.
fn all_chunks(plan: &Plan, host: u32, epoch: u32) -> impl Iterator<Item = Vec<u32>> {
    let changes = if plan.churn > 0 { epoch } else { 0 };
    users_of(plan, host).into_iter().chain((0..changes).flat_map(move |epoch| joiners(plan, host, epoch)))
}

fn chunks(plan: &Plan, host: u32, users: RangeInclusive<u32>) -> Vec<Vec<u32>> {
    let hosts = plan.hosts.max(1);
    let users: Vec<u32> = users.filter(|user| user % hosts == host).collect();
    users.chunks(plan.users_per_connection.max(1) as usize).map(<[u32]>::to_vec).collect()
}

/// Connects to a server. The second socket is a duplicate to ask the kernel about the connection.
pub(super) fn connect(
    server: ServerSide,
    address: SocketAddr,
) -> Result<(TcpStream, std::net::TcpStream), String> {
    let connect = || {
        let socket = std::net::TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        socket.set_nodelay(true)?;
        let duplicate = socket.try_clone()?;
        Ok((TcpStream::from(socket2::Socket::from(socket)), duplicate))
    };
    connect().map_err(|error: std::io::Error| format!("cannot connect to {server} at {address}: {error}"))
}

/// Refuses limits of this process that so many connection pairs would break.
pub(super) fn check_limits(pairs: usize) -> Result<(), String> {
    let memlock = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    if memlock < EXECUTOR_MEMLOCK_BYTES {
        return Err(format!(
            "a host may lock only {memlock} bytes of memory, and its executor needs {EXECUTOR_MEMLOCK_BYTES}: raise \
             the limit with `ulimit -l {}`",
            EXECUTOR_MEMLOCK_BYTES / 1024
        ));
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let need = pairs as u64 * 4 + DESCRIPTORS_SPARE;
    if descriptors < need {
        return Err(format!(
            "a host may open only {descriptors} files, and needs {need} for its {pairs} connection pairs: raise the \
             limit with `ulimit -n {need}`, or put more users on a connection"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_played_once() {
        let plan = Plan { group: 23, hosts: 3, users_per_connection: 3, ..Plan::default() };
        let mut all: Vec<u32> = Vec::new();
        for host in 0..3 {
            for users in users_of(&plan, host) {
                assert!(users.len() <= 3 && users.is_sorted() && users.iter().all(|user| user % 3 == host));
                all.extend(users);
            }
        }
        all.sort_unstable();
        assert_eq!(all, (0..23).collect::<Vec<u32>>());
        assert_eq!(users_of(&plan, 23), Vec::<Vec<u32>>::new());
    }

    #[test]
    fn users_come_over_pairs_of_their_own_and_pairs_without_members_do_not_play() {
        let plan = Plan {
            group: 10,
            hosts: 2,
            users_per_connection: 2,
            rounds: 11,
            warmup: 0,
            epoch_rounds: 4,
            churn: 4,
            ..Plan::default()
        };
        // Host 0: (0 2) (4 6) (8), then (10 12), then (14 16).
        assert_eq!(joiners(&plan, 0, 0), [[10, 12]]);
        assert_eq!(joiners(&plan, 0, 1), [[14, 16]]);
        assert_eq!([0, 1, 2].map(|epoch| pairs_of_epoch(&plan, 0, epoch)), [3, 3, 3]);
        assert_eq!((pairs_max(&plan, 0), plan.epochs()), (5, 3));
    }

    #[test]
    fn too_many_connections_for_the_descriptors_are_refused_with_the_remedy() {
        let sentence = check_limits(1 << 40).expect_err("nobody may open so many files");
        assert!(sentence.contains("ulimit -n"), "{sentence}");
        assert_eq!(check_limits(1), Ok(()));
    }
}
