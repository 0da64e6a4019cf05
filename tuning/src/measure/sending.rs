//! Gathering cells, and sending over loopback.

use super::{cpu_s, median_s};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Instant;
use twincast_protocol::context::Purpose;
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_server::roster::Roster;
use twincast_server::tile::{SelectWords, Tile, TileHead};

/// A slab of the egress.
const SLAB_BYTES: usize = 256 << 10;
/// Members whose cells are gathered in turn.
const MEMBERS: usize = 1_000;
/// Slabs of one pass.
const SLABS: usize = 8;
/// Bytes that are sent at the least, and between two looks at the clock.
const STEP: usize = 16;
const SEED: u64 = 1;

/// What one sender and one receiver of ready bytes took.
pub(super) struct Sent {
    pub(super) send_cpu_s_per_gb: f64,
    pub(super) receive_cpu_s_per_gb: f64,
    pub(super) gb_per_s: f64,
}

/// Gathers one tile's cells into slabs: 10^9 bytes a second.
pub(super) fn gather(seconds: f64) -> f64 {
    let tile = tile();
    let (mut slab, mut member) = (vec![0; SLAB_BYTES], 0);
    let pass_s = median_s(seconds, || {
        for _ in 0..SLABS {
            let mut at = 0;
            while at < slab.len() {
                at += tile.gather(MemberIndex(member as u32), 0, &mut slab[at..]);
                member = (member + 1) % MEMBERS;
            }
            black_box(&mut slab);
        }
    });
    (SLABS * SLAB_BYTES) as f64 / pass_s / 1e9
}

fn tile() -> Tile {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let head = TileHead {
        epoch: Epoch(0),
        round: RoundNumber(1),
        purpose: Purpose::Message,
        slot: SlotIndex(0),
        tile: 0,
        first_sender: MemberIndex(0),
        senders: 64,
        present: u64::MAX,
    };
    let mut tile = Tile::for_messages(FrameBytes::DEFAULT.share_bytes());
    let words = (0..MEMBERS).map(|_| rng.next_u64()).collect();
    tile.begin_messages(head, Roster::initial(GroupId(0), Epoch(0), MEMBERS), SelectWords::new(words));
    (0..64).for_each(|sender| rng.fill_bytes(tile.row_mut(sender)));
    tile
}

/// Sends ready bytes over loopback for so long, out of one buffer, to a thread that discards them.
pub(super) fn loopback(seconds: f64) -> io::Result<Sent> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut out = TcpStream::connect(listener.local_addr()?)?;
    let (mut into, _) = listener.accept()?;
    let receiver = std::thread::spawn(move || -> io::Result<f64> {
        let (mut buffer, start) = (vec![0; SLAB_BYTES], cpu_s());
        while into.read(&mut buffer)? > 0 {}
        Ok(cpu_s() - start)
    });
    let (buffer, begin, start) = (vec![7; SLAB_BYTES], Instant::now(), cpu_s());
    let mut bytes = 0;
    while bytes == 0 || begin.elapsed().as_secs_f64() < seconds {
        for _ in 0..STEP {
            out.write_all(&buffer)?;
            bytes += SLAB_BYTES;
        }
    }
    let sent_s = cpu_s() - start;
    drop(out);
    let received_s = receiver.join().expect("the receiver reads and counts")?;
    let gb = bytes as f64 / 1e9;
    Ok(Sent {
        send_cpu_s_per_gb: sent_s.max(1e-9) / gb,
        receive_cpu_s_per_gb: received_s.max(1e-9) / gb,
        gb_per_s: gb / begin.elapsed().as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_one() {
        let sent = loopback(0.0).unwrap();
        for figure in [gather(0.0), sent.send_cpu_s_per_gb, sent.receive_cpu_s_per_gb, sent.gb_per_s] {
            assert!(figure.is_finite() && figure > 0.0);
        }
    }
}
