//! Connections: who plays whom over which, and the sockets.

use crate::limits::{DESCRIPTORS_SPARE, EXECUTOR_MEMLOCK_BYTES};
use crate::plan::Plan;
use glommio::net::TcpStream;
use rustix::process::{Resource, getrlimit};
use std::net::SocketAddr;
use std::time::Duration;
use twincast_protocol::ids::ServerSide;

/// Time for a server to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The members of a group that a host plays over each of its connection pairs.
pub(super) fn users_of(plan: &Plan, host: u32) -> Vec<Vec<u32>> {
    let users: Vec<u32> = (host..plan.group).step_by(plan.hosts.max(1) as usize).collect();
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
    use crate::plan::{Peers, Verify};

    #[test]
    fn every_user_is_played_once() {
        let plan = Plan {
            group: 23,
            groups: 1,
            hosts: 3,
            rounds: 1,
            warmup: 0,
            slots: 1,
            frame_bytes: 288,
            message_bytes: 256,
            peers: Peers::Own,
            confirm: true,
            users_per_connection: 3,
            ahead: 0,
            verify: Verify::All,
            seed: 1,
            host_skew_bytes: 1 << 20,
        };
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
    fn too_many_connections_for_the_descriptors_are_refused_with_the_remedy() {
        let sentence = check_limits(1 << 40).expect_err("nobody may open so many files");
        assert!(sentence.contains("ulimit -n"), "{sentence}");
        assert_eq!(check_limits(1), Ok(()));
    }
}
