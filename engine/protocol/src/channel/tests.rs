use super::*;
use crate::ids::ServerSide;
use rand::SeedableRng;
use rand::rngs::StdRng;

mod against_snow;
mod hostile;
mod records;

const SIDE: ServerSide = ServerSide::One;

/// Both ends of a channel, and the handshake's messages.
struct Pair {
    here: Channel,
    there: Channel,
    messages: ([u8; FIRST_BYTES], [u8; SECOND_BYTES], [u8; THIRD_BYTES]),
}

fn pair(cipher: Cipher, seed: u64) -> Pair {
    let mut rng = StdRng::seed_from_u64(seed);
    let (client, server) = (StaticKey::random(&mut rng), StaticKey::random(&mut rng));
    let initiator = Initiator::with_rng(&client, server.public(), cipher, Purpose::Client, SIDE, &mut rng);
    let mut responder = Responder::with_rng(&server, Purpose::Client, SIDE, &mut rng);
    let first = initiator.first();
    let second = responder.first(&first).expect("it is for this key");
    let (third, here) = initiator.second(&second).expect("it is the pinned key");
    let there = responder.third(&third).expect("nobody changed it");
    assert_eq!((here.peer, there.peer), (server.public(), client.public()));
    assert_eq!(here.binding, there.binding);
    Pair { here, there, messages: (first, second, third) }
}

/// A record of these keys, as a stream has it.
fn record(keys: &mut SendKeys, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    keys.seal_all(plain, &mut out);
    assert_eq!(out.len(), plain.len() + RECORD_OVERHEAD_BYTES);
    out
}

#[test]
fn a_handshake_makes_a_channel_both_ways() {
    for cipher in Cipher::ALL {
        let Pair { mut here, mut there, .. } = pair(cipher, 1);
        for (from, to) in [(&mut here.send, &mut there.receive), (&mut there.send, &mut here.receive)] {
            for text in [&b"a"[..], &[7; 100], &[9; RECORD_PLAIN_BYTES_MAX]] {
                let sealed = record(from, text);
                let mut out = vec![0; text.len()];
                assert_eq!(to.open(&sealed[LENGTH_BYTES..], &mut out), Ok(text.len()));
                assert_eq!(out, text);
            }
        }
    }
}

#[test]
fn no_two_channels_have_a_binding_or_keys_in_common() {
    for cipher in Cipher::ALL {
        let (mut one, mut other) = (pair(cipher, 1), pair(cipher, 2));
        assert_ne!(one.here.binding, other.here.binding);
        let sealed = [&mut one.here.send, &mut one.there.send, &mut other.here.send, &mut other.there.send]
            .map(|keys| record(keys, &[0; 32]));
        for (index, record) in sealed.iter().enumerate() {
            assert!(sealed[..index].iter().all(|before| before != record));
        }
    }
}

#[test]
fn both_ends_hold_a_statement_to_the_same_binding() {
    let Pair { here, there, .. } = pair(Cipher::AesGcm, 3);
    let server = here.peer;
    assert_eq!(here.statement_binding(&server), there.statement_binding(&server));
    assert_eq!(here.require_peer(&server), Ok(()));
    assert_eq!(there.require_peer(&server), Err(ChannelError::UnexpectedPeer));
}

#[test]
fn a_handshake_is_a_function_of_its_keys_and_generator() {
    assert_eq!(pair(Cipher::AesGcm, 5).messages, pair(Cipher::AesGcm, 5).messages);
    // And by itself it draws another ephemeral key each time.
    let key = StaticKey::random(&mut rand::rng());
    let first = || Initiator::new(&key, key.public(), Cipher::AesGcm, Purpose::Link, SIDE).first();
    assert_ne!(first(), first());
}

#[test]
fn a_static_key_is_what_its_bytes_are() {
    let key = StaticKey::random(&mut StdRng::seed_from_u64(6));
    let again = StaticKey::from_bytes(&key.to_bytes());
    assert_eq!((key.public(), key.to_bytes()), (again.public(), again.to_bytes()));
    // RFC 7748, section 6.1.
    let alice = hex::decode("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a").unwrap();
    let alice = StaticKey::from_bytes(&alice.try_into().unwrap());
    let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    assert_eq!(hex::encode(alice.public()), public);
}

#[test]
fn debug_shows_no_key() {
    let mut rng = StdRng::seed_from_u64(7);
    let key = StaticKey::random(&mut rng);
    let initiator = Initiator::with_rng(&key, key.public(), Cipher::AesGcm, Purpose::Client, SIDE, &mut rng);
    let responder = Responder::with_rng(&key, Purpose::Client, SIDE, &mut rng);
    let Pair { here, .. } = pair(Cipher::AesGcm, 7);
    let shown = format!("{key:?} {initiator:?} {responder:?} {:?} {:?}", here.send, here.receive);
    let aead = "Aead { cipher: AesGcm, .. }";
    let keys =
        format!("Generations {{ newest: {aead}, before: None, generation: 0, rekey_records: 1048576 }}");
    let expected = format!(
        "StaticKey {{ .. }} Initiator {{ cipher: AesGcm, .. }} Responder {{ purpose: Client, side: One, begun: \
         false, .. }} SendKeys {{ keys: {keys}, next: 0 }} ReceiveKeys {{ keys: {keys}, next: 0, broken: false }}"
    );
    assert_eq!(shown, expected);
}
