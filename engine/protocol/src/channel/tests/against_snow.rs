//! Our handshake and our records against snow's own, with snow's own primitives.

use super::*;
use rand::Rng as _;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::{Builder, HandshakeState, TransportState, types};

/// Few enough that a test crosses it often.
const REKEY: u64 = 5;

/// snow's primitives, and this machine's generator.
pub(super) struct Snows;

struct Generator;

impl types::Random for Generator {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        rand::rng().fill_bytes(out);
        Ok(())
    }
}

impl CryptoResolver for Snows {
    fn resolve_rng(&self) -> Option<Box<dyn types::Random>> {
        Some(Box::new(Generator))
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn types::Dh>> {
        DefaultResolver.resolve_dh(choice)
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn types::Hash>> {
        DefaultResolver.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn types::Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

fn builder(cipher: Cipher) -> Builder<'static> {
    let name = match cipher {
        Cipher::AesGcm => "Noise_XK_25519_AESGCM_SHA256",
        Cipher::ChaChaPoly => "Noise_XK_25519_ChaChaPoly_SHA256",
    };
    Builder::with_resolver(name.parse().unwrap(), Box::new(Snows))
}

/// The prologue, spelled out as the protocol has it.
pub(super) fn prologue(cipher: Cipher, purpose: u8, side: u8) -> Vec<u8> {
    let code = if cipher == Cipher::AesGcm { 1 } else { 2 };
    [&b"twincast/channel/v1TWCAST"[..], &[1, code, purpose, side]].concat()
}

pub(super) fn message(state: &mut HandshakeState) -> Vec<u8> {
    let mut out = [0; 100];
    let bytes = state.write_message(&[], &mut out).unwrap();
    [&(bytes as u16).to_be_bytes()[..], &out[..bytes]].concat()
}

pub(super) fn take(state: &mut HandshakeState, message: &[u8]) {
    assert_eq!(state.read_message(&message[2..], &mut [0; 100]), Ok(0));
}

/// Our initiator with a responder that is snow's altogether.
fn our_initiator(cipher: Cipher) -> (Channel, TransportState) {
    let (client, server) = (StaticKey::random(&mut rand::rng()), StaticKey::random(&mut rand::rng()));
    let initiator = Initiator::new(&client, server.public(), cipher, Purpose::Client, ServerSide::Two);
    let (private, prologue) = (server.to_bytes(), prologue(cipher, 0, 2));
    let mut snows = builder(cipher)
        .prologue(&prologue)
        .unwrap()
        .local_private_key(&private[..])
        .unwrap()
        .build_responder()
        .unwrap();
    take(&mut snows, &initiator.first()[PREAMBLE_BYTES..]);
    let second = message(&mut snows).try_into().unwrap();
    let (third, channel) = initiator.second(&second).unwrap();
    take(&mut snows, &third);
    assert_eq!(snows.get_handshake_hash(), channel.binding);
    assert_eq!(snows.get_remote_static(), Some(&client.public()[..]));
    (channel, snows.into_transport_mode().unwrap())
}

/// Our responder with an initiator that is snow's altogether.
fn our_responder(cipher: Cipher) -> (Channel, TransportState) {
    let (client, server) = (StaticKey::random(&mut rand::rng()), StaticKey::random(&mut rand::rng()));
    let mut responder = Responder::new(&server, Purpose::Link, ServerSide::One);
    let (private, prologue, public) = (client.to_bytes(), prologue(cipher, 1, 1), server.public());
    let mut snows = builder(cipher)
        .prologue(&prologue)
        .unwrap()
        .local_private_key(&private[..])
        .unwrap()
        .remote_public_key(&public)
        .unwrap()
        .build_initiator()
        .unwrap();
    let preamble = [&MAGIC[..], &[VERSION, cipher.code()]].concat();
    let first = [preamble, message(&mut snows)].concat().try_into().unwrap();
    take(&mut snows, &responder.first(&first).unwrap());
    let channel = responder.third(&message(&mut snows).try_into().unwrap()).unwrap();
    assert_eq!(snows.get_handshake_hash(), channel.binding);
    assert_eq!(channel.peer, client.public());
    (channel, snows.into_transport_mode().unwrap())
}

#[test]
fn records_are_noise_transport_messages_both_ways_and_across_rekeys() {
    for cipher in Cipher::ALL {
        for (mut channel, mut snows) in [our_initiator(cipher), our_responder(cipher)] {
            channel.rekey_every(REKEY);
            for number in 0..4 * REKEY {
                if number > 0 && number % REKEY == 0 {
                    snows.rekey_incoming();
                    snows.rekey_outgoing();
                }
                let plain: Vec<u8> = (0..(number as usize * 811 + 1)).map(|at| at as u8).collect();
                let sealed = record(&mut channel.send, &plain);
                let mut out = vec![0; sealed.len()];
                let bytes = snows.read_message(&sealed[2..], &mut out).unwrap();
                assert!(out[..bytes] == plain, "{cipher:?}, record {number} to snow");

                let mut body = vec![0; plain.len() + TAG_BYTES];
                assert_eq!(snows.write_message(&plain, &mut body), Ok(body.len()));
                let mut out = vec![0; plain.len()];
                assert_eq!(channel.receive.open(&body, &mut out), Ok(plain.len()));
                assert!(out == plain, "{cipher:?}, record {number} from snow");
            }
        }
    }
}

#[test]
fn without_its_rekey_snow_does_not_open_the_next_generation() {
    let (mut channel, mut snows) = our_initiator(Cipher::AesGcm);
    channel.rekey_every(1);
    let records = [(); 2].map(|()| record(&mut channel.send, b"plain"));
    let mut out = [0; 64];
    assert!(snows.read_message(&records[0][2..], &mut out).is_ok());
    assert!(snows.read_message(&records[1][2..], &mut out).is_err());
}

/// As many records as one key really seals: snow takes the last of them with that key, and the one after it with the next.
#[test]
fn the_key_changes_after_as_many_records_as_are_said() {
    for cipher in Cipher::ALL {
        let (mut channel, mut snows) = our_initiator(cipher);
        let mut sealed = [0; 1 + RECORD_OVERHEAD_BYTES];
        for number in 0..=REKEY_RECORDS {
            sealed[LENGTH_BYTES] = number as u8;
            channel.send.seal(number, &mut sealed, 1);
            if number < REKEY_RECORDS - 1 {
                continue;
            }
            snows.set_receiving_nonce(number);
            if number == REKEY_RECORDS {
                let early = snows.read_message(&sealed[LENGTH_BYTES..], &mut [0; 17]);
                assert!(early.is_err(), "{cipher:?}: it is sealed with the next key");
                snows.rekey_incoming();
            }
            let mut out = [0; 17];
            assert_eq!(snows.read_message(&sealed[LENGTH_BYTES..], &mut out), Ok(1), "{cipher:?}, {number}");
            assert_eq!(out[0], number as u8);
        }
    }
}
