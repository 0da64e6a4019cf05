//! The memory that slabs are cut from, and the limit on locking it.

use crate::error::RingError;
use std::io;
use std::ptr::NonNull;

const HUGE_PAGE_BYTES: usize = 2 << 20;

/// The memlock limit of this process, in bytes; none where there is none. It is counted per user, over all processes.
pub fn memlock_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Memlock).current
}

/// Anonymous memory of its own mapping, touched already, on huge pages where the host has them.
///
/// It is a mapping and not an allocation so that the allocator never hands the address out again while the kernel
/// may still read there.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

impl Region {
    /// Maps at least `bytes`, zeroed.
    pub(crate) fn map(bytes: usize) -> Result<Self, RingError> {
        if bytes >= HUGE_PAGE_BYTES {
            let huge = Self::map_with(bytes.next_multiple_of(HUGE_PAGE_BYTES), libc::MAP_HUGETLB);
            match huge.and_then(|region| region.touch().map(|()| region)) {
                Ok(region) => return Ok(region),
                Err(error) => {
                    tracing::debug!(%error, "no huge pages are set aside (vm.nr_hugepages): small ones")
                }
            }
        }
        let failed = |what| move |error| RingError::Kernel { what, error };
        let region = Self::map_with(bytes, 0).map_err(failed("mmap of the slabs"))?;
        region.advise_huge();
        region.touch().map_err(failed("touching the slabs"))?;
        Ok(region)
    }

    /// The bytes `offset..offset + len`, to write to.
    pub(crate) fn slice_mut(&mut self, offset: usize, len: usize) -> &mut [u8] {
        assert!(offset <= self.bytes && len <= self.bytes - offset);
        // SAFETY: the range lies in the mapping (asserted), which is readable and writable and lives as long as
        // `self` (`map_with`, `drop`). No other reference into it exists: they all borrow `self`. The kernel only
        // ever reads there, and that it does not read what is being written is the promise of `slabs`.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset).as_ptr(), len) }
    }

    /// Where the bytes `offset..offset + len` are, for the kernel to read.
    pub(crate) fn address(&self, offset: usize, len: usize) -> *const u8 {
        assert!(offset <= self.bytes && len <= self.bytes - offset);
        self.start.as_ptr().wrapping_add(offset)
    }

    fn map_with(bytes: usize, flags: libc::c_int) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory of this program.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap maps nothing at address zero");
        Ok(Self { start, bytes })
    }

    /// Asks for transparent huge pages. Where there are none it stays without.
    fn advise_huge(&self) {
        // SAFETY: the range is the whole of a mapping that `self` owns, and the advice changes no byte of it.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.bytes, libc::MADV_HUGEPAGE) };
    }

    /// Has every page there now, so that want of memory is an error here and not a signal later.
    fn touch(&self) -> io::Result<()> {
        // SAFETY: as in `advise_huge`; touching changes no byte either.
        let answer =
            unsafe { libc::madvise(self.start.as_ptr().cast(), self.bytes, libc::MADV_POPULATE_WRITE) };
        let error = io::Error::last_os_error();
        // Kernels before 5.14 do not know the advice; the pages come one by one then.
        if answer == 0 || error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the range is the whole of the mapping that `self` owns, no reference to it is left, as they borrow
        // `self`, and the kernel has no send in flight from it (`Egress`'s `Drop` leaks the pool otherwise).
        let answer = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        assert_eq!(answer, 0, "unmapping what was mapped cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_and_bounds() {
        for bytes in [4096, 5 << 20] {
            let mut region = Region::map(bytes).unwrap();
            region.slice_mut(bytes - 7, 7).fill(9);
            assert_eq!(region.slice_mut(bytes - 8, 8), [0, 9, 9, 9, 9, 9, 9, 9]);
        }
    }

    #[test]
    #[should_panic(expected = "offset <= self.bytes")]
    fn out_of_bounds_panics() {
        let mut region = Region::map(4096).unwrap();
        region.slice_mut(4096, 4096);
    }
}
