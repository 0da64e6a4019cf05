//! Records the commit that the binary is built from.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn main() {
    let commit = git(&["rev-parse", "HEAD"]).map(|commit| {
        let changes = git(&["status", "--porcelain", "--untracked-files=no"]);
        if changes.is_some_and(|changes| changes.is_empty()) { commit } else { commit + "-dirty" }
    });
    println!("cargo::rustc-env=TWINCAST_COMMIT={}", commit.unwrap_or_else(|| "unknown".into()));
    // Whatever the binary is made of, and every commit.
    for path in ["src", "Cargo.toml", "../engine", "../Cargo.lock", "../.git/logs/HEAD"] {
        if std::path::Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}
