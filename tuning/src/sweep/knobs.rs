//! What is turned: the knobs, their values, and a candidate, which is what it changes from the default.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use twincast_server::config::{Cores, CoresNamed, ZeroCopy};

/// A setting that the search may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Knob {
    /// Threads that write to clients, of each server.
    FanOutThreads,
    /// Where they run.
    FanOutCores,
    /// Bytes of a slab, which is the largest send.
    SlabBytes,
    /// Slabs of a thread for each connection that it writes to.
    SlabsPerConnection,
    /// Connections of a client host to each server and group: a matter of clients.
    ConnectionsPerHost,
    /// Whether to send without copying.
    ZeroCopy,
    /// From which size on.
    ZeroCopyBytesMin,
    /// A socket's send buffer; 0: the kernel's own choice.
    SendBufferBytes,
}

impl Knob {
    /// All of them, in the order in which they are told.
    pub const ALL: [Knob; 8] = [
        Knob::FanOutThreads,
        Knob::FanOutCores,
        Knob::SlabBytes,
        Knob::SlabsPerConnection,
        Knob::ConnectionsPerHost,
        Knob::ZeroCopy,
        Knob::ZeroCopyBytesMin,
        Knob::SendBufferBytes,
    ];

    /// Its name in `[tune.values]`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Knob::FanOutThreads => "fan_out_threads",
            Knob::FanOutCores => "fan_out_cores",
            Knob::SlabBytes => "slab_bytes",
            Knob::SlabsPerConnection => "slabs_per_connection",
            Knob::ConnectionsPerHost => "connections_per_host",
            Knob::ZeroCopy => "zero_copy",
            Knob::ZeroCopyBytesMin => "zero_copy_bytes_min",
            Knob::SendBufferBytes => "send_buffer_bytes",
        }
    }

    /// The knob of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Knob> {
        Knob::ALL.into_iter().find(|knob| knob.name() == name)
    }

    /// The key of a server's configuration that it becomes, in the table `[fan_out]`; none: it is no setting of a server.
    #[must_use]
    pub fn key(self) -> Option<&'static str> {
        match self {
            Knob::FanOutThreads => Some("threads"),
            Knob::FanOutCores => Some("cores"),
            Knob::SlabBytes => Some("slab_bytes"),
            Knob::SlabsPerConnection => Some("slabs"),
            Knob::ConnectionsPerHost => None,
            Knob::ZeroCopy => Some("zero_copy"),
            Knob::ZeroCopyBytesMin => Some("zero_copy_bytes_min"),
            Knob::SendBufferBytes => Some("send_buffer_bytes"),
        }
    }
}

impl fmt::Display for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Knob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What a knob is set to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A whole number, in the unit of the knob's name.
    Whole(u64),
    /// Slabs of a connection, of which a part may be one's share.
    Part(f64),
    /// Cores.
    Cores(Cores),
    /// Zero-copy.
    ZeroCopy(ZeroCopy),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Whole(number) => write!(f, "{number}"),
            // Two places tell shares of a slab apart, and whole numbers need none.
            Value::Part(part) => write!(f, "{}", (part * 100.0).round() / 100.0),
            Value::Cores(Cores::Named(CoresNamed::Auto)) => f.write_str("auto"),
            Value::Cores(Cores::Named(CoresNamed::None)) => f.write_str("none"),
            Value::Cores(Cores::List(list)) => write!(f, "{list:?}"),
            Value::ZeroCopy(ZeroCopy::Auto) => f.write_str("auto"),
            Value::ZeroCopy(ZeroCopy::On) => f.write_str("on"),
            Value::ZeroCopy(ZeroCopy::Off) => f.write_str("off"),
        }
    }
}

/// Settings to try, as far as they differ from the default; the default has no changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Candidate {
    /// Each knob at most once.
    pub changes: BTreeMap<Knob, Value>,
}

impl Candidate {
    /// One knob turned.
    #[must_use]
    pub fn of(knob: Knob, value: Value) -> Candidate {
        Candidate { changes: BTreeMap::from([(knob, value)]) }
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.changes.is_empty()
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_default() {
            return f.write_str("default");
        }
        for (index, (knob, value)) in self.changes.iter().enumerate() {
            write!(f, "{}{knob} {value}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_told_by_what_they_change() {
        assert_eq!(Candidate::default().to_string(), "default");
        let mut candidate = Candidate::of(Knob::SlabBytes, Value::Whole(65_536));
        candidate.changes.insert(Knob::FanOutCores, Value::Cores(Cores::List(vec![1, 3])));
        candidate.changes.insert(Knob::SlabsPerConnection, Value::Part(1.6));
        let said = "fan_out_cores [1, 3], slab_bytes 65536, slabs_per_connection 1.6";
        assert_eq!(candidate.to_string(), said);
        assert_eq!(
            serde_json::to_string(&candidate).unwrap(),
            r#"{"fan_out_cores":[1,3],"slab_bytes":65536,"slabs_per_connection":1.6}"#
        );
    }

    #[test]
    fn every_knob_has_a_name_of_its_own() {
        for knob in Knob::ALL {
            assert_eq!(Knob::named(knob.name()), Some(knob));
        }
        assert_eq!(Knob::named("tile_senders"), None);
    }
}
