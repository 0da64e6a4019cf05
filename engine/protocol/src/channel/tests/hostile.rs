//! What comes of handshakes with the wrong party, or changed on their way.

use super::against_snow::{Snows, message, prologue, take};
use super::*;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::{Builder, types};

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

/// Every way to write a point of small order, of the curve and of its twist, but for the highest bit: of orders 1 or 2, 4, 8
/// and 8, and those that are not below the prime.
fn small_orders() -> [[u8; KEY_BYTES]; 7] {
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    .map(|digits| hex::decode(digits).unwrap().try_into().unwrap())
}

/// Points of small order: whoever sends one knows the secret that should come of it.
#[test]
fn keys_that_agree_with_anybody_agree_with_nobody() {
    let parties = parties(7);
    assert!(StaticKey::agrees_with(&parties.server.public()));
    for small in small_orders() {
        let mut high = small;
        high[KEY_BYTES - 1] |= 0x80;
        assert!(!StaticKey::agrees_with(&small) && !StaticKey::agrees_with(&high));
        assert!(parties.server.agree(&small).is_none());
        // As the pinned key.
        let initiator = Initiator::new(&parties.client, small, Cipher::AesGcm, Purpose::Client, SIDE);
        assert_eq!(initiator.first()[PREAMBLE_BYTES..], [0; FIRST_BYTES - PREAMBLE_BYTES]);
        assert_eq!(initiator.second(&[0; SECOND_BYTES]).err().map(|_| ()), Some(()));
        // As the responder's ephemeral key.
        let asked = self::initiator(&parties, Cipher::AesGcm);
        let mut second = responder(&parties).first(&asked.first()).unwrap();
        second[LENGTH_BYTES..][..KEY_BYTES].copy_from_slice(&small);
        assert_eq!(asked.second(&second).err(), Some(ChannelError::NotThePinnedKey));
        // As the initiator's ephemeral key.
        let mut first = super::hostile::initiator(&parties, Cipher::AesGcm).first();
        first[PREAMBLE_BYTES + LENGTH_BYTES..][..KEY_BYTES].copy_from_slice(&small);
        assert_eq!(responder(&parties).first(&first), Err(ChannelError::NotForThisKey));
    }
}

/// The X25519 of somebody whose static key is a point of small order, and who knows the secrets that come of it.
struct Liar {
    truth: Box<dyn types::Dh>,
    small: [u8; KEY_BYTES],
    is_static: bool,
}

impl types::Dh for Liar {
    fn name(&self) -> &'static str {
        self.truth.name()
    }
    fn pub_len(&self) -> usize {
        KEY_BYTES
    }
    fn priv_len(&self) -> usize {
        KEY_BYTES
    }
    fn set(&mut self, private: &[u8]) {
        self.is_static = true;
        self.truth.set(private);
    }
    fn generate(&mut self, random: &mut dyn types::Random) -> Result<(), snow::Error> {
        self.truth.generate(random)
    }
    fn pubkey(&self) -> &[u8] {
        if self.is_static { &self.small } else { self.truth.pubkey() }
    }
    fn privkey(&self) -> &[u8] {
        self.truth.privkey()
    }
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        if self.is_static {
            out[..KEY_BYTES].fill(0);
            return Ok(());
        }
        self.truth.dh(public, out)
    }
}

struct Lies([u8; KEY_BYTES]);

impl CryptoResolver for Lies {
    fn resolve_rng(&self) -> Option<Box<dyn types::Random>> {
        Snows.resolve_rng()
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn types::Dh>> {
        let truth = Snows.resolve_dh(choice)?;
        Some(Box::new(Liar { truth, small: self.0, is_static: false }))
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn types::Hash>> {
        Snows.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn types::Cipher>> {
        Snows.resolve_cipher(choice)
    }
}

/// A peer who says that its own static key is one of these has made everything right, and is refused.
#[test]
fn nobody_has_a_static_key_of_small_order() {
    let parties = parties(9);
    for small in small_orders() {
        let mut responder = responder(&parties);
        let (cipher, public) = (Cipher::AesGcm, parties.server.public());
        let prologue = prologue(cipher, 0, 1);
        let name = "Noise_XK_25519_AESGCM_SHA256".parse().unwrap();
        let builder = Builder::with_resolver(name, Box::new(Lies(small))).prologue(&prologue).unwrap();
        let builder = builder.local_private_key(&[1; KEY_BYTES]).unwrap();
        let mut liar = builder.remote_public_key(&public).unwrap().build_initiator().unwrap();
        let preamble = [&MAGIC[..], &[VERSION, cipher.code()]].concat();
        let first = [preamble, message(&mut liar)].concat().try_into().unwrap();
        take(&mut liar, &responder.first(&first).unwrap());
        let third = message(&mut liar).try_into().unwrap();
        assert_eq!(responder.third(&third).err(), Some(ChannelError::HandshakeChanged));
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
        // Chance may draw the last byte that it has.
        first[FIRST_BYTES - 1] = good[FIRST_BYTES - 1] ^ rng.random_range(1..=255u8);
        assert_eq!(responder(&parties).first(&first), Err(ChannelError::NotForThisKey));
    }
}
