//! The same attacks on the compact profile.

mod forgery;
mod mischief;
mod pooling;
