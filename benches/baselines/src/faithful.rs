//! The paper's own server.
