use super::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const MEMBERS: usize = 130;

fn head(senders: usize) -> TileHead {
    TileHead { round: RoundNumber(3), senders, ..TileHead::UNUSED }
}

#[test]
fn what_chose_the_halves_goes_with_its_epoch() {
    let words: SelectWords = (0..130).collect();
    let mut pool = TilePool::new(2, || Tile::for_messages(64));
    for _ in 0..2 {
        let mut tile = pool.take().unwrap();
        unsealed(&mut tile).begin_messages(head(64), roster(), words.clone());
        pool.give(tile);
    }
    let held = pool.tiles[0].clone();
    assert_eq!(Arc::strong_count(&words.0), 3);
    pool.forget_choices();
    assert_eq!(Arc::strong_count(&words.0), 2, "a reader has the other tile");
    drop(held);
    pool.forget_choices();
    assert_eq!(Arc::strong_count(&words.0), 1);

    let mut tile = Tile::for_choices(4, 3, 16);
    tile.choose(5, &[1, 0, 2, 0, 3, 0]);
    tile.forget_choices();
    assert!(matches!(&tile.source, Source::Choice(choices) if choices.iter().all(|word| *word == 0)));
}

/// What `gather` is to write, one cell after the other.
fn naive(tile: &Tile, user: usize) -> Vec<u8> {
    let mut cells = Vec::new();
    for sender in 0..tile.head.senders {
        let cell = match &tile.source {
            Source::Bit(select) => 2 * sender + (select[user] >> sender & 1) as usize,
            Source::Choice(choices) => {
                tile.halves * sender + usize::from(choices[user * TILE_SENDERS + sender])
            }
            Source::User { members } => sender * members + user,
        };
        cells.extend_from_slice(&tile.bytes[cell * tile.cell_bytes..][..tile.cell_bytes]);
    }
    cells
}

fn roster() -> Arc<Roster> {
    Roster::initial(GroupId(1), Epoch(0), MEMBERS)
}

#[derive(Clone, Copy)]
enum Kind {
    Bits,
    Choices,
    Parts,
}

fn filled(cell_bytes: usize, senders: usize, kind: Kind, rng: &mut Xoshiro256PlusPlus) -> Tile {
    let mut tile = match kind {
        Kind::Parts => {
            let mut tile = Tile::for_parts(TILE_SENDERS, MEMBERS, cell_bytes);
            tile.begin_parts(head(senders), roster());
            tile
        }
        Kind::Choices => {
            let mut tile = Tile::for_choices(6, MEMBERS, cell_bytes);
            for sender in 0..senders {
                let words: Vec<u8> =
                    (0..MEMBERS).flat_map(|_| rng.random_range(0_u16..6).to_le_bytes()).collect();
                tile.choose(sender, &words);
            }
            tile.begin_messages(head(senders), roster(), SelectWords::new(Vec::new()));
            tile
        }
        Kind::Bits => {
            let mut tile = Tile::for_messages(cell_bytes);
            tile.begin_messages(head(senders), roster(), (0..MEMBERS).map(|_| rng.random()).collect());
            tile
        }
    };
    for sender in 0..senders {
        rng.fill_bytes(tile.row_mut(sender));
        tile.set_present(sender);
    }
    tile
}

#[test]
fn gather_agrees_with_the_naive_lookup_from_every_byte() {
    for seed in 0..72 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let cell_bytes = [64, 336, 96, 771, 1, 772, 672, 80][seed as usize % 8];
        let senders = rng.random_range(1..=64);
        let kind = [Kind::Bits, Kind::Choices, Kind::Parts][seed as usize / 8 % 3];
        let tile = filled(cell_bytes, senders, kind, &mut rng);
        for user in [0, 1, 63, 64, MEMBERS - 1] {
            let expected = naive(&tile, user);
            let (mut got, mut from) = (vec![0; expected.len()], 0);
            while from < got.len() {
                let room = rng.random_range(1..=2 * cell_bytes + 1).min(got.len() - from);
                let wrote = tile.gather(MemberIndex(user as u32), from, &mut got[from..from + room]);
                assert_eq!(wrote, room, "seed {seed}");
                from += wrote;
            }
            assert_eq!(got, expected, "seed {seed}, user {user}");
        }
    }
}

#[test]
fn the_cells_of_absent_senders_are_zeros() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut tile = filled(336, 5, Kind::Bits, &mut rng);
    tile.head.present = 0b10110;
    tile.clear_absent();
    let mut cells = vec![1; 5 * 336];
    tile.gather(MemberIndex(7), 0, &mut cells);
    for (sender, cell) in cells.chunks(336).enumerate() {
        assert_eq!(cell.iter().all(|&byte| byte == 0), tile.head.present >> sender & 1 == 0);
    }
}

#[test]
fn a_tile_comes_back_only_when_nobody_holds_it() {
    let mut pool = TilePool::new(2, || Tile::for_messages(64));
    let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
    assert!(pool.take().is_none());
    let held = first.clone();
    pool.give(first);
    assert!(pool.take().is_none() && !pool.has_free(1));
    pool.give(second);
    assert!(pool.has_free(1) && !pool.has_free(2));
    drop(held);
    assert!(pool.has_free(2) && pool.take().is_some());
}

#[test]
fn no_cell_shows_in_debug() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    assert!(format!("{:?}", filled(64, 2, Kind::Bits, &mut rng)).len() < 300);
}
