//! Why a run did not come to a report.

use std::io;
use std::time::Duration;

/// Why a run did not come to a report. Whatever it is, every child was stopped before it is told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The user asked for something that cannot be, or this machine's limits are too low; the sentence has the remedy.
    #[error("{0}")]
    Usage(String),
    /// Ctrl-C, SIGTERM, or the terminal's end.
    #[error("interrupted")]
    Interrupted,
    /// A child could not be started: the kernel's doing, or the binary was replaced while it ran.
    #[error("{name} could not be started: {source}")]
    Start {
        /// Which child.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A child died, or said that it cannot go on; its last log lines follow.
    #[error("{name} {what}{}", log_lines(log))]
    Child {
        /// Which child.
        name: String,
        /// What it did, as the rest of a sentence.
        what: String,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// A child on another machine could not be started: nobody is there, or it is not let in, or it is not the same
    /// build.
    #[error("{name} {what}")]
    Far {
        /// Which child, and where.
        name: String,
        /// What is wrong, as the rest of a sentence.
        what: String,
    },
    /// A child said nothing for longer than the phase allows.
    #[error("{name} said nothing for {} s while {phase}", silence.as_secs())]
    Silent {
        /// Which child.
        name: String,
        /// What it was to do.
        phase: &'static str,
        /// How long was waited.
        silence: Duration,
    },
    /// From a child that says every second that it lives nothing came: it was stopped, or its machine was.
    #[error("{name} has said nothing at all for {} s while {phase}: its process or its machine stands still", silence.as_secs())]
    Standstill {
        /// Which child, and where.
        name: String,
        /// What went on.
        phase: &'static str,
        /// How long it has been silent.
        silence: Duration,
    },
    /// The links that were laid cannot be looked at any more: somebody removed them, or a tool of theirs.
    #[error("{0}")]
    Links(String),
    /// Children's reports that do not fit together: a bug.
    #[error("the run's reports do not fit together: {0}")]
    News(String),
    /// The report could not be written.
    #[error("the report could not be written: {0}")]
    Report(io::Error),
}

fn log_lines(log: &[String]) -> String {
    let Some(last) = log.last() else { return String::new() };
    let lines = log.iter().map(|line| format!("\n  | {line}")).collect::<String>();
    if last.is_empty() { String::new() } else { format!("; the last lines of its log:{lines}") }
}
