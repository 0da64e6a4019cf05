//! Lines that are waited for with a deadline, over sockets and pipes alike.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Instant;

/// Bytes of one read.
const READ_BYTES: usize = 4096;

/// The reading end of a connection.
#[derive(Debug)]
pub(crate) struct Lines {
    from: File,
    /// Read and not yet given out.
    ahead: Vec<u8>,
}

/// Why no line came.
#[derive(Debug)]
pub(crate) enum LineError {
    /// The stream has ended.
    Closed,
    /// It did not come in time.
    Late,
    /// It is longer than anybody may say here.
    Long,
    /// It is none of those that may come here.
    Nonsense,
    /// The stream broke.
    Broken(io::Error),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::Closed => f.write_str("closed the connection"),
            LineError::Late => f.write_str("said nothing in time"),
            LineError::Long => f.write_str("said too long a line"),
            LineError::Nonsense => f.write_str("does not speak this protocol"),
            LineError::Broken(error) => write!(f, "lost the connection: {error}"),
        }
    }
}

impl Lines {
    /// Of a socket's or a pipe's reading end that blocks.
    pub(crate) fn new(from: File) -> Lines {
        Lines { from, ahead: Vec::new() }
    }

    /// The next line as what it says.
    ///
    /// # Errors
    /// None came, or it says something else.
    pub(crate) fn next<T: DeserializeOwned>(
        &mut self,
        bytes_max: usize,
        deadline: Instant,
    ) -> Result<T, LineError> {
        let line = self.line(bytes_max, deadline)?;
        serde_json::from_slice(&line).map_err(|_| LineError::Nonsense)
    }

    fn line(&mut self, bytes_max: usize, deadline: Instant) -> Result<Vec<u8>, LineError> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                if end > bytes_max {
                    return Err(LineError::Long);
                }
                return Ok(self.ahead.drain(..=end).collect());
            }
            if self.ahead.len() > bytes_max {
                return Err(LineError::Long);
            }
            self.wait(deadline)?;
            let mut bytes = [0; READ_BYTES];
            match self.from.read(&mut bytes) {
                Ok(0) => return Err(LineError::Closed),
                Ok(count) => self.ahead.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LineError::Broken(error)),
            }
        }
    }

    fn wait(&self, deadline: Instant) -> Result<(), LineError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LineError::Late);
            }
            let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.from, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Err(LineError::Late),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(LineError::Broken(error.into())),
            }
        }
    }

    /// Whether nothing more can come, for who does not read meanwhile.
    pub(crate) fn has_ended(&self) -> bool {
        let mut look = [PollFd::new(&self.from, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        matches!(poll(&mut look, Some(&at_once)), Ok(1..)) && look[0].revents().intersects(ends)
    }

    /// All that is still to come, without deadlines.
    pub(crate) fn rest(self) -> impl Read + Send + use<> {
        io::Cursor::new(self.ahead).chain(self.from)
    }
}

/// Says a line at once.
///
/// # Errors
/// The stream broke.
pub(crate) fn say(mut to: &File, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    fn pair() -> (Lines, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Lines::new(File::from(OwnedFd::from(near))), far)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn lines_come_whole_and_what_is_behind_them_stays() {
        let (mut lines, mut far) = pair();
        far.write_all(b"\"one\"\n\"two\"\nrest").unwrap();
        assert_eq!(lines.next::<String>(10, soon()).unwrap(), "one");
        assert_eq!(lines.next::<String>(10, soon()).unwrap(), "two");
        drop(far);
        let mut rest = String::new();
        lines.rest().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest");
    }

    #[test]
    fn the_end_is_seen_without_reading_of_sockets_closed_at_either_end_and_of_pipes() {
        let (lines, mut far) = pair();
        far.write_all(b"\"one\"\n").unwrap();
        assert!(!lines.has_ended(), "what is there to read is no end");
        far.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(lines.has_ended());
        let (near, _far) = UnixStream::pair().unwrap();
        let lines = Lines::new(File::from(OwnedFd::from(near.try_clone().unwrap())));
        assert!(!lines.has_ended());
        near.shutdown(std::net::Shutdown::Read).unwrap();
        assert!(lines.has_ended(), "an agent that stops ends its own half");
        let (reading, writing) = io::pipe().unwrap();
        let lines = Lines::new(File::from(OwnedFd::from(reading)));
        assert!(!lines.has_ended());
        drop(writing);
        assert!(lines.has_ended());
    }

    #[test]
    fn long_late_closed_and_senseless_lines_are_told_apart() {
        let (mut lines, mut far) = pair();
        far.write_all(&[b'x'; 100]).unwrap();
        assert!(matches!(lines.next::<String>(10, soon()), Err(LineError::Long)));
        let (mut lines, mut far) = pair();
        assert!(matches!(lines.next::<String>(10, Instant::now()), Err(LineError::Late)));
        far.write_all(b"\xff\xfe{\n").unwrap();
        assert!(matches!(lines.next::<String>(10, soon()), Err(LineError::Nonsense)));
        drop(far);
        assert!(matches!(lines.next::<String>(10, soon()), Err(LineError::Closed)));
    }
}
