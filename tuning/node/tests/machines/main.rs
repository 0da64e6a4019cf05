//! Checks of machines that are folders: every finding, as it should be and broken.

mod checks;
mod common;
mod interfaces;
