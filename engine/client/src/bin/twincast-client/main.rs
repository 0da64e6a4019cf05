//! `twincast-client`: a person's program.
#![forbid(unsafe_code)]

mod blame;
mod conversation;
mod evidence;
mod file;
mod init;
mod kept;
mod lines;
mod out;
mod register;
mod sockets;
mod talk;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A person's program for Twincast: a key of one's own, an account at both servers, and a conversation.
///
/// Once: `init` makes a key and writes it, with what is known of the two servers, into a client file that nobody else may
/// read; `register` gets an account for it at both servers. Then `talk` as often as you like. What you give others is the
/// verifying key that `init` prints. Exit status: 0 good, 1 something failed or a server refused, 2 wrong usage.
#[derive(Parser)]
#[command(name = "twincast-client", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Register(register::Arguments),
    Talk(talk::Arguments),
    Blame(blame::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Register(arguments) => register::run(&arguments),
        Command::Talk(arguments) => talk::run(&arguments),
        Command::Blame(arguments) => blame::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::tell!("twincast-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}
