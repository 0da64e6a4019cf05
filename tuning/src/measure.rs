//! The constants of this machine, measured in a few seconds.
//!
//! Every figure is the median of repeated passes, after one that warms up, in CPU time of the measuring thread: whoever else uses the
//! core makes it take longer and costs nothing here, but for the caches and the clock's speed.

mod clients;
mod connections;
mod kernel;
mod sending;

use crate::TuneError;
use crate::constants::{Constants, KernelRate, Origin, SCHEMA};
use crate::group::Group;
use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;

/// How long measuring takes unless the command line says otherwise, in seconds, about.
pub const SECONDS_DEFAULT: f64 = 5.0;
/// Numbers of queries that the kernel is always measured for, each with as many records.
const QUERIES: [u64; 3] = [1_000, 10_000, 100_000];
/// What is measured besides the kernel.
const OTHERS: [&str; 8] =
    ["signatures", "sealing", "hashing", "shares", "cells", "gathering", "sending", "many connections"];
/// Passes that count, at the least.
const PASSES_MIN: usize = 3;
/// Passes that count, at the most.
const PASSES_MAX: usize = 10_000;

/// Measures this machine, for these groups and some others. `tell` hears what is being measured.
///
/// # Errors
/// [`TuneError::Failed`]: there is no loopback interface to send over, or no io_uring to send with.
pub fn measure(groups: &[Group], seconds: f64, mut tell: impl FnMut(&str)) -> Result<Constants, TuneError> {
    let mut wanted: Vec<(u64, u64)> = QUERIES.map(|queries| (queries, queries)).into();
    wanted.extend(groups.iter().map(|group| (u64::from(group.members), group.queries())));
    wanted.sort_unstable_by_key(|(_, queries)| *queries);
    wanted.dedup_by_key(|(_, queries)| *queries);
    // Half of the time is the kernel's, which matters the most.
    let (of_kernel, of_others) = (seconds / 2.0 / wanted.len() as f64, seconds / 2.0 / OTHERS.len() as f64);
    let mut rates: Vec<KernelRate> = Vec::with_capacity(wanted.len());
    let mut answer_gather_ns = 0.0;
    for (records, queries) in wanted {
        tell(&format!("the answer kernel, {queries} queries"));
        let (rate, gather_ns) = kernel::measure(records, queries, of_kernel);
        // Of a group whose answers do not lie in the caches, as those of the groups that matter do not.
        answer_gather_ns = gather_ns.max(answer_gather_ns);
        rates.push(rate);
    }
    tell(OTHERS[0]);
    let (verify_us, verify_one_us, sign_us) = clients::signatures(of_others);
    tell(OTHERS[1]);
    let (seal_us, open_us) = clients::sealing(of_others);
    tell(OTHERS[2]);
    let digest_us = clients::digest(of_others);
    tell(OTHERS[3]);
    let split_us = clients::split(of_others);
    tell(OTHERS[4]);
    let decode_ns = clients::decode(of_others);
    tell(OTHERS[5]);
    let gather_gb_per_s = sending::gather(of_others);
    tell(OTHERS[6]);
    let sent = sending::loopback(of_others)
        .map_err(|error| TuneError::Failed(format!("sending over loopback (127.0.0.1): {error}")))?;
    tell(OTHERS[7]);
    let small = connections::measure(of_others).map_err(|error| {
        TuneError::Failed(format!(
            "sending to many connections with io_uring, as a server does: {error}; use constants of a machine that can, \
             with --constants FILE"
        ))
    })?;
    Ok(Constants {
        schema: SCHEMA.into(),
        origin: Origin::here(),
        kernel: rates,
        verify_us,
        verify_one_us,
        sign_us,
        seal_us,
        open_us,
        digest_us,
        answer_gather_ns,
        gather_gb_per_s,
        split_us,
        decode_ns,
        send_cpu_s_per_gb: sent.send_cpu_s_per_gb,
        receive_cpu_s_per_gb: sent.receive_cpu_s_per_gb,
        plain_send_gb_per_s: sent.gb_per_s,
        server_send_us: small.server_send_us,
        server_receive_us: small.server_receive_us,
        member_send_us: small.member_send_us,
        member_receive_us: small.member_receive_us,
    })
}

/// CPU time of this thread, in seconds.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Median CPU seconds of a pass, repeated for about so long.
fn median_s(seconds: f64, mut pass: impl FnMut()) -> f64 {
    pass();
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < PASSES_MIN || times.len() < PASSES_MAX && begin.elapsed().as_secs_f64() < seconds {
        let start = cpu_s();
        pass();
        times.push(cpu_s() - start);
    }
    times.sort_unstable_by(f64::total_cmp);
    // The clock may be too coarse to see a short pass.
    times[times.len() / 2].max(1e-9)
}
