//! The paper's figures, put together from what was run and what follows from it.
//!
//! The text of the paper is not at hand: what each figure shows is our reading of its description. Both readings of its
//! times are drawn: the time of a round, and the total run time divided by the users.

mod evidence;
mod population;

use super::experiments::Experiments;
use super::model::{goodput_bits_per_s, link_dial_seconds, link_latency_seconds, link_round_seconds};
use super::outcome::{Done, MCMIX_LATENCY_S, mcmix_rate};
use super::point::{Axis, Figure, Kind, Look, Panel, Point, Series};
use crate::baseline::Baseline;
use crate::plan::{Peers, Plan, ProfileName, subgroup};
use crate::units::bits_per_s;
use evidence::{Evidence, Quantity, Subject};

pub use super::experiments::FigureName;

/// What a series of a link's says, by profile.
const LINK_NAMES: [(ProfileName, Look, &str); 2] = [
    (ProfileName::Compact, Look::Link, "link allows, compact"),
    (ProfileName::PaperXor, Look::LinkPaper, "link allows, paper-xor"),
];

/// Why a latency's line of a link is half of a round's.
const HALF: &str = "Half of the round's bytes are counted: the median member has its own cell when half of the members have \
                    theirs.";

/// All figures that were asked for.
#[must_use]
pub fn figures(all: &Experiments, done: &[Done], only: &[FigureName]) -> Vec<Figure> {
    let evidence = Evidence { all, done };
    let make = |name: &FigureName| match name {
        FigureName::Fig2 => evidence.fig2(),
        FigureName::Fig3 => evidence.fig3(),
        FigureName::Fig4 => evidence.fig4(),
        FigureName::Fig5 => evidence.fig5(),
        FigureName::Fig6 => evidence.fig6(),
    };
    FigureName::ALL.iter().filter(|name| only.contains(name)).map(make).collect()
}

/// The plot that the report opens with: the time of a round against the size of the group.
#[must_use]
pub fn headline(all: &Experiments, done: &[Done]) -> Panel {
    let evidence = Evidence { all, done };
    let series = evidence.with_links(evidence.four(Quantity::Round), &|plan| link_round_seconds(plan));
    Panel {
        id: "headline".into(),
        title: "Time of a round against the size of the group".into(),
        x: members(),
        y: Axis::new("Time of a round", "s"),
        series,
        caption: format!(
            "Every member sends one message of 256 bytes to everybody; the round ends with the last share at the slowest \
             host. {}",
            evidence.about_links()
        ),
    }
}

fn members() -> Axis {
    Axis::new("Members of the group, n", "")
}

fn per_user(series: Vec<Series>) -> Vec<Series> {
    let divide = |series: Series| Series {
        points: series.points.iter().map(|point| point.times(1.0 / point.x)).collect(),
        ..series
    };
    series.into_iter().map(divide).collect()
}

impl Evidence<'_> {
    /// The two profiles, and the paper's way of sending with and without Nagle's algorithm.
    fn four(&self, quantity: Quantity) -> Vec<Series> {
        Subject::FOUR.iter().map(|subject| self.series(*subject, quantity)).collect()
    }

    /// With what the link allows to each profile.
    fn with_links(&self, mut series: Vec<Series>, seconds: &dyn Fn(&Plan) -> Option<f64>) -> Vec<Series> {
        for (profile, look, name) in LINK_NAMES {
            series.push(self.link_line(profile, look, name, seconds));
        }
        series
    }

    fn link_line(
        &self,
        profile: ProfileName,
        look: Look,
        name: &str,
        seconds: &dyn Fn(&Plan) -> Option<f64>,
    ) -> Series {
        let points = self.all.groups.iter().filter_map(|group| {
            let plan = self.plan(profile, *group, 1)?;
            Some(Point::worked_out(f64::from(*group), seconds(&plan)?, Kind::Modelled))
        });
        Series::new(name, look, points.collect()).missing(self.no_link())
    }

    /// Why there is no line of a link.
    fn no_link(&self) -> Option<String> {
        let rate = self.all.link.rate;
        goodput_bits_per_s(&self.all.link)
            .is_none()
            .then(|| format!("the run's links have no rate (--link {rate})"))
    }

    fn about_links(&self) -> String {
        match goodput_bits_per_s(&self.all.link) {
            None => format!(
                "The run's links have no rate (--link {}), so no line of a link is drawn.",
                self.all.link.rate
            ),
            Some(goodput) => format!(
                "The link's line is a model: the bytes of the cost model at {} (what TCP carries at {} with packets of {} \
                 bytes).",
                bits_per_s(goodput),
                self.all.link.rate,
                self.all.link.mtu
            ),
        }
    }

    fn about_rivals(&self) -> &'static str {
        "Paper-faithful is our rebuilding of the paper's server (one epoll thread, one write for each share, shared \
         connections) with shares of 336 bytes as Twincast's compact ones have, and hosts that count shares without decoding \
         them; the paper's own strings are 771 bytes. Its bars are its quickest and its slowest round. Above n = 1,000 only a \
         part of its members send and the round is scaled: sampled."
    }

    fn about_mcmix(&self) -> String {
        let (rate, from) = mcmix_rate(&self.all.link);
        format!(
            "MCMix is a model of our own in one process: the CPU time of its slowest party was measured, rounds and bytes \
             were counted, and the time on its network is computed from a latency of {:.0} us and {} ({from}); none of it \
             was sent. Users' links are not in it.",
            MCMIX_LATENCY_S * 1e6,
            bits_per_s(rate)
        )
    }

    fn fig2(&self) -> Figure {
        let latency = self.with_links(self.four(Quantity::Latency), &|plan| link_latency_seconds(plan));
        let rounds = self.with_links(self.four(Quantity::Round), &|plan| link_round_seconds(plan));
        let panels = vec![
            Panel {
                id: "fig2-latency".into(),
                title: "Message latency".into(),
                x: members(),
                y: Axis::new("Message latency, median user", "s"),
                series: latency,
                caption: format!(
                    "Until a member's own message is back at it, on one host's clock: from the beginning of its submission to the \
                     decoding of its own cell; for paper-faithful, from its host's first byte of the round to its own share \
                     from both servers. Medians over users, and of repeats; a whole round takes about twice as long, see \
                     below. {} {} {HALF}",
                    self.about_rivals(),
                    self.about_links()
                ),
            },
            Panel {
                id: "fig2-amortised".into(),
                title: "Message latency for each recipient, kappa = 25%".into(),
                x: members(),
                y: Axis::new("Latency / recipients", "s"),
                series: self.amortised(),
                caption: format!(
                    "One message to a quarter of the group, its latency divided by the recipients. Measured for both \
                     profiles (paper-xor by the paper's Algorithm 4, which sends a pair of strings from S1); for \
                     paper-faithful modelled as the latency above, since a server sends the same whoever is meant: \
                     Algorithm 4's third string is left out there. {} {HALF}",
                    self.about_links()
                ),
            },
            Panel {
                id: "fig2-per-user".into(),
                title: "Message phase divided by users".into(),
                x: members(),
                y: Axis::new("Run time / users", "s"),
                series: per_user(rounds),
                caption: "The other reading: the time of the message phase in which every user sends one message, divided by \
                          the users. All groupings were done before; Figure 5 has their time."
                    .into(),
            },
        ];
        Figure { id: "fig2".into(), title: "Figure 2: message latency against group size".into(), panels }
    }

    fn amortised(&self) -> Vec<Series> {
        let recipients = |x: f64| f64::from(subgroup(x as u32, 25));
        let each = |series: Series, kind: Option<Kind>| {
            let point = |point: &Point| Point {
                kind: kind.map_or(point.kind, |kind| kind.max(point.kind)),
                ..point.times(1.0 / recipients(point.x))
            };
            Series { points: series.points.iter().map(point).collect(), ..series }
        };
        let mut all: Vec<Series> = [Subject::CompactQuarter, Subject::PaperQuarter]
            .map(|subject| each(self.series(subject, Quantity::Latency), None))
            .into();
        for nagle in [true, false] {
            let plain = self.series(Subject::Rival(Baseline::Faithful { nagle }), Quantity::Latency);
            all.push(each(plain, Some(Kind::Modelled)));
        }
        let quarter =
            |plan: &Plan| link_latency_seconds(&Plan { peers: Peers::Subgroup(25), ..plan.clone() });
        let links = self.with_links(Vec::new(), &quarter);
        all.into_iter().chain(links.into_iter().map(|series| each(series, None))).collect()
    }

    fn fig4(&self) -> Figure {
        let mut series = self.four(Quantity::Round);
        series.push(self.series(Subject::Mcmix { dialling: false }, Quantity::Round));
        let series = self.with_links(series, &|plan| link_round_seconds(plan));
        let caption = format!("{} {} {}", self.about_mcmix(), self.about_rivals(), self.about_links());
        let other =
            "The same, divided by the users: total run time of the message phase over users.".to_owned();
        self.two_readings(
            "fig4",
            "Figure 4: message time against MCMix",
            "Message time",
            series,
            [caption, other],
        )
    }

    fn fig5(&self) -> Figure {
        let mut series = vec![
            self.series(Subject::Compact, Quantity::Dial),
            self.series(Subject::CompactKeysOnly, Quantity::KeysOnly),
            self.series(Subject::PaperXor, Quantity::Dial),
        ];
        for nagle in [true, false] {
            series.push(self.series(Subject::Rival(Baseline::Faithful { nagle }), Quantity::Dial));
        }
        series.push(self.series(Subject::Mcmix { dialling: true }, Quantity::Dial));
        let mut series = self.with_links(series, &|plan| link_dial_seconds(plan));
        let keys_only = |plan: &Plan| link_dial_seconds(&Plan { confirm: false, ..plan.clone() });
        let name = "link allows, session keys only";
        series.push(self.link_line(ProfileName::Compact, Look::LinkOther, name, &keys_only));
        let caption = format!(
            "The grouping phase: all hosts begin at one instant, and it ends when every user is attached and dialled at both \
             servers. Compact has bit confirmations with it, which the paper's dial has not; its session keys alone are \
             drawn beside. The link's line for compact has the confirmations in it; that of the session keys alone is the one for \
             paper-faithful too. {} {}",
            self.about_mcmix(),
            self.about_links()
        );
        let other = "The same, divided by the users.".to_owned();
        self.two_readings("fig5", "Figure 5: dial time against MCMix", "Dial time", series, [caption, other])
    }

    fn two_readings(
        &self,
        id: &str,
        title: &str,
        what: &str,
        series: Vec<Series>,
        captions: [String; 2],
    ) -> Figure {
        let [round, users] = captions;
        let x = || Axis::new("Users (one group)", "");
        let panels = vec![
            Panel {
                id: format!("{id}-round"),
                title: format!("{what}, all users"),
                x: x(),
                y: Axis::new(what, "s"),
                series: series.clone(),
                caption: round,
            },
            Panel {
                id: format!("{id}-per-user"),
                title: format!("{what} divided by users"),
                x: x(),
                y: Axis::new(&format!("{what} / users"), "s"),
                series: per_user(series),
                caption: users,
            },
        ];
        Figure { id: id.into(), title: title.into(), panels }
    }

    fn fig6(&self) -> Figure {
        let mut series = self.four(Quantity::BytesOut);
        series.push(self.series(Subject::Mcmix { dialling: false }, Quantity::BytesOut));
        let goodput = goodput_bits_per_s(&self.all.link);
        let allowed = |group: &u32| {
            let x = f64::from(*group);
            goodput.map(|goodput| Point::worked_out(x, goodput / 8.0 / x, Kind::Modelled))
        };
        let points: Vec<Point> = self.all.groups.iter().filter_map(allowed).collect();
        series
            .push(Series::new("link allows, one round a second", Look::Link, points).missing(self.no_link()));
        let caption = format!(
            "Bytes that one server sends for one message (n shares, headers included), measured; MCMix's are counted: what a \
             server sends to the other two and to the users, for one user's message. The link's line is a model: the \
             bytes that each of n messages may take if there is a round every second{}; where it crosses another, that one's \
             group is as large as it can be for such rounds.",
            match goodput {
                Some(goodput) => format!(" and the link carries {}", bits_per_s(goodput)),
                None => format!(", but links of {} have no rate, so it is not drawn", self.all.link.rate),
            }
        );
        let panel = Panel {
            id: "fig6-bytes".into(),
            title: "Bytes out of a server for each message".into(),
            x: Axis::new("Users (one group)", ""),
            y: Axis::new("Bytes / message / server", "B"),
            series,
            caption,
        };
        Figure {
            id: "fig6".into(),
            title: "Figure 6: server bandwidth per message".into(),
            panels: vec![panel],
        }
    }
}

#[cfg(test)]
pub(in crate::paper) mod tests;
