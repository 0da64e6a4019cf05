//! What a person sees while a run goes on: a few lines on stderr, redrawn in place, and only where that is a terminal.
//!
//! [`Progress`] is told of phases by who leads them; what hosts and servers tell second by second comes over the
//! [`View`] that the team's [`Series`] holds. At the end, good or bad, nothing of it is left.

mod scene;

use super::series::Series;
use super::team::News;
use crate::control::{HostNews, ServerNews};
use crate::plan::Plan;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use scene::{Facts, Scene};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The lines are made anew this often at the most.
const REDRAW: Duration = Duration::from_millis(100);
/// The first line's sign of life moves this often.
const TICK: Duration = Duration::from_millis(120);

/// The live view of a run, or of several after each other.
pub(crate) struct Progress {
    view: View,
}

/// What the live view is told through while rounds are played; of nobody's run until [`Progress::watch`].
#[derive(Clone, Default)]
pub(crate) struct View(Option<Arc<Mutex<Screen>>>);

struct Screen {
    scene: Scene,
    since: Instant,
    /// When the lines were made last.
    drawn: Option<Instant>,
    multi: MultiProgress,
    /// A line each: an empty one, the phase's, and the others.
    bars: Vec<ProgressBar>,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress::on(ProgressDrawTarget::stderr())
    }

    /// Nothing is shown: somebody else shows what goes on.
    pub(crate) fn quiet() -> Progress {
        Progress { view: View::default() }
    }

    /// Indicatif draws nothing on what is no terminal.
    fn on(target: ProgressDrawTarget) -> Progress {
        let multi = MultiProgress::with_draw_target(target);
        let screen =
            Screen { scene: Scene::default(), since: Instant::now(), drawn: None, multi, bars: Vec::new() };
        Progress { view: View(Some(Arc::new(Mutex::new(screen)))) }
    }

    /// Which of several runs comes now: "repeat 2 of 3, n = 1,000"; told before every phase. Nothing if empty.
    pub(crate) fn context(&mut self, context: &str) {
        self.view.change(true, |scene| scene.context = context.to_owned());
    }

    /// Servers and hosts of this plan come now, whose news the series takes; their links carry so many payload bits per
    /// second, if they have a limit.
    pub(crate) fn watch(&mut self, series: &mut Series, plan: &Plan, goodput_bits_per_s: Option<f64>) {
        series.view = self.view.clone();
        self.view.change(true, |scene| {
            scene.clear();
            scene.facts = Facts::of(plan, goodput_bits_per_s);
        });
    }

    /// A phase whose length nobody knows.
    pub(crate) fn spin(&mut self, phase: &str) {
        self.begin(phase, None);
    }

    /// A phase of so many rounds.
    pub(crate) fn rounds(&mut self, phase: &str, rounds: u32) {
        self.begin(phase, Some(rounds));
    }

    fn begin(&mut self, phase: &str, rounds: Option<u32>) {
        if let Some(mut screen) = self.view.lock() {
            screen.since = Instant::now();
        }
        self.view.change(true, |scene| scene.begin(phase, rounds));
    }

    /// So many rounds are closed by every host; `shares` cells came from each server for them.
    pub(crate) fn closed(&mut self, rounds: u32, shares: u64) {
        self.view.change(false, |scene| {
            scene.shares = shares;
            if let Some((closed, _)) = &mut scene.rounds {
                *closed = rounds;
            }
        });
    }

    /// Takes the lines away.
    pub(crate) fn finish(&mut self) {
        if let Some(mut screen) = self.view.lock() {
            screen.bars.drain(..).for_each(|bar| bar.finish_and_clear());
            let _ = screen.multi.clear();
            screen.scene = Scene::default();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl View {
    /// Looks at what a host or server of this name says.
    pub(super) fn hear(&self, name: &str, news: &News) {
        match news {
            News::Host(HostNews::Progress { rounds }) => {
                self.change(false, |scene| scene.host_closed(name, *rounds));
            }
            News::Host(HostNews::Second(second)) => {
                self.change(false, |scene| scene.host_second(name, second));
            }
            News::Server(ServerNews::Second(report)) => {
                self.change(false, |scene| scene.server_second(name, report));
            }
            _ => {}
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Screen>> {
        self.0.as_ref().map(|screen| screen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is shown, and shows it: at once, or if the last time was long enough ago.
    fn change(&self, at_once: bool, change: impl FnOnce(&mut Scene)) {
        let Some(mut screen) = self.lock() else { return };
        change(&mut screen.scene);
        if at_once || screen.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            screen.draw();
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({})", if self.0.is_some() { "watched" } else { "nobody's" })
    }
}

impl Screen {
    fn draw(&mut self) {
        // Until the first phase begins there is nothing to say.
        if self.scene.phase.is_empty() || self.multi.is_hidden() {
            return;
        }
        // What a terminal echoes of Ctrl-C moves all lines, so that one is left when they are taken away: an empty one.
        let mut lines = vec![String::new()];
        lines.extend(self.scene.lines(self.since.elapsed()));
        while self.bars.len() > lines.len() {
            let bar = self.bars.pop().expect("there are more than none");
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
        while self.bars.len() < lines.len() {
            let bar = self.multi.add(ProgressBar::no_length());
            if self.bars.len() == 1 {
                bar.enable_steady_tick(TICK);
            } else {
                bar.set_style(style("{wide_msg}"));
            }
            self.bars.push(bar);
        }
        if let Some(head) = self.bars.get(1) {
            // The last line tells the time of rounds.
            let template = if self.scene.rounds.is_some() {
                "{spinner} {wide_msg}"
            } else {
                "{spinner} {msg} ({elapsed})"
            };
            head.set_style(style(template));
            if self.drawn.is_none_or(|drawn| drawn < self.since) {
                head.reset_elapsed();
            }
        }
        for (bar, line) in self.bars.iter().zip(lines) {
            bar.set_message(line);
        }
        self.drawn = Some(Instant::now());
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ServerReport;
    use indicatif::TermLike;
    use std::io;

    /// A terminal of which only its rows are kept.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<(Vec<String>, usize)>>);

    impl Terminal {
        fn contents(&self) -> String {
            self.0.lock().unwrap().0.join("\n").trim_end().to_owned()
        }

        fn at(&self, act: impl FnOnce(&mut Vec<String>, &mut usize)) -> io::Result<()> {
            let (rows, row) = &mut *self.0.lock().unwrap();
            act(rows, row);
            if rows.len() <= *row {
                rows.resize(*row + 1, String::new());
            }
            Ok(())
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, rows: usize) -> io::Result<()> {
            self.at(|_, row| *row = row.saturating_sub(rows))
        }
        fn move_cursor_down(&self, rows: usize) -> io::Result<()> {
            self.at(|_, row| *row += rows)
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.at(|_, row| *row += 1)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.at(|_, _| ())?;
            self.at(|rows, row| rows[*row].push_str(text))
        }
        fn clear_line(&self) -> io::Result<()> {
            self.at(|_, _| ())?;
            self.at(|rows, row| rows[*row].clear())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_and_go_with_the_phases_and_nothing_is_left() {
        let terminal = Terminal::default();
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let mut progress = Progress::on(target);
        let mut series = Series::default();
        progress.context("repeat 1 of 2");
        progress.watch(&mut series, &Plan::default(), None);
        progress.spin("dialling");
        assert!(terminal.contents().contains("repeat 1 of 2: dialling"), "{}", terminal.contents());
        progress.rounds("playing", 4);
        let second = |at_s, tcp_bytes_acked| {
            News::Server(ServerNews::Second(ServerReport {
                at_s,
                tcp_bytes_acked,
                ..ServerReport::default()
            }))
        };
        assert!(series.take("server 1", second(1.0, 0)).is_none());
        assert!(series.take("server 1", second(2.0, 1_000_000)).is_none());
        let closed = News::Host(HostNews::Progress { rounds: 3 });
        assert!(series.take("host 4", closed).is_some(), "whoever waits for it gets it");
        progress.view.change(true, |_| ());
        let shown = terminal.contents();
        assert!(shown.contains("server 1") && shown.contains("8.0 Mbit/s"), "{shown}");
        assert!(shown.contains("host 4, 3 rounds closed"), "{shown}");
        progress.spin("starting two servers");
        assert!(!terminal.contents().contains("slowest"), "{}", terminal.contents());
        progress.finish();
        assert_eq!(terminal.contents(), "");
        drop(progress);
        assert_eq!(terminal.contents(), "");
    }
}
