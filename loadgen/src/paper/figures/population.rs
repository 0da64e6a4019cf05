//! Figure 3: a fixed population in groups of several sizes.

use super::evidence::{Evidence, Quantity, Subject};
use super::{Axis, Figure, LINK_NAMES, Panel, Point, Series};
use crate::paper::experiments::{PROJECTED, Variant};
use crate::paper::model::{Beyond, link_dial_seconds, link_round_seconds};
use crate::paper::outcome::Done;
use crate::paper::point::Kind;
use crate::plan::{Plan, ProfileName};
use crate::units::thousands;

/// The profile of a subject that populations are played with.
fn profile(subject: Subject) -> Option<ProfileName> {
    match subject {
        Subject::Compact => Some(ProfileName::Compact),
        Subject::PaperXor => Some(ProfileName::PaperXor),
        _ => None,
    }
}

impl Evidence<'_> {
    pub(super) fn fig3(&self) -> Figure {
        let users = self.all.population;
        let mut panels = vec![self.rounds_of(users), self.per_user_of(users)];
        if users != PROJECTED {
            panels.push(self.rounds_of(PROJECTED));
        }
        Figure { id: "fig3".into(), title: "Figure 3: a fixed population in groups".into(), panels }
    }

    fn rounds_of(&self, users: u64) -> Panel {
        let is_run = users == self.all.population;
        let series =
            self.population_series(users, &|subject, group| self.of(subject, Quantity::Round, users, group));
        let series = self.population_links(series, users, &|plan| link_round_seconds(plan));
        let how = if is_run {
            "Groups are played side by side on the same two servers. A hollow mark is a sample: as many groups as the time \
             allowed, the whole as many times as much, for groups have nothing to do with each other. "
        } else {
            "Nothing here was run: what one group took at the same n, as many times as there are groups in a million users, on \
             this one machine. "
        };
        Panel {
            id: if is_run { "fig3-round".into() } else { "fig3-million".into() },
            title: format!("A round of {} users", thousands(users)),
            x: Axis::new("Members of each group", ""),
            y: Axis::new("Time of a round, all users", "s"),
            series,
            caption: format!(
                "{how}Paper-faithful is always one group's round at the same n, sampled above n = 1,000, as many times as there \
                 are groups. Beyond the largest groups that were played every pair of members is taken to cost what it costs \
                 there. {}",
                self.about_links()
            ),
        }
    }

    fn per_user_of(&self, users: u64) -> Panel {
        let both = |subject, group| {
            let dial = self.of(subject, Quantity::Dial, users, group)?;
            let round = self.of(subject, Quantity::Round, users, group)?;
            let sum = Point {
                y: dial.y + round.y,
                low: dial.low + round.low,
                high: dial.high + round.high,
                kind: dial.kind.max(round.kind),
                ..round
            };
            Some(sum.times(1.0 / users as f64))
        };
        let series = self.population_series(users, &both);
        let link = |plan: &Plan| Some((link_dial_seconds(plan)? + link_round_seconds(plan)?) / users as f64);
        Panel {
            id: "fig3-per-user".into(),
            title: format!("Total run time divided by users, {} of them", thousands(users)),
            x: Axis::new("Members of each group", ""),
            y: Axis::new("(Groupings + messages) / users", "s"),
            series: self.population_links(series, users, &link),
            caption: "The other reading: all groupings first, then one round of messages, each phase begun by all hosts at one \
                      instant and timed apart; their sum divided by the users. Compact has bit confirmations in its \
                      groupings, paper-xor and paper-faithful have none."
                .into(),
        }
    }

    fn population_series(&self, users: u64, of: &dyn Fn(Subject, u32) -> Option<Point>) -> Vec<Series> {
        let series = |subject: &Subject| {
            let points: Vec<Point> =
                self.all.population_groups.iter().filter_map(|group| of(*subject, *group)).collect();
            let why =
                points.is_empty().then(|| "nothing of it was run that could be extrapolated".to_owned());
            let failed = self.of_population(*subject).find_map(|done| done.failure.clone());
            let why = failed.filter(|_| users == self.all.population).or(why);
            Series::new(subject.name(), subject.look(), points).missing(why)
        };
        Subject::FOUR.iter().map(series).collect()
    }

    fn population_links(
        &self,
        mut series: Vec<Series>,
        users: u64,
        seconds: &dyn Fn(&Plan) -> Option<f64>,
    ) -> Vec<Series> {
        for (profile, look, name) in LINK_NAMES {
            let point = |group: &u32| {
                let groups = u32::try_from((users / u64::from(*group)).max(1)).ok()?;
                let plan = self.plan(profile, *group, groups)?;
                Some(Point::worked_out(f64::from(*group), seconds(&plan)?, Kind::Modelled))
            };
            let points = self.all.population_groups.iter().filter_map(point).collect();
            series.push(Series::new(name, look, points).missing(self.no_link()));
        }
        series
    }

    fn of_population(&self, subject: Subject) -> impl Iterator<Item = &Done> {
        let wanted = profile(subject);
        self.done.iter().filter(move |done| {
            matches!(done.twincast(), Some((of, Variant::Population { .. })) if Some(of) == wanted)
        })
    }

    /// A quantity of a whole population in groups of one size: played, or worked out from what one group takes there, or,
    /// beyond the largest groups that were played, from what each pair of members takes in those.
    fn of(&self, subject: Subject, quantity: Quantity, users: u64, group: u32) -> Option<Point> {
        let is_this = users == self.all.population;
        let groups = users as f64 / f64::from(group);
        let played = |group: u32| self.of_population(subject).find(move |done| done.size() == group);
        if let Some(done) = played(group).filter(|_| is_this)
            && let Some(point) = self.point(done, quantity)
        {
            return Some(point.times(done.whole()));
        }
        let single = |group: u32| {
            let side_by_side =
                played(group).and_then(|done| Some(self.point(done, quantity)?.times(1.0 / done.groups())));
            let alone = || {
                self.done
                    .iter()
                    .find(|done| subject.is(done) && done.size() == group)
                    .and_then(|done| self.point(done, quantity))
            };
            side_by_side.or_else(alone)
        };
        if let Some(point) = single(group) {
            let kind = if is_this { Kind::Sampled } else { Kind::Extrapolated };
            return Some(Point { kind, ..point.times(groups) });
        }
        let sizes = self.all.groups.iter().chain(&self.all.population_groups);
        let run: Vec<(f64, f64)> =
            sizes.filter_map(|size| single(*size)).map(|point| (point.x * point.x, point.y)).collect();
        let x = f64::from(group);
        let y = Beyond::of(&run).filter(|_| run.len() > 1)?.at(x * x)?;
        Some(Point::worked_out(x, y * groups, Kind::Extrapolated))
    }
}
