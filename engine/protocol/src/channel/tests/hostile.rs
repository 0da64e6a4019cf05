//! What comes of handshakes with the wrong party, or changed on their way.

use super::*;

struct Parties {
    client: StaticKey,
    server: StaticKey,
}

fn parties(seed: u64) -> Parties {
    let mut rng = StdRng::seed_from_u64(seed);
    Parties { client: StaticKey::random(&mut rng), server: StaticKey::random(&mut rng) }
}

fn initiator(parties: &Parties, cipher: Cipher) -> Initiator {
    Initiator::new(&parties.client, parties.server.public(), cipher, Purpose::Client, SIDE)
}

fn responder(parties: &Parties) -> Responder {
    Responder::new(&parties.server, Purpose::Client, SIDE)
}

#[test]
fn a_server_without_the_pinned_key_neither_understands_nor_answers() {
    let parties = parties(1);
    for cipher in Cipher::ALL {
        let first = initiator(&parties, cipher).first();
        let other = StaticKey::random(&mut rand::rng());
        let refused = Responder::new(&other, Purpose::Client, SIDE).first(&first);
        assert_eq!(refused, Err(ChannelError::NotForThisKey));
        // An answer of the right server to somebody else is no answer.
        let second = responder(&parties).first(&initiator(&parties, cipher).first()).unwrap();
        let refused = initiator(&parties, cipher).second(&second);
        assert_eq!(refused.err(), Some(ChannelError::NotThePinnedKey));
    }
}

#[test]
fn a_handshake_is_for_one_purpose_and_side() {
    let parties = parties(2);
    let first = initiator(&parties, Cipher::AesGcm).first();
    for (purpose, side) in
        [(Purpose::Client, SIDE.other()), (Purpose::Link, SIDE), (Purpose::Link, SIDE.other())]
    {
        let refused = Responder::new(&parties.server, purpose, side).first(&first);
        assert_eq!(refused, Err(ChannelError::NotForThisKey), "{purpose:?} {side:?}");
    }
    assert!(responder(&parties).first(&first).is_ok());
}

#[test]
fn every_bit_of_the_first_message_counts() {
    let parties = parties(3);
    for cipher in Cipher::ALL {
        let first = initiator(&parties, cipher).first();
        for bit in 0..FIRST_BYTES * 8 {
            let mut changed = first;
            changed[bit / 8] ^= 1 << (bit % 8);
            let refused = responder(&parties).first(&changed).expect_err("it was changed");
            match bit / 8 {
                0..6 => assert_eq!(refused, ChannelError::NotAChannel),
                6 => assert_eq!(refused, ChannelError::UnknownVersion { version: changed[6] }),
                7 => assert_eq!(refused, ChannelError::UnknownCipher { code: changed[7] }),
                8..10 => assert!(matches!(refused, ChannelError::HandshakeLength { expected: 48, .. })),
                _ => assert_eq!(refused, ChannelError::NotForThisKey, "{cipher:?}, bit {bit}"),
            }
        }
        // The other cipher is known, and was not asked for.
        let mut changed = first;
        changed[7] ^= 3;
        assert_eq!(responder(&parties).first(&changed), Err(ChannelError::NotForThisKey));
    }
}

#[test]
fn every_bit_of_the_answer_counts() {
    let parties = parties(4);
    for cipher in Cipher::ALL {
        for bit in 0..SECOND_BYTES * 8 {
            let initiator = initiator(&parties, cipher);
            let mut second = responder(&parties).first(&initiator.first()).unwrap();
            second[bit / 8] ^= 1 << (bit % 8);
            let refused = initiator.second(&second).expect_err("it was changed");
            match bit / 8 {
                0..2 => assert!(matches!(refused, ChannelError::HandshakeLength { expected: 48, .. })),
                _ => assert_eq!(refused, ChannelError::NotThePinnedKey, "{cipher:?}, bit {bit}"),
            }
        }
    }
}

#[test]
fn every_bit_of_the_last_message_counts() {
    let parties = parties(5);
    for cipher in Cipher::ALL {
        for bit in 0..THIRD_BYTES * 8 {
            let (initiator, mut responder) = (initiator(&parties, cipher), responder(&parties));
            let second = responder.first(&initiator.first()).unwrap();
            let (mut third, _) = initiator.second(&second).unwrap();
            third[bit / 8] ^= 1 << (bit % 8);
            let refused = responder.third(&third).expect_err("it was changed");
            match bit / 8 {
                0..2 => assert!(matches!(refused, ChannelError::HandshakeLength { expected: 64, .. })),
                _ => assert_eq!(refused, ChannelError::HandshakeChanged, "{cipher:?}, bit {bit}"),
            }
        }
    }
}

#[test]
fn a_last_message_of_another_handshake_is_refused() {
    let parties = parties(6);
    let (one, other) = (initiator(&parties, Cipher::AesGcm), initiator(&parties, Cipher::AesGcm));
    let (mut to_one, mut to_other) = (responder(&parties), responder(&parties));
    let second = to_one.first(&one.first()).unwrap();
    let (third, _) = one.second(&second).unwrap();
    to_other.first(&other.first()).unwrap();
    assert_eq!(to_other.third(&third).err(), Some(ChannelError::HandshakeChanged));
    assert!(to_one.third(&third).is_ok());
}

/// Points of small order: whoever sends one knows the secret that should come of it.
#[test]
fn keys_that_agree_with_anybody_agree_with_nobody() {
    let mut one = [0; KEY_BYTES];
    one[0] = 1;
    let order_8: [u8; KEY_BYTES] =
        hex::decode("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
            .unwrap()
            .try_into()
            .unwrap();
    let parties = parties(7);
    for small in [[0; KEY_BYTES], one, order_8] {
        assert!(parties.server.agree(&small).is_none());
        // As the pinned key.
        let initiator = Initiator::new(&parties.client, small, Cipher::AesGcm, Purpose::Client, SIDE);
        assert_eq!(initiator.first()[PREAMBLE_BYTES..], [0; FIRST_BYTES - PREAMBLE_BYTES]);
        assert_eq!(initiator.second(&[0; SECOND_BYTES]).err().map(|_| ()), Some(()));
        // As the initiator's ephemeral key.
        let mut first = super::hostile::initiator(&parties, Cipher::AesGcm).first();
        first[PREAMBLE_BYTES + LENGTH_BYTES..][..KEY_BYTES].copy_from_slice(&small);
        assert_eq!(responder(&parties).first(&first), Err(ChannelError::NotForThisKey));
    }
}

#[test]
fn whatever_comes_is_refused_and_never_panics() {
    use rand::{Rng as _, RngExt as _};
    let parties = parties(8);
    let mut rng = StdRng::seed_from_u64(8);
    for _ in 0..500 {
        let mut first = [0; FIRST_BYTES];
        rng.fill_bytes(&mut first);
        assert_eq!(responder(&parties).first(&first), Err(ChannelError::NotAChannel));
        let good = initiator(&parties, Cipher::ALL[rng.random_range(0..2)]).first();
        let kept = rng.random_range(PREAMBLE_BYTES + LENGTH_BYTES..FIRST_BYTES);
        first[..kept].copy_from_slice(&good[..kept]);
        assert_eq!(responder(&parties).first(&first), Err(ChannelError::NotForThisKey));
    }
}
