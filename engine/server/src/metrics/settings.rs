//! What the configuration says, as far as a counter means something only beside it.

use crate::config::Config;

/// A value that stands from the start on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// `{…}`, or nothing.
    pub(super) labels: String,
    pub(super) value: u64,
}

/// The rows of a configuration; those of one name are neighbours.
pub(crate) fn settings(config: &Config) -> Vec<Setting> {
    let plain = |name, help, value: u64| Setting { name, help, labels: String::new(), value };
    let mut rows = vec![
        Setting {
            name: "twincast_build_info",
            help: "1; the labels say which version this is, and which of the two servers.",
            labels: format!("{{version=\"{}\",side=\"{}\"}}", env!("CARGO_PKG_VERSION"), config.side),
            value: 1,
        },
        plain(
            "twincast_connections_max",
            "limits.connections_max: connections that may be there at a time.",
            config.limits.connections_max as u64,
        ),
        plain(
            "twincast_group_memory_planned_bytes",
            "What all groups take at most, worked out at the start.",
            config.group_memory_bytes(),
        ),
        plain(
            "twincast_group_memory_max_bytes",
            "limits.group_memory_bytes_max: what all groups may take.",
            config.limits.group_memory_bytes_max,
        ),
        plain(
            "twincast_slab_bytes",
            "fan_out.slab_bytes: the size of a slab.",
            config.fan_out.slab_bytes as u64,
        ),
        plain(
            "twincast_core_slabs",
            "fan_out.slabs: slabs of each fan-out core.",
            config.fan_out.slabs as u64,
        ),
        plain(
            "twincast_answer_threads",
            "answer.threads, 0 where no group's delivery is `answer`.",
            config.answer_threads() as u64,
        ),
    ];
    rows.extend(config.groups.iter().map(|group| Setting {
        name: "twincast_group_members_max",
        help: "groups.members: members that an epoch of the group may have.",
        labels: format!("{{group=\"{}\"}}", group.id),
        value: group.members.into(),
    }));
    rows.extend(config.groups.iter().map(|group| Setting {
        name: "twincast_group_slots",
        help: "groups.slots: messages of a member in a round, or its queries.",
        labels: format!("{{group=\"{}\"}}", group.id),
        value: group.slots.into(),
    }));
    rows
}
