//! Hash trees with paths: one leaf can be shown to be under a root without the others.
//!
//! The tree is that of RFC 6962 (section 2.1): SHA-256, node prefix 1, and the left part of a node is the largest power of
//! two below its leaves. Who makes the leaves gives them a prefix of their own. 64 consecutive leaves from a multiple of 64
//! on are a whole subtree, so a root can be made from the hashes of such groups, and a path from one group and those
//! hashes.

use crate::statements::Hash;
use sha2::{Digest as _, Sha256};

/// Leaves of a group: a subtree that is hashed as one.
pub const GROUP_LEAVES: usize = 64;

/// The hash of the tree over these digests, in their order: of leaves, or of groups' hashes. Groups of 64 give the same
/// root as their leaves, whatever their number.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn tree_hash(digests: &[Hash]) -> Hash {
    match digests {
        [] => panic!("a tree has leaves"),
        [only] => *only,
        _ => {
            let (left, right) = digests.split_at(left_leaves(digests.len()));
            node(&tree_hash(left), &tree_hash(right))
        }
    }
}

/// How many hashes the path of a leaf has, among `count` leaves.
///
/// # Panics
/// If there is no such leaf.
#[must_use]
pub fn path_hashes(index: usize, count: usize) -> usize {
    assert!(index < count, "leaf {index} of {count}");
    let (mut index, mut count, mut hashes) = (index, count, 0);
    while count > 1 {
        let left = left_leaves(count);
        (index, count) = if index < left { (index, left) } else { (index - left, count - left) };
        hashes += 1;
    }
    hashes
}

/// The path of a leaf: the hashes beside its way to the root, from the leaf upwards.
///
/// # Panics
/// If there is no such leaf.
#[must_use]
pub fn path(digests: &[Hash], index: usize) -> Vec<Hash> {
    let mut path = Vec::with_capacity(path_hashes(index, digests.len()));
    let (mut digests, mut index) = (digests, index);
    while digests.len() > 1 {
        let (left, right) = digests.split_at(left_leaves(digests.len()));
        if index < left.len() {
            path.push(tree_hash(right));
            digests = left;
        } else {
            path.push(tree_hash(left));
            index -= left.len();
            digests = right;
        }
    }
    path.reverse();
    path
}

/// The path of a leaf, from the leaves of its own group of 64 and the hashes of all groups.
///
/// # Panics
/// If there is no such leaf, or no such group.
#[must_use]
pub fn path_in_groups(group_leaves: &[Hash], groups: &[Hash], index: usize) -> Vec<Hash> {
    let mut all = path(group_leaves, index % GROUP_LEAVES);
    all.extend(path(groups, index / GROUP_LEAVES));
    all
}

/// The root of the tree of `count` leaves whose leaf `index` is `leaf`, if `path` is that leaf's; none if there is no such
/// leaf, or its path has another length.
#[must_use]
pub fn root_of(leaf: &Hash, index: usize, count: usize, path: &[Hash]) -> Option<Hash> {
    if index >= count || path.len() != path_hashes(index, count) {
        return None;
    }
    Some(climb(leaf, index, count, path))
}

fn climb(leaf: &Hash, index: usize, count: usize, path: &[Hash]) -> Hash {
    let Some((beside, below)) = path.split_last() else { return *leaf };
    let left = left_leaves(count);
    if index < left {
        node(&climb(leaf, index, left, below), beside)
    } else {
        node(beside, &climb(leaf, index - left, count - left, below))
    }
}

/// Leaves in the left part of a node over `count`.
fn left_leaves(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|leaf| Sha256::digest(leaf.to_le_bytes()).into()).collect()
    }

    #[test]
    fn every_leaf_has_a_path_to_the_root_and_to_no_other() {
        for count in (1..=70).chain([127, 128, 129, 200]) {
            let leaves = leaves(count);
            let root = tree_hash(&leaves);
            let groups: Vec<Hash> = leaves.chunks(GROUP_LEAVES).map(tree_hash).collect();
            for (index, leaf) in leaves.iter().enumerate() {
                let path = path(&leaves, index);
                assert_eq!(path.len(), path_hashes(index, count));
                assert_eq!(root_of(leaf, index, count, &path), Some(root), "leaf {index} of {count}");
                let first = index / GROUP_LEAVES * GROUP_LEAVES;
                let group = &leaves[first..count.min(first + GROUP_LEAVES)];
                assert_eq!(path_in_groups(group, &groups, index), path, "leaf {index} of {count}");
                let other = (index + 1) % count;
                if count > 1 {
                    assert_ne!(
                        root_of(leaf, other, count, &path),
                        Some(root),
                        "{index} as {other} of {count}"
                    );
                    assert_ne!(root_of(&leaves[other], index, count, &path), Some(root));
                }
            }
        }
    }

    #[test]
    fn paths_of_a_wrong_length_and_leaves_that_are_none_have_no_root() {
        let leaves = leaves(5);
        let mut path = path(&leaves, 4);
        assert_eq!(path.len(), 1);
        assert_eq!(root_of(&leaves[4], 5, 5, &path), None);
        assert_eq!(root_of(&leaves[4], 3, 5, &path), None);
        path.push([0; 32]);
        assert_eq!(root_of(&leaves[4], 4, 5, &path), None);
        assert_eq!(root_of(&leaves[4], 0, 0, &[]), None);
    }
}
