//! HdrHistogram interval logs, which the usual tools read: one for each host and one for all.
//!
//! An interval is a part of a host's rounds, about a second long ([`HostSecond`]); its times count from the first
//! measured round's planned instant. Untagged intervals are message latencies, those with the tag `delivery` delivery
//! latencies, both in nanoseconds; the greatest value beside each is in milliseconds.

use crate::control::HostSecond;
use crate::coordinator::series::Series;
use crate::latency::{from_text, histogram};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The greatest value of an interval is written in milliseconds.
const NS_PER_MS: f64 = 1e6;

/// Each host's log by the host's name, and the merged one.
type Logs = (BTreeMap<String, Vec<u8>>, Vec<u8>);

/// Both latencies of a stretch of time.
struct Interval {
    start: Duration,
    length: Duration,
    message: Histogram<u64>,
    delivery: Histogram<u64>,
}

/// A log for each host by its name, and the merged one. Times in them are told from `base`, about when the first of the
/// rounds was planned.
///
/// # Errors
/// A sentence: a host's histogram is none.
pub(super) fn logs(series: &Series, base: SystemTime) -> Result<Logs, String> {
    let mut hosts: BTreeMap<String, Vec<Interval>> = BTreeMap::new();
    for (name, second) in &series.hosts {
        let interval = Interval::of(second).map_err(|error| format!("{name}: {error}"))?;
        hosts.entry(name.clone()).or_default().push(interval);
    }
    let all = merged(hosts.values().flatten())?;
    let hosts = hosts.into_iter().map(|(name, intervals)| {
        let log = log(&format!("Twincast latencies of {name}"), base, &intervals);
        (name, log)
    });
    Ok((hosts.collect(), log("Twincast latencies of all hosts", base, &all)))
}

impl Interval {
    fn of(second: &HostSecond) -> Result<Interval, String> {
        let length = span(second.seconds);
        Ok(Interval {
            start: span(second.at_s).saturating_sub(length),
            length,
            message: from_text(&second.message_latency_ns)?,
            delivery: from_text(&second.delivery_latency_ns)?,
        })
    }
}

/// Seconds of a host as a time: what it says is not trusted to be one.
fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// One interval for each second, with every host's intervals that begin in it.
fn merged<'a>(intervals: impl Iterator<Item = &'a Interval>) -> Result<Vec<Interval>, String> {
    let mut seconds: BTreeMap<u64, Interval> = BTreeMap::new();
    for interval in intervals {
        let second = interval.start.as_secs();
        let all = seconds.entry(second).or_insert_with(|| Interval {
            start: Duration::from_secs(second),
            length: Duration::from_secs(1),
            message: histogram(),
            delivery: histogram(),
        });
        let added = all.message.add(&interval.message).and_then(|()| all.delivery.add(&interval.delivery));
        added.map_err(|error| format!("histograms do not merge: {error}"))?;
    }
    Ok(seconds.into_values().collect())
}

fn log(title: &str, base: SystemTime, intervals: &[Interval]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment(title).add_comment("[Histogram log format version 1.3]");
    builder.with_start_time(base).with_base_time(base).with_max_value_divisor(NS_PER_MS);
    let mut writer = builder.begin_log_with(&mut bytes, &mut serializer).expect("a vector takes every byte");
    for interval in intervals {
        let both = [(&interval.message, None), (&interval.delivery, Tag::new("delivery"))];
        for (histogram, tag) in both {
            writer
                .write_histogram(histogram, interval.start, interval.length, tag)
                .expect("a vector takes every byte, and a histogram of an hour has a form");
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::to_text;
    use base64::Engine as _;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn second(at_s: f64, latency_ns: u64) -> HostSecond {
        let mut message = histogram();
        message.record(latency_ns).unwrap();
        let message_latency_ns = to_text(&message);
        HostSecond { at_s, seconds: 1.0, message_latency_ns, ..HostSecond::default() }
    }

    /// Start, tag and count of every interval of a log.
    fn read(log: &[u8]) -> Vec<(f64, Option<String>, u64)> {
        let entries = IntervalLogIterator::new(log).filter_map(|entry| match entry.unwrap() {
            LogEntry::Interval(interval) => {
                let text = interval.encoded_histogram();
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                let tag = interval.tag().map(|tag| tag.as_str().to_owned());
                Some((interval.start_timestamp().as_secs_f64(), tag, histogram.len()))
            }
            _ => None,
        });
        entries.collect()
    }

    #[test]
    fn logs_are_read_back_and_merged_second_by_second() {
        let series = Series {
            hosts: vec![
                ("host 0".into(), second(1.0, 5_000_000)),
                ("host 1".into(), second(1.2, 6_000_000)),
                ("host 0".into(), second(2.0, 7_000_000)),
            ],
            ..Series::default()
        };
        let (hosts, merged) = logs(&series, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(hosts.keys().collect::<Vec<_>>(), ["host 0", "host 1"]);
        let delivery = Some("delivery".to_owned());
        assert_eq!(
            read(&hosts["host 0"]),
            [(0.0, None, 1), (0.0, delivery.clone(), 0), (1.0, None, 1), (1.0, delivery.clone(), 0)]
        );
        assert_eq!(
            read(&merged),
            [(0.0, None, 2), (0.0, delivery.clone(), 0), (1.0, None, 1), (1.0, delivery, 0)]
        );
    }

    #[test]
    fn nonsense_of_a_host_is_refused_in_a_sentence() {
        let bad = HostSecond { at_s: f64::NAN, message_latency_ns: "?".into(), ..HostSecond::default() };
        let series = Series { hosts: vec![("host 7".into(), bad)], ..Series::default() };
        let error = logs(&series, SystemTime::UNIX_EPOCH).unwrap_err();
        assert!(error.starts_with("host 7: a histogram is not base64"), "{error}");
        let odd = HostSecond { at_s: -1.0, seconds: f64::INFINITY, ..HostSecond::default() };
        let series = Series { hosts: vec![("host 7".into(), odd)], ..Series::default() };
        assert!(logs(&series, SystemTime::UNIX_EPOCH).is_ok());
    }
}
