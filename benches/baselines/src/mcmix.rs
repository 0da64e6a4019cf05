//! MCMix.
