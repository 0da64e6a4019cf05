//! How a search goes, on stderr: a bar on a terminal, else a line for each rung.

use super::knobs::Candidate;
use super::search::Watch;
use super::table::counted;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Duration;

/// How often the bar's spinner moves.
const TICK: Duration = Duration::from_millis(100);

/// Shows it.
pub(crate) struct Progress {
    /// None: stderr is no terminal.
    bar: Option<ProgressBar>,
    stage: String,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let template = "{spinner} {prefix} [{bar:20}] {pos}/{len}\n  {wide_msg}";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .expect("the template is a constant")
                    .progress_chars("=> "),
            );
            bar.enable_steady_tick(TICK);
            bar
        });
        Progress { bar, stage: String::new() }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Watch for Progress {
    fn stage(&mut self, what: &str, runs: usize, left_s: f64) {
        self.stage = what.to_owned();
        match &self.bar {
            Some(bar) => {
                bar.set_position(0);
                bar.set_length(runs as u64);
                bar.set_prefix(self.stage.clone());
            }
            None => eprintln!("{what}: {}, {left_s:.0} s of the budget left", counted(runs as u64, "run")),
        }
    }

    fn run(&mut self, candidate: &Candidate, left_s: f64) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{left_s:.0} s of the budget left; {candidate}"));
        }
    }

    fn done(&mut self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}
