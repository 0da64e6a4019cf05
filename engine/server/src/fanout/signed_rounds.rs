//! Ends of accountable rounds for the tests of who sends them.

use crate::accountable::{Accounting, Book, RoundOf, SignedRound};
use crate::accounts::Directory;
use crate::roster::Roster;
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::sync::Arc;
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{GroupId, MemberIndex, RoundNumber, ServerSide, UserId};
use twincast_protocol::wire::{SignedRoot, SignedRoundEnd};

/// Whose rounds they are.
pub(super) const GROUP: GroupId = GroupId(1);
/// Bytes of the frame for each user of a connection.
pub(super) const USER_BYTES: usize = 96;

/// A round of one slot in which some are present.
pub(super) fn signed_round(
    roster: &Arc<Roster>,
    round: RoundNumber,
    rng: &mut Xoshiro256PlusPlus,
) -> Arc<SignedRound> {
    let accounting = Accounting {
        group: GROUP,
        side: ServerSide::One,
        signing: SigningKey::from_seed(&[7; 32]),
        accounts: Arc::new(Directory::default()),
        #[cfg(feature = "fault-swap-half")]
        fault: None,
    };
    let (members, tiles) = (roster.members(), roster.members().div_ceil(64));
    let select = (0..tiles).map(|_| (0..members).map(|_| rng.random()).collect()).collect();
    let book = Book::new(&Arc::new(accounting), roster, 1, 64, select);
    let of = RoundOf {
        round,
        present: (0..tiles).map(|tile| rng.random::<u64>() >> (64 - (members - 64 * tile).min(64))).collect(),
        halves: (0..members).map(|_| [rng.random(), rng.random()]).collect(),
        signatures: vec![[0; 64]; members],
        unagreed: 0,
    };
    Arc::new(SignedRound::new(book, of))
}

/// The frame that a connection of these users is sent.
pub(super) fn frame_of(signed: &SignedRound, users: &[UserId]) -> Vec<u8> {
    let members = signed.roster().indices(users);
    let root = |member: &MemberIndex| {
        let (root, signature) = signed.delivery(*member, &mut Vec::new());
        SignedRoot { root, signature }
    };
    let end = SignedRoundEnd {
        end: signed.end(members.len()),
        present: signed.present().to_vec(),
        receipt: *signed.receipt(),
        roots: members.iter().map(root).collect(),
    };
    end.frame()
}
