//! `twincast-tune apply`: on machines made of files and fake programs, and on a real kernel in a network namespace.

mod fixture;
mod known;
mod machine;
mod output;
mod profiles;
mod real;
mod stack;
