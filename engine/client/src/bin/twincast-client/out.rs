//! What the program says: data on standard output, everything else on standard error. Nobody may be reading either one any
//! more, which is no reason to panic.

use anyhow::Context;
use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Says a line to the person, on standard error.
macro_rules! tell {
    ($($argument:tt)*) => {
        $crate::out::say(format_args!($($argument)*))
    };
}
pub(crate) use tell;

pub(crate) fn say(text: fmt::Arguments<'_>) {
    // Where that is closed there is nobody to tell that.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes to standard output: whether anybody reads it still.
pub(crate) fn print(text: &str) -> anyhow::Result<bool> {
    print_to(&mut io::stdout().lock(), text)
}

fn print_to(out: &mut impl Write, text: &str) -> anyhow::Result<bool> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed(ErrorKind);

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_no_error_and_a_full_disk_is_one() {
        assert!(print_to(&mut Vec::new(), "text\n").unwrap());
        assert!(!print_to(&mut Closed(ErrorKind::BrokenPipe), "text\n").unwrap());
        assert!(print_to(&mut Closed(ErrorKind::StorageFull), "text\n").is_err());
    }
}
