//! What this kernel's io_uring has, by trying it.

use crate::config::EgressConfig;
use crate::error::RingError;
use crate::kernel::KernelRing;
use crate::limits::{SLAB_BYTES_MIN, SLABS_MIN};
use crate::memory::Region;
use crate::ring::Ring as _;

/// Operations that no egress goes without, which [`support`] has found where it finds a ring at all.
pub const OPERATIONS_NEEDED: [&str; 3] = ["SEND", "POLL_ADD", "ASYNC_CANCEL"];

/// What an egress finds in this kernel's io_uring beside [`OPERATIONS_NEEDED`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// What the best way to set a ring up needs and this kernel has not; none where it has all.
    pub setup_lacks: Option<&'static str>,
    /// Whether it sends without copying (`SEND_ZC`).
    pub zero_copy: bool,
    /// Why no buffers can be registered, in the kernel's words; none where two pages could.
    pub register_refused: Option<String>,
}

/// Makes a ring as an egress does, asks it for its operations, registers two pages and lets all of it go.
///
/// # Errors
///
/// As of [`KernelRing::new`]: io_uring is missing, forbidden or too old, or its queues cannot be locked.
pub fn support() -> Result<Support, RingError> {
    let config = EgressConfig {
        slab_bytes: SLAB_BYTES_MIN,
        slabs: SLABS_MIN,
        connections_max: 1,
        ..EgressConfig::default()
    };
    let memory = Region::map(config.pool_bytes())?;
    let mut ring = KernelRing::new(&config)?;
    let mut slabs = (0..config.slabs).map(|slab| memory.address(slab * config.slab_bytes, config.slab_bytes));
    let register_refused = ring.register(&mut slabs, config.slab_bytes).err().map(|error| error.to_string());
    let support =
        Support { setup_lacks: ring.setup_lacks(), zero_copy: ring.has_zero_copy(), register_refused };
    // Before the memory that is registered with it.
    drop(ring);
    drop(memory);
    Ok(support)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_ring_has_is_found_again_and_again() {
        // Each ring and its two pages are gone before the next one comes, or a small limit would be used up.
        const TIMES: usize = 100;
        let first = support().unwrap();
        for _ in 0..TIMES {
            assert_eq!(support().unwrap(), first);
        }
        // Other tests may have a few at the same time.
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let rings = files.filter(|file| {
            std::fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().contains("io_uring"))
        });
        assert!(rings.count() < TIMES);
        let ring = KernelRing::new(&EgressConfig::default()).unwrap();
        assert_eq!((first.zero_copy, first.setup_lacks), (ring.has_zero_copy(), ring.setup_lacks()));
    }
}
