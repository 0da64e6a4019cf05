//! What the two servers' LINK_HELLOs say of their groups, side by side: a group that is not the same at both serves
//! nobody, and the operator is told which, and what to compare.

use std::collections::BTreeMap;
use std::fmt::Write;
use twincast_protocol::wire::link::LinkGroup;

/// Groups that one line of the log names; of further ones it says how many there are.
const NAMED_MAX: usize = 16;

/// The groups that are not the same at both servers, ascending, by what differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// The settings, or somebody's verifying key.
    settings: Vec<u32>,
    /// The members of the epoch that both are in.
    members: Vec<u32>,
    /// The other server does not serve them.
    here: Vec<u32>,
    /// This one does not.
    there: Vec<u32>,
}

impl Differences {
    /// Compares how groups stand here and there. Epochs and rounds may differ: the two come together from them.
    pub(super) fn between<'a>(
        ours: impl Iterator<Item = &'a LinkGroup>,
        theirs: &'a [LinkGroup],
    ) -> Differences {
        let mut theirs: BTreeMap<u32, _> = theirs.iter().map(|group| (group.group.get(), group)).collect();
        let mut differences = Differences::default();
        let mut ours: Vec<_> = ours.collect();
        ours.sort_unstable_by_key(|group| group.group.get());
        for ours in ours {
            let group = ours.group.get();
            match theirs.remove(&group) {
                None => differences.here.push(group),
                Some(theirs) if theirs.settings_hash != ours.settings_hash => {
                    differences.settings.push(group);
                }
                Some(theirs) if theirs.epoch == ours.epoch && theirs.roster_hash != ours.roster_hash => {
                    differences.members.push(group);
                }
                Some(_) => {}
            }
        }
        differences.there = theirs.into_keys().collect();
        differences
    }

    /// How many groups differ.
    pub(super) fn count(&self) -> usize {
        [&self.settings, &self.members, &self.here, &self.there].map(Vec::len).iter().sum()
    }

    /// Warns of them, one line for each kind: what a peer lists does not fill the log.
    pub(super) fn tell(&self) {
        if let Some(groups) = named(&self.settings) {
            tracing::warn!(
                groups,
                "the two servers' settings differ, and nobody is served in these groups: compare what `twincast-server \
                 --check FILE` prints at both servers, each group's settings and members' keys, and each server's own \
                 verifying key with the other one's link.peer_verifying_key"
            );
        }
        if let Some(groups) = named(&self.members) {
            tracing::warn!(
                groups,
                "the two servers have other members in one epoch, and nobody is served in these groups: restart both \
                 servers"
            );
        }
        if let Some(groups) = named(&self.here) {
            tracing::warn!(
                groups,
                "the other server does not have these groups, and nobody is served in them: compare both servers' [[groups]]"
            );
        }
        if let Some(groups) = named(&self.there) {
            tracing::warn!(
                groups,
                "the other server has groups that are not served here: compare both servers' [[groups]]"
            );
        }
    }
}

/// The first of some groups by number, and how many there are more. None: there is none.
fn named(groups: &[u32]) -> Option<String> {
    let (first, rest) = groups.split_first()?;
    let mut text = first.to_string();
    for group in rest.iter().take(NAMED_MAX - 1) {
        let _ = write!(text, ", {group}");
    }
    if let Some(more) = groups.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        let _ = write!(text, " and {more} more");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: u32, epoch: u32, settings: u8, members: u8) -> LinkGroup {
        LinkGroup {
            group: number.into(),
            epoch: epoch.into(),
            open: 0,
            reserved: [0; 7],
            round: 0.into(),
            settings_hash: [settings; 32],
            roster_hash: [members; 32],
        }
    }

    #[test]
    fn each_group_that_differs_is_found_by_what_differs() {
        let ours = [7, 5, 3, 1, 0].map(|number| group(number, 2, 1, 1));
        let same = Differences::between(ours.iter(), &[0, 1, 3, 5, 7].map(|number| group(number, 2, 1, 1)));
        assert_eq!((&same, same.count()), (&Differences::default(), 0));
        let theirs = [
            group(0, 2, 9, 9),
            group(1, 2, 1, 9),
            // Another epoch has other members, and is no fault of anybody.
            group(3, 4, 1, 9),
            group(4, 2, 1, 1),
            group(7, 3, 9, 1),
        ];
        let differences = Differences::between(ours.iter(), &theirs);
        let expected = Differences { settings: vec![0, 7], members: vec![1], here: vec![5], there: vec![4] };
        assert_eq!((&differences, differences.count()), (&expected, 5));
    }

    #[test]
    fn a_line_names_the_first_groups_and_counts_the_others() {
        let groups = |count: u32| named(&(0..count).collect::<Vec<_>>());
        assert_eq!(groups(0), None);
        assert_eq!(groups(2).unwrap(), "0, 1");
        assert!(groups(16).unwrap().ends_with("14, 15"));
        assert!(groups(20_000).unwrap().ends_with("14, 15 and 19984 more"));
    }
}
