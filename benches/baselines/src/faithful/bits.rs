//! Session-key bits: for each sender a bit for each recipient, at each of the two servers.

use crate::Setup;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

/// All hosts draw the same vectors, so that each can tell what every sender's bits select.
const SEED: u64 = 0x5eed_b175;

/// Bytes of one sender's vector.
pub(super) fn vector_bytes(setup: &Setup) -> usize {
    setup.members.div_ceil(8) as usize
}

/// A recipient's bit in a vector.
pub(super) fn bit(vector: &[u8], recipient: u32) -> usize {
    usize::from(vector[recipient as usize / 8] >> (recipient % 8) & 1)
}

/// What a sender dials at one server: uniform at server 0, and the same with its recipient's bit flipped at server 1.
pub(super) fn vector(setup: &Setup, server: usize, sender: u32) -> Vec<u8> {
    let mut vector = vec![0; vector_bytes(setup)];
    Xoshiro256PlusPlus::seed_from_u64(SEED ^ u64::from(sender)).fill_bytes(&mut vector);
    if server == 1 {
        let recipient = setup.recipient_of(sender);
        vector[recipient as usize / 8] ^= 1 << (recipient % 8);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_differ_in_the_recipients_bit_only() {
        let setup = Setup { members: 21, senders: 21, hosts: 3, share_bytes: 16 };
        for sender in 0..21 {
            let [first, second] = [0, 1].map(|server| vector(&setup, server, sender));
            let differ: Vec<u32> = (0..21).filter(|user| bit(&first, *user) != bit(&second, *user)).collect();
            assert_eq!(differ, [(sender + 1) % 21]);
        }
        assert_ne!(vector(&setup, 0, 3), vector(&setup, 0, 4));
    }
}
