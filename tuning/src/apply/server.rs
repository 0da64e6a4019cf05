//! What of a server a profile needs to know: where its fan-out threads run, and how large their slab pools are.

use super::cores::CoreSet;
use crate::TuneError;
use std::path::Path;
use twincast_node::System;
use twincast_server::config::{Config, Cores, CoresNamed, FanOut, Insecure};

/// Bytes of a huge page that slabs lie on.
pub(super) const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// A server, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// The cores of its fan-out threads, in the threads' order; or why they are not known.
    pub(super) fan_out_cores: Result<Vec<usize>, String>,
    /// Fan-out threads; none where no configuration was named.
    pub(super) fan_out_threads: Option<u64>,
    /// Huge pages that all of its slab pools take.
    pub(super) slab_pages: u64,
}

impl Server {
    /// The one of a configuration, else one with the defaults.
    pub(super) fn new(system: &System, config: Option<&Path>) -> Result<Server, TuneError> {
        let Some(path) = config else {
            let why = "no --config FILE says where fan-out threads run".to_owned();
            let fan_out = FanOut::default();
            return Ok(Server {
                fan_out_cores: Err(why),
                fan_out_threads: None,
                slab_pages: pages(&fan_out),
            });
        };
        let wrong = |error: String| TuneError::Usage(format!("--config {}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let config =
            Config::from_toml_with(&text, Insecure::ALL).map_err(|error| wrong(error.to_string()))?;
        let fan_out_cores = fan_out_cores(system, &config)
            .map_err(|why| format!("the fan-out threads of {} {why}", path.display()));
        Ok(Server {
            fan_out_cores,
            fan_out_threads: Some(config.fan_out.threads as u64),
            slab_pages: pages(&config.fan_out),
        })
    }
}

/// Each thread has a pool of its own, on pages of its own.
fn pages(fan_out: &FanOut) -> u64 {
    let pool = (fan_out.slab_bytes * fan_out.slabs) as u64;
    // A smaller pool does not ask for huge pages.
    if pool < HUGE_PAGE_BYTES { 0 } else { fan_out.threads as u64 * pool.div_ceil(HUGE_PAGE_BYTES) }
}

/// As the server itself places them; or why there are none.
fn fan_out_cores(system: &System, config: &Config) -> Result<Vec<usize>, String> {
    let threads = config.fan_out.threads;
    let not_pinned = || "are not pinned on this machine".to_owned();
    let online =
        system.read("/sys/devices/system/cpu/online").ok().and_then(|text| CoreSet::from_list(&text));
    match (&config.fan_out.cores, online) {
        (Cores::List(list), online) => {
            let cores: Vec<usize> = list.iter().copied().take(threads).collect();
            if let Some(online) = online
                && let missing = cores.iter().copied().collect::<CoreSet>().without(&online.to_vec())
                && !missing.is_empty()
            {
                return Err(format!(
                    "are to run on cores that this machine does not have: {} of fan_out.cores, and there are {}",
                    missing.list(),
                    online.list()
                ));
            }
            Ok(cores)
        }
        (Cores::Named(CoresNamed::Auto), Some(online)) => {
            let all = config.front.executors + threads + config.answer_threads();
            if all < online.to_vec().len() { Ok((0..threads).collect()) } else { Err(not_pinned()) }
        }
        (Cores::Named(_), _) => Err(not_pinned()),
    }
}
