//! What a person sees while a run goes on, on stderr and only where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// One line that tells the phase, or the rounds of a phase.
pub(crate) struct Progress {
    bar: ProgressBar,
    since: Instant,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        // Indicatif draws nothing where stderr is no terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress { bar, since: Instant::now() }
    }

    /// A phase whose length nobody knows.
    pub(crate) fn spin(&mut self, phase: &'static str) {
        self.bar.set_style(style("{spinner} {msg} ({elapsed})"));
        self.bar.set_message(phase);
        self.bar.reset_elapsed();
    }

    /// A phase of so many rounds.
    pub(crate) fn rounds(&mut self, phase: &'static str, rounds: u32) {
        self.bar.set_style(style("{spinner} {prefix} [{bar:30}] {pos}/{len} rounds ({elapsed}) {msg}"));
        self.bar.set_prefix(phase);
        self.bar.set_message("");
        self.bar.set_length(u64::from(rounds));
        self.bar.set_position(0);
        self.bar.reset_elapsed();
        self.since = Instant::now();
    }

    /// So many rounds are closed by every host; `shares` cells came from each server for them.
    pub(crate) fn closed(&mut self, rounds: u32, shares: u64) {
        let rate = shares as f64 / self.since.elapsed().as_secs_f64().max(1e-9);
        self.bar.set_position(u64::from(rounds));
        self.bar.set_message(format!("{:.1} M shares/s a server", rate / 1e6));
    }

    /// Takes the line away.
    pub(crate) fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant")
}
