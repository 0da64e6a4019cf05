//! Session keys: the bit vector that a sender dials at each server (Bowers et al. 2022, Algorithm 1, for any
//! recipient set).

use std::fmt;

use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

use crate::error::ProtocolError;
use crate::ids::MemberIndex;

/// Which half each of n members gets from one server: bit u is bit `u % 8` of byte `u / 8`, least significant
/// first, and the unused high bits of the last byte are 0.
///
/// A secret between the sender and that server. `Debug` shows only n, equality takes constant time, and the
/// bits are wiped on drop.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SessionKey {
    bits: Box<[u8]>,
    #[zeroize(skip)]
    members: u32,
}

impl SessionKey {
    /// A uniform key for a group of `members`.
    pub fn random(members: u32, rng: &mut impl CryptoRng) -> SessionKey {
        let mut bits = vec![0; Self::bytes_for(members)].into_boxed_slice();
        rng.fill_bytes(&mut bits);
        if let Some(last) = bits.last_mut() {
            *last &= !Self::padding_mask(members);
        }
        SessionKey { bits, members }
    }

    /// The key that a sender of a group of `members` dialled as `bytes`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::SessionKeyLength`] when `bytes` is not `ceil(members / 8)` long,
    /// [`ProtocolError::SessionKeyPadding`] when it is and a bit beyond the last member is set.
    pub fn from_bytes(members: u32, bytes: &[u8]) -> Result<SessionKey, ProtocolError> {
        let expected = Self::bytes_for(members);
        if bytes.len() != expected {
            return Err(ProtocolError::SessionKeyLength { bytes: bytes.len(), expected, members });
        }
        if bytes.last().is_some_and(|last| last & Self::padding_mask(members) != 0) {
            return Err(ProtocolError::SessionKeyPadding { members });
        }
        Ok(SessionKey { bits: bytes.into(), members })
    }

    /// `ceil(members / 8)`: the size of a key on the wire.
    #[must_use]
    pub fn bytes_for(members: u32) -> usize {
        members.div_ceil(8) as usize
    }

    /// Which half `member` gets.
    ///
    /// # Panics
    ///
    /// When `member` is not in `0..members()`.
    #[must_use]
    pub fn bit(&self, member: MemberIndex) -> bool {
        assert!(member.0 < self.members, "member {member} of a key for {}", self.members);
        self.bits[(member.0 / 8) as usize] >> (member.0 % 8) & 1 == 1
    }

    /// The bits as they are dialled.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// n, the size of the group.
    #[must_use]
    pub fn members(&self) -> u32 {
        self.members
    }

    /// The bits of the last byte that belong to no member.
    fn padding_mask(members: u32) -> u8 {
        match members % 8 {
            0 => 0,
            used => 0xff << used,
        }
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").field("members", &self.members).finish_non_exhaustive()
    }
}

impl PartialEq for SessionKey {
    fn eq(&self, other: &SessionKey) -> bool {
        self.members == other.members && bool::from(self.bits.ct_eq(&other.bits))
    }
}

impl Eq for SessionKey {}

/// Draws the two session keys that reach `recipients`, a set in any order (a repeated member counts once), also
/// empty, also everybody: P1 for S1 is uniform, P2 for S2 is P1 with the recipients' bits flipped. Each of the
/// two alone is uniform whatever the set is. Fresh coins for every dial.
///
/// # Errors
///
/// [`ProtocolError::RecipientOutOfRange`], before anything is drawn.
pub fn dial(
    members: u32,
    recipients: &[MemberIndex],
    rng: &mut impl CryptoRng,
) -> Result<(SessionKey, SessionKey), ProtocolError> {
    if let Some(&recipient) = recipients.iter().find(|recipient| recipient.0 >= members) {
        return Err(ProtocolError::RecipientOutOfRange { recipient, members });
    }
    let p1 = SessionKey::random(members, rng);
    let mut p2 = p1.clone();
    for recipient in recipients {
        let (byte, bit) = ((recipient.0 / 8) as usize, 1 << (recipient.0 % 8));
        p2.bits[byte] = p2.bits[byte] & !bit | !p1.bits[byte] & bit;
    }
    Ok((p1, p2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_length_and_set_padding_are_told_apart() {
        let key = SessionKey::from_bytes(12, &[0xff, 0x0f]).expect("twelve bits");
        assert_eq!((key.members(), key.as_bytes()), (12, &[0xff, 0x0f][..]));
        for bytes in [&[0xff][..], &[0xff, 0x0f, 0], &[]] {
            let error = ProtocolError::SessionKeyLength { bytes: bytes.len(), expected: 2, members: 12 };
            assert_eq!(SessionKey::from_bytes(12, bytes), Err(error));
        }
        for bit in 4..8 {
            let padded = SessionKey::from_bytes(12, &[0, 1 << bit]);
            assert_eq!(padded, Err(ProtocolError::SessionKeyPadding { members: 12 }));
        }
        assert!(SessionKey::from_bytes(16, &[0xff, 0xff]).is_ok());
        assert!(SessionKey::from_bytes(0, &[]).is_ok());
    }

    #[test]
    fn dial_flips_exactly_the_recipients() {
        let mut rng = rand::rng();
        for members in [1, 2, 7, 8, 9, 64, 65] {
            let everybody: Vec<_> = (0..members).map(MemberIndex).collect();
            let every_third: Vec<_> = everybody.iter().copied().step_by(3).collect();
            let repeated = [MemberIndex(0), MemberIndex(0)];
            for recipients in [&[][..], &everybody, &every_third, &repeated] {
                let (p1, p2) = dial(members, recipients, &mut rng).expect("all of them are members");
                for member in &everybody {
                    assert_eq!(p1.bit(*member) != p2.bit(*member), recipients.contains(member));
                }
                for key in [&p1, &p2] {
                    let again = SessionKey::from_bytes(members, key.as_bytes());
                    assert_eq!(again.as_ref(), Ok(key), "the padding of a dialled key is zero");
                }
                assert_eq!(p1 == p2, recipients.is_empty());
            }
        }
    }

    #[test]
    fn a_recipient_outside_the_group_is_refused() {
        let error = ProtocolError::RecipientOutOfRange { recipient: MemberIndex(8), members: 8 };
        let dialled = dial(8, &[MemberIndex(7), MemberIndex(8)], &mut rand::rng());
        assert_eq!(dialled, Err(error));
    }

    #[test]
    fn debug_shows_no_bits() {
        let shown = [&[0x00, 0x00], &[0xff, 0xff], &[0x5a, 0xc3]]
            .map(|bytes| format!("{:?}", SessionKey::from_bytes(16, bytes).expect("sixteen bits")));
        assert_eq!(shown[0], "SessionKey { members: 16, .. }");
        assert!(shown.iter().all(|text| *text == shown[0]));
    }
}
