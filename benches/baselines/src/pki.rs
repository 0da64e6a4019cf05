//! The single-server broadcast.
