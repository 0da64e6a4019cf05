//! Why a baseline could not go on.

use std::io;

/// Why a baseline could not go on. Its other ends see closed connections.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// The operator asked for a setup that cannot be; the sentence has the bounds.
    #[error("{0}")]
    Setup(String),
    /// The kernel refused, or the other end has gone.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, as the beginning of a sentence.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The other end said what does not fit: a bug, or no baseline of this version.
    #[error("the other end broke the protocol: {0}")]
    Protocol(String),
    /// The broker is not installed or does not start: the operator's doing; the sentence has the remedy.
    #[error("{0}")]
    Broker(String),
}

impl BaselineError {
    /// For `map_err`: what was being done when the kernel refused.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> BaselineError + Copy {
        move |source| BaselineError::Io { what, source }
    }
}
