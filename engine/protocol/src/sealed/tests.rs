//! Sealing: round trips, every bound field, silence, and nonces that never repeat.

use super::*;

const ASSOCIATED: Associated = Associated {
    group: GroupId(1),
    epoch: Epoch(2),
    round: RoundNumber(3),
    sender: MemberIndex(4),
    recipient_set: 5,
    sequence: 6,
};

fn key(byte: u8) -> SealKey {
    SealKey::from_bytes(&[byte; SEAL_KEY_BYTES])
}

fn sealed(associated: &Associated, plaintext: &[u8]) -> Vec<u8> {
    let mut out = vec![0; plaintext.len() + SEAL_OVERHEAD_BYTES];
    seal(&key(7), associated, plaintext, &mut out);
    out
}

fn opened(key: &SealKey, associated: &Associated, sealed: &[u8]) -> Option<Vec<u8>> {
    open(key, associated, sealed, &mut vec![0; sealed.len()]).map(|plaintext| plaintext.to_vec())
}

#[test]
fn what_was_sealed_opens_and_nothing_else_does() {
    for bytes in [0, 1, 15, 16, 17, 64, 269, 65_517] {
        let text: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
        let sealed = sealed(&ASSOCIATED, &text);
        assert_eq!(opened(&key(7), &ASSOCIATED, &sealed), Some(text), "{bytes} bytes");
        assert_eq!(opened(&key(8), &ASSOCIATED, &sealed), None, "another key");
        for byte in [0, sealed.len() / 2, sealed.len() - 1] {
            let mut altered = sealed.clone();
            altered[byte] ^= 1;
            assert_eq!(opened(&key(7), &ASSOCIATED, &altered), None, "byte {byte} of {bytes}");
        }
        assert_eq!(opened(&key(7), &ASSOCIATED, &sealed[1..]), None, "shortened");
        assert_eq!(opened(&key(7), &ASSOCIATED, &sealed[..sealed.len() - 1]), None, "shortened");
    }
    for bytes in 0..SEAL_OVERHEAD_BYTES {
        assert_eq!(opened(&key(7), &ASSOCIATED, &vec![0; bytes]), None, "shorter than a tag");
    }
}

#[test]
fn every_field_is_bound() {
    let sealed = sealed(&ASSOCIATED, b"to be opened as it was meant");
    let others = [
        Associated { group: GroupId(9), ..ASSOCIATED },
        Associated { epoch: Epoch(9), ..ASSOCIATED },
        Associated { round: RoundNumber(9), ..ASSOCIATED },
        Associated { sender: MemberIndex(9), ..ASSOCIATED },
        Associated { recipient_set: 9, ..ASSOCIATED },
        Associated { sequence: 9, ..ASSOCIATED },
        Associated { sequence: 6 + (1 << 32), ..ASSOCIATED },
    ];
    for other in others {
        assert_eq!(opened(&key(7), &other, &sealed), None, "{other:?}");
    }
}

#[test]
fn sealing_is_rfc_8439_over_the_documented_bytes() {
    // The ciphertext is the keystream from block 1 on (RFC 8439 section 2.8) under the documented nonce.
    use chacha20::ChaCha20;
    use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
    let mut nonce = [0; 12];
    nonce[0] = 3;
    nonce[8] = 6;
    let mut keystream = ChaCha20::new(&[7; 32].into(), &nonce.into());
    keystream.seek(64u64);
    let mut text = *b"under block 1";
    keystream.apply_keystream(&mut text);
    assert_eq!(sealed(&ASSOCIATED, b"under block 1")[..text.len()], text);
    let associated = ASSOCIATED.bytes();
    let expected = [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5];
    assert_eq!(associated[..25], expected);
    assert_eq!(associated[32..], 6u64.to_le_bytes());
}

#[test]
fn only_accepted_messages_are_opened_and_failing_is_silent() {
    let sealed = sealed(&ASSOCIATED, b"hello");
    let mut out = [0; 32];
    let mut open = |verdict, key: &SealKey| match open_verdict(verdict, key, &ASSOCIATED, &mut out) {
        Verdict::Accept(plaintext) => format!("Accept {}", String::from_utf8_lossy(plaintext)),
        other => format!("{other:?}"),
    };
    assert_eq!(open(Verdict::Accept(&sealed), &key(7)), "Accept hello");
    assert_eq!(open(Verdict::Accept(&sealed), &key(8)), "Ignore");
    assert_eq!(open(Verdict::Accept(&[]), &key(7)), "Ignore");
    for verdict in [Verdict::Ignore, Verdict::Tampered, Verdict::Absent, Verdict::Incomplete] {
        assert_eq!(open(verdict, &key(7)), format!("{verdict:?}"));
    }
}

#[test]
fn a_sealer_never_repeats_a_nonce() {
    let mut sealer = Sealer::new(key(7), GroupId(1), Epoch(2), MemberIndex(4), 5);
    let mut out = [0; 18];
    let mut nonces = Vec::new();
    let order =
        [(1, 0), (1, 1), (1, 1), (1, 0), (2, 0), (1, 7), (2, SEQUENCE_MAX), (2, SEQUENCE_MAX + 1), (9, 3)];
    for (round, sequence) in order {
        let result = sealer.seal(RoundNumber(round), sequence, b"hi", &mut out);
        match result {
            Ok(associated) => {
                assert_eq!(opened(&key(7), &associated, &out), Some(b"hi".to_vec()));
                nonces.push(associated.nonce().expect("it sealed"));
            }
            Err(error) if sequence > SEQUENCE_MAX => {
                assert_eq!(error, ProtocolError::SequenceNumber { sequence });
            }
            Err(error) => {
                assert_eq!(error, ProtocolError::SealedBefore { round: RoundNumber(round), sequence });
            }
        }
    }
    assert_eq!(nonces.len(), 5);
    for (index, nonce) in nonces.iter().enumerate() {
        assert!(!nonces[..index].contains(nonce), "nonce {index}");
    }
}

#[test]
#[should_panic(expected = "a sequence number that a nonce holds")]
fn sealing_beyond_the_nonce_panics() {
    let associated = Associated { sequence: SEQUENCE_MAX + 1, ..ASSOCIATED };
    seal(&key(7), &associated, b"", &mut [0; SEAL_OVERHEAD_BYTES]);
}
