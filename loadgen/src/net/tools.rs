//! Batches of `ip` and `tc` (iproute2).

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

/// Where the tools are, where a user's own path does not say.
const MORE_PATHS: &str = "/usr/sbin:/sbin";

/// One of iproute2's tools, in this process's network namespace or in another.
pub(super) struct Tool<'a> {
    pub(super) name: &'static str,
    pub(super) namespace: Option<&'a str>,
}

impl Tool<'_> {
    /// Runs these commands in one process, up to the first that fails.
    ///
    /// # Errors
    /// There is no such tool, or a command failed: it is named, and what the tool said.
    pub(super) fn batch(&self, commands: &[String]) -> io::Result<()> {
        let output = self.start(&["-batch", "-"], commands)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        // "Command failed -:3" tells the line that it stopped at.
        let line = said.lines().find_map(|line| line.strip_prefix("Command failed -:")?.trim().parse().ok());
        let command = line.and_then(|line: usize| commands.get(line.checked_sub(1)?));
        let why = said.lines().filter(|line| !line.starts_with("Command failed")).map(str::trim);
        let why = why.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        let shown = self.words(command.map_or("-batch", String::as_str));
        Err(io::Error::other(format!("`{shown}`: {}", if why.is_empty() { "it failed" } else { &why })))
    }

    /// Runs all of these commands in one process, whichever fail.
    pub(super) fn batch_all(&self, commands: &[String]) {
        let _ = self.start(&["-force", "-batch", "-"], commands);
    }

    /// What one command prints.
    ///
    /// # Errors
    /// As [`Tool::batch`].
    pub(super) fn ask(&self, arguments: &[&str]) -> io::Result<Vec<u8>> {
        let output = self.start(arguments, &[])?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("`{}`: {}", self.words(&arguments.join(" ")), said.trim())))
    }

    fn start(&self, arguments: &[&str], commands: &[String]) -> io::Result<Output> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(self.name);
        command.env("PATH", format!("{path}:{MORE_PATHS}"));
        if let Some(namespace) = self.namespace {
            command.args(["-n", namespace]);
        }
        // A group of its own: a terminal's Ctrl-C shall not stop half of the work, nor the removal of all of it.
        command.args(arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let missing = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", self.name));
        let mut child = command.spawn().map_err(missing)?;
        let mut stdin = child.stdin.take().expect("it was asked for");
        let text = commands.iter().fold(String::new(), |text, command| text + command + "\n");
        // A tool that stops at a command that fails does not read the rest.
        let _ = stdin.write_all(text.as_bytes());
        drop(stdin);
        child.wait_with_output()
    }

    fn words(&self, command: &str) -> String {
        let namespace = self.namespace.map(|namespace| format!("-n {namespace} ")).unwrap_or_default();
        format!("{} {namespace}{command}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let tool = Tool { name: "no-such-iproute2", namespace: None };
        let error = tool.batch(&["link show".into()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("`no-such-iproute2`"), "{error}");
    }

    #[test]
    fn a_command_that_fails_is_named_with_what_the_tool_said() {
        let tool = Tool { name: "ip", namespace: None };
        let commands = ["link show lo".to_owned(), "link show no-such-link0".to_owned()];
        let error = tool.batch(&commands).unwrap_err();
        if error.kind() == io::ErrorKind::NotFound {
            eprintln!("skipped: there is no `ip` on this machine");
            return;
        }
        let text = error.to_string();
        assert!(text.starts_with("`ip link show no-such-link0`: ") && text.contains("not exist"), "{text}");
    }
}
