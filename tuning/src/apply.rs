//! `twincast-tune apply`: applies a profile to a machine, and undoes that.
//!
//! Everything is read and checked before anything is changed; every change is printed before the first one is made; what
//! undoes them is on the disk before that, too. Then each is made and read back, and one that fails, or a signal, puts all
//! of them back. What there is to set is a `setting`: profiles and undo files name settings, and never paths or commands.
//!
//! | module | what |
//! |---|---|
//! | `profile` | a profile's TOML |
//! | `keys` | what may be set at all |
//! | `setting`, `ethtool`, `limits` | one setting: read, written, checked |
//! | `interface`, `cores`, `server` | what of the machine and of the server a profile's words mean |
//! | `plan` | what changes here |
//! | `change` | making it, or none of it |
//! | `undo` | and back |

mod change;
mod cores;
mod ethtool;
mod interface;
mod keys;
mod limits;
mod plan;
mod profile;
mod server;
mod setting;
mod undo;
mod words;

pub use profile::PROFILES;

use crate::TuneError;
use change::Change;
use clap::Args;
use profile::Profile;
use server::Server;
use setting::Way;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use twincast_node::System;
use undo::{Place, UndoFile};
use words::{Page, VERBATIM, count, harmless, quoted, some};

const EXAMPLES: &str = "\
Examples:
  twincast-tune apply --list
  twincast-tune apply --profile 10g --interface eth1 --config server.toml --dry-run
  sudo twincast-tune apply --profile 10g --interface eth1 --config server.toml --undo before-10g.json
  sudo twincast-tune apply --undo before-10g.json
  twincast-tune apply --show 10g > mine.toml   (change it, then --profile mine.toml)

Every change is printed before it is made. One that fails, or Ctrl-C, puts all of them back. A restart of the machine takes \
everything back but /etc/security/limits.d/60-twincast.conf.";

/// `apply`.
#[derive(Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub struct ApplyArgs {
    /// The profile to apply: a name of --list, or a file (with a slash in its name, or ending in .toml).
    #[arg(long, value_name = "NAME|FILE", required_unless_present_any = ["undo", "list", "show"])]
    profile: Option<String>,
    /// The interface that carries shares; may be given several times. Without it no interface is touched.
    #[arg(long, value_name = "IF", requires = "profile")]
    interface: Vec<String>,
    /// The configuration of the server that runs here: where its fan-out threads run, how large their slabs are.
    #[arg(long, value_name = "FILE", requires = "profile")]
    config: Option<PathBuf>,
    /// Prints what would be changed and changes nothing. Needs no privilege.
    #[arg(long)]
    dry_run: bool,
    /// With --profile: the file to write what undoes it into [default: /var/lib/twincast/undo-TIME.json]. Alone: the file to
    /// undo.
    #[arg(long, value_name = "FILE")]
    undo: Option<PathBuf>,
    /// With --undo alone: puts back also what somebody has changed since, and also after the machine was given another name.
    #[arg(long, requires = "undo", conflicts_with = "profile")]
    force: bool,
    /// Names the profiles that come with the program.
    #[arg(long, conflicts_with_all = ["profile", "undo", "show", "dry_run"])]
    list: bool,
    /// Prints one of them, to be copied and changed.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["profile", "undo", "dry_run"])]
    show: Option<String>,
}

impl ApplyArgs {
    /// Does what the command line says, on this machine. SIGINT, SIGTERM and SIGHUP put everything back.
    ///
    /// # Errors
    /// A sentence; nothing was changed, or what was changed is as it was before, or the sentence says what is not.
    pub fn run(&self) -> Result<(), TuneError> {
        let came = Arc::new(AtomicBool::new(false));
        if !self.dry_run {
            for signal in [SIGINT, SIGTERM, SIGHUP] {
                signal_hook::flag::register(signal, Arc::clone(&came))
                    .map_err(|error| TuneError::Failed(format!("signals cannot be waited for: {error}")))?;
            }
        }
        let stop = || came.load(Ordering::Relaxed);
        self.run_on(&System::here(), &mut std::io::stdout().lock(), words::width(), &stop)
    }

    /// The same on any machine, telling `out` in lines of `width` columns, for as long as `stop` is false.
    ///
    /// # Errors
    /// As [`ApplyArgs::run`].
    pub fn run_on(
        &self,
        system: &System,
        out: &mut dyn Write,
        width: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), TuneError> {
        // Sentences quote files, and those may hold anything.
        self.run_in(system, &mut Page { out, width }, stop).map_err(|error| match error {
            TuneError::Usage(why) => TuneError::Usage(harmless(&why)),
            TuneError::Failed(why) => TuneError::Failed(harmless(&why)),
            TuneError::Interrupted(why) => TuneError::Interrupted(harmless(&why)),
        })
    }

    fn run_in(&self, system: &System, page: &mut Page, stop: &dyn Fn() -> bool) -> Result<(), TuneError> {
        if self.list {
            return page.tell(&PROFILES.map(|(name, text)| format!("{name:<16} {}", first_comment(text))));
        }
        if let Some(name) = &self.show {
            return page.print(profile::text(name)?.trim_end());
        }
        match (&self.profile, &self.undo) {
            (Some(profile), _) => self.apply(system, profile, page, stop),
            (None, Some(undo)) => self.undo(system, undo, page, stop),
            (None, None) => Err(TuneError::Usage("name a profile (--profile NAME), or --list".into())),
        }
    }

    fn apply(
        &self,
        system: &System,
        name: &str,
        page: &mut Page,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), TuneError> {
        let profile = Profile::load(name)?;
        let server = Server::new(system, self.config.as_deref())?;
        let mut interfaces = self.interface.clone();
        interfaces.sort();
        interfaces.dedup();
        interfaces.iter().try_for_each(|name| interface::check(system, name))?;
        let place = Place::new(system, self.undo.as_deref())?;
        let plan = plan::plan(system, &profile, &interfaces, &server);
        let mut told = vec![format!("profile {name} on {}: {}", system.hostname(), profile.about)];
        told.push(match (plan.changes.len(), self.dry_run) {
            (0, _) => "changes: none".into(),
            (number, true) => format!("would change {}:", count(number, "setting")),
            (number, false) => format!("changes {}:", count(number, "setting")),
        });
        told.extend(change::lines(&plan.changes.iter().collect::<Vec<_>>(), Way::There));
        if plan.same > 0 {
            told.push(format!("as it is already: {}", count(plan.same, "setting")));
        }
        told.extend(plan.absent.iter().map(|what| format!("not on this machine: {what}")));
        told.extend(plan.left_out.iter().map(|what| format!("left out: {what}")));
        told.extend(plan.notes.iter().map(|what| format!("note: {what}")));
        let mut refusals = plan.refusals.clone();
        refusals.extend(plan.refused());
        refusals.extend(plan.programs.iter().map(|program| needed(program)));
        refusals.extend(undo::nameless(system));
        refusals.extend(self.forbidden(system, &plan.changes));
        if self.dry_run {
            told.extend(plan.troubles.iter().map(|what| format!("cannot be read: {what}")));
            told.extend(refusals.iter().map(|what| format!("would be refused: {what}")));
            told.push("nothing was changed (--dry-run)".into());
            return page.tell(&told);
        }
        page.tell(&told)?;
        let obstacles = [plan.troubles.as_slice(), &refusals].concat();
        if !obstacles.is_empty() {
            return Err(TuneError::Failed(format!("{}; nothing was changed", obstacles.join("; "))));
        }
        if plan.changes.is_empty() {
            return page.tell(&["nothing is to be changed, and no undo file was written".into()]);
        }
        place.write(system, name, &plan.changes)?;
        match change::make(system, &plan.changes, stop) {
            Ok(absent) => {
                let mut told: Vec<String> =
                    absent.iter().map(|what| format!("not on this machine: {what}")).collect();
                let made = plan.changes.len() - absent.len();
                told.push(format!("done: {} changed and read back", count(made, "setting")));
                told.push("to undo:".into());
                told.push(format!("{VERBATIM}{}", undo_command(&place.path)));
                // The machine is changed, whether or not somebody reads this.
                let _ = page.tell(&told);
                Ok(())
            }
            Err(failure) if failure.stuck.is_empty() => {
                place.remove();
                Err(TuneError::Failed(format!(
                    "{}; everything is as it was before, and there is no undo file",
                    failure.why
                )))
            }
            Err(failure) => Err(TuneError::Failed(format!(
                "{}; this could not be put back: {}; `{}` tries again",
                failure.why,
                failure.stuck.join("; "),
                undo_command(&place.path)
            ))),
        }
    }

    fn undo(
        &self,
        system: &System,
        path: &Path,
        page: &mut Page,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), TuneError> {
        let file = UndoFile::load(system, path, self.force)?;
        let plan = file.plan(system, self.force);
        let mut told = vec![file.about()];
        if !plan.changes.is_empty() {
            let verb = if self.dry_run { "would put back" } else { "puts back" };
            told.push(format!("{verb} {}:", count(plan.changes.len(), "setting")));
            told.extend(change::lines(&plan.changes.iter().collect::<Vec<_>>(), Way::Back));
        }
        if plan.same > 0 {
            told.push(format!("as it was before already: {}", count(plan.same, "setting")));
        }
        if plan.gone > 0 {
            told.push(format!(
                "this machine has restarted since, which took {} back; what applies a profile at each start writes an \
                 undo file of its own each time",
                count(plan.gone, "setting")
            ));
        }
        told.extend(plan.told.iter().cloned());
        if plan.changes.is_empty() && plan.told.is_empty() && plan.troubles.is_empty() {
            told.push("nothing is left to undo".into());
        }
        if self.dry_run {
            told.extend(plan.troubles.iter().map(|what| format!("cannot be read: {what}")));
            told.extend(self.forbidden(system, &plan.changes));
            told.push("nothing was changed (--dry-run)".into());
            return page.tell(&told);
        }
        page.tell(&told)?;
        if let Some(why) = self.forbidden(system, &plan.changes) {
            return Err(TuneError::Failed(format!("{why}; nothing was changed")));
        }
        let mut failed = plan.troubles;
        failed.extend(undo::put_back(system, &plan.changes, stop));
        if !failed.is_empty() {
            return Err(TuneError::Failed(format!(
                "not everything is as it was before: {}; the same command tries again",
                failed.join("; ")
            )));
        }
        if plan.changes.is_empty() {
            return Ok(());
        }
        // The machine is as before, whether or not somebody reads this.
        let _ = page.tell(&[format!("done: {} as before", count(plan.changes.len(), "setting"))]);
        Ok(())
    }

    /// What of these this process may not do, and the command that may.
    fn forbidden(&self, system: &System, changes: &[Change]) -> Option<String> {
        let reasons: Vec<(String, String)> = changes
            .iter()
            .filter_map(|change| Some((change.setting.what(), change.setting.forbidden(system)?)))
            .collect();
        let (_, why) = reasons.first()?;
        let names: Vec<String> = reasons.iter().map(|(what, _)| what.clone()).collect();
        let remedy = if rustix::process::geteuid().is_root() {
            "root may not do this here, as in a container or a namespace of its own: run it on the machine itself"
                .into()
        } else {
            format!("run `{}`", self.command())
        };
        Some(format!("no privilege to change {} ({why}): {remedy}", some(&names)))
    }

    /// This command, for root.
    fn command(&self) -> String {
        let mut words = vec!["sudo twincast-tune apply".to_owned()];
        let path = |path: &PathBuf| quoted(&path.display().to_string());
        words.extend(self.profile.iter().map(|name| format!("--profile {}", quoted(name))));
        words.extend(self.interface.iter().map(|name| format!("--interface {}", quoted(name))));
        words.extend(self.config.iter().map(|file| format!("--config {}", path(file))));
        words.extend(self.undo.iter().map(|file| format!("--undo {}", path(file))));
        words.extend(self.force.then(|| "--force".to_owned()));
        words.join(" ")
    }
}

fn needed(program: &str) -> String {
    let package = if program == "ethtool" { "ethtool" } else { "iproute2" };
    format!("{program} is needed and not installed: `apt-get install {package}`")
}

/// The first comment of a profile, up to its first empty line or full stop.
fn first_comment(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
    let text = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    text.split_once(". ").map_or(text.clone(), |(first, _)| format!("{first}."))
}

/// What undoes what such a file says, from any folder.
fn undo_command(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!("sudo twincast-tune apply --undo {}", quoted(&path.display().to_string()))
}
