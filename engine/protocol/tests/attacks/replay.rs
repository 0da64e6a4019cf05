//! Both cells of one round handed out in another: by both servers together, or by somebody on both lines.

use twincast_protocol::context::Context;
use twincast_protocol::format::{Opener, Profile, Scheme};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::receive::{Expected, TileCells};

use crate::common::Stream;
use crate::world::{CONTEXT, Dialled, TEXT, format};

#[test]
fn cells_of_another_round_are_noticed() {
    let others = [
        Context { group: GroupId(9), ..CONTEXT },
        Context { epoch: Epoch(9), ..CONTEXT },
        Context { round: RoundNumber(9), ..CONTEXT },
        Context { sender: MemberIndex(9), ..CONTEXT },
        Context { slot: SlotIndex(9), ..CONTEXT },
    ];
    for profile in Profile::ALL {
        let format = format(profile, Scheme::Plain);
        let mut opener = Opener::new(format);
        let mut rng = Stream::new(&[9; 32]);
        let dialled = Dialled::new(format, 8, &[MemberIndex(2)], &mut rng);
        let round = dialled.send(TEXT, &mut rng);
        let (mut noticed, mut tries) = (0, 0);
        for (member, other) in dialled.members().flat_map(|member| others.map(|other| (member, other))) {
            let tile = TileCells { count: 1, cells: round.cells(dialled.bits(member)), present: [1, 1] };
            assert_eq!(opener.open(&CONTEXT, &tile, Expected::UNCONFIRMED).tampered, 0);
            tries += 1;
            noticed += opener.open(&other, &tile, Expected::UNCONFIRMED).tampered;
        }
        println!("{profile}: {noticed} of {tries} cells taken elsewhere noticed");
        assert_eq!(noticed, if profile.is_paper() { 0 } else { tries }, "{profile}");
    }
}
