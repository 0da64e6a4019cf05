//! How an egress is set up. Everything is sized from it at the start; nothing grows afterwards.

use crate::error::RingError;
use crate::limits::*;
use std::time::Duration;

/// Whether connections send without copying (`SEND_ZC`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZeroCopy {
    /// Per connection: on for large sends, off for good once the kernel said that it copied after all, as it does on
    /// loopback and veth.
    #[default]
    Auto,
    /// For every large send that leaves slabs enough for the others, whatever the kernel reports. A connection whose
    /// socket does not do it, or for which no more memory can be locked, copies from then on (`zc_refused`, `enobufs`).
    On,
    /// Never.
    Off,
}

/// Whether the slabs are registered with the ring. It spares a zero-copy send the pinning of its pages, and costs
/// locked memory. A send that copies has no use for it (Linux 6.18 takes no registered buffer for one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Registered {
    /// Where zero-copy may be used and the pool is at most `registered_bytes_max`; one log line where it is not to be.
    #[default]
    Auto,
    /// Yes, or no start.
    On,
    /// No.
    Off,
}

/// How an egress is set up.
#[derive(Debug, Clone)]
pub struct EgressConfig {
    /// Bytes of a slab: a multiple of 4 KiB, `SLAB_BYTES_MIN..=SLAB_BYTES_MAX`; 64 KiB or more for speed. Default
    /// 256 KiB.
    pub slab_bytes: usize,
    /// The fewest bytes that a source is asked for at a time, at most a slab: for sources that write whole pieces of a
    /// known length. Default 4 KiB.
    pub fill_bytes_min: usize,
    /// Slabs of the pool, `SLABS_MIN..=SLABS_MAX`. Default 16.
    pub slabs: usize,
    /// The most connections at a time, at least 1. Default 1024.
    pub connections_max: usize,
    /// Default `Auto`.
    pub zero_copy: ZeroCopy,
    /// Bytes from which on a send is worth doing without a copy. Default 32 KiB.
    pub zero_copy_bytes_min: usize,
    /// Default `Auto`.
    pub registered: Registered,
    /// The largest pool that `Registered::Auto` registers, in bytes. None: an eighth of the memlock limit, which is
    /// 1 MiB where the limit is 8 MiB, so that a default pool stays unregistered there.
    pub registered_bytes_max: Option<usize>,
    /// How long a peer may take no byte of those that wait for it. Default 10 s.
    pub stall_timeout: Duration,
    /// The most completions handled in a turn, at least 1. Default 256.
    pub completions_per_turn_max: usize,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            slab_bytes: SLAB_BYTES_DEFAULT,
            fill_bytes_min: SLAB_BYTES_MIN,
            slabs: SLABS_DEFAULT,
            connections_max: CONNECTIONS_DEFAULT,
            zero_copy: ZeroCopy::Auto,
            zero_copy_bytes_min: ZERO_COPY_BYTES_MIN_DEFAULT,
            registered: Registered::Auto,
            registered_bytes_max: None,
            stall_timeout: Duration::from_millis(STALL_TIMEOUT_MS_DEFAULT),
            completions_per_turn_max: COMPLETIONS_PER_TURN_DEFAULT,
        }
    }
}

impl EgressConfig {
    /// Checks every bound.
    ///
    /// # Errors
    ///
    /// `RingError::Config` names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), RingError> {
        let within = |name, value, min: usize, max: usize| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            Err(RingError::Config { name, value, bounds: format!("{min}..={max}") })
        };
        within("slab_bytes", self.slab_bytes, SLAB_BYTES_MIN, SLAB_BYTES_MAX)?;
        within("fill_bytes_min", self.fill_bytes_min, 1, self.slab_bytes)?;
        within("slabs", self.slabs, SLABS_MIN, SLABS_MAX)?;
        within("connections_max", self.connections_max, 1, CONNECTIONS_MAX)?;
        within("completions_per_turn_max", self.completions_per_turn_max, 1, usize::MAX)?;
        within("stall_timeout in ms", self.stall_timeout.as_millis() as usize, 1, usize::MAX)?;
        if !self.slab_bytes.is_multiple_of(SLAB_BYTES_MIN) {
            let bounds = format!("a multiple of {SLAB_BYTES_MIN}");
            return Err(RingError::Config { name: "slab_bytes", value: self.slab_bytes, bounds });
        }
        Ok(())
    }

    /// Bytes of the pool.
    pub fn pool_bytes(&self) -> usize {
        self.slab_bytes * self.slabs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked_and_named() {
        assert!(EgressConfig::default().check().is_ok());
        for (broken, name) in [
            (EgressConfig { slab_bytes: 0, ..Default::default() }, "slab_bytes"),
            (EgressConfig { slab_bytes: 4097, ..Default::default() }, "slab_bytes"),
            (EgressConfig { fill_bytes_min: 0, ..Default::default() }, "fill_bytes_min"),
            (EgressConfig { fill_bytes_min: (256 << 10) + 1, ..Default::default() }, "fill_bytes_min"),
            (EgressConfig { slabs: 1, ..Default::default() }, "slabs"),
            (EgressConfig { connections_max: 0, ..Default::default() }, "connections_max"),
        ] {
            let error = broken.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
