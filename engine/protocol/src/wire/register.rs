//! How a user gets an account: REGISTER to both servers, and REGISTERED from each once both have signed the key.

use super::{Body, Code, Kind};
use crate::identity::{KEY_BYTES, SIGNATURE_BYTES, VerifyingKey};
use crate::ids::{Epoch, GroupId, ServerSide, UserId};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// REGISTER: a user's key, and its signature over [`register`](crate::statements::register). A connection says it
/// instead of HELLO, for as many users as a connection may play; each is answered by REGISTERED or by an error that
/// ends the connection, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Register {
    /// The group.
    pub group: U32,
    /// From which epoch on it is the user's key, as the user says to both servers: 0 for a first key.
    pub epoch: U32,
    /// The user.
    pub user: U32,
    /// 1 if the client takes this server for S1, 2 for S2.
    pub side: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The key.
    pub key: [u8; KEY_BYTES],
    /// Its signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// REGISTERED: the user's key is kept, and each server's signature over [`key`](crate::statements::key) is here: zeros
/// of a server that there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Registered {
    /// The group.
    pub group: U32,
    /// From which epoch on it is the user's key.
    pub epoch: U32,
    /// The user.
    pub user: U32,
    /// Zero.
    pub reserved: U32,
    /// The signatures of S1 and of S2.
    pub signatures: [[u8; SIGNATURE_BYTES]; 2],
}

const _: () = assert!(size_of::<Register>() == 112);
const _: () = assert!(size_of::<Registered>() == 144);

impl Body for Register {
    const KIND: Kind = Kind::Register;
}
impl Body for Registered {
    const KIND: Kind = Kind::Registered;
}

impl Register {
    /// A registration with one server. `signature` is over what [`register`](crate::statements::register) says.
    #[must_use]
    pub fn new(
        group: GroupId,
        epoch: Epoch,
        user: UserId,
        side: ServerSide,
        key: &VerifyingKey,
        signature: [u8; SIGNATURE_BYTES],
    ) -> Register {
        Register {
            group: group.0.into(),
            epoch: epoch.0.into(),
            user: user.0.into(),
            side: side.index() as u8 + 1,
            reserved: [0; 3],
            key: key.to_bytes(),
            signature,
        }
    }

    /// Reads a body. Whether the key is one, and the signature its own, is left to the caller.
    ///
    /// # Errors
    /// [`Code::LengthWrong`], [`Code::ReservedSet`] or [`Code::SideWrong`] (neither 1 nor 2).
    pub fn read(body: &[u8]) -> Result<(Register, ServerSide), Code> {
        let register = Register::parse(body)?;
        if register.reserved != [0; 3] {
            return Err(Code::ReservedSet);
        }
        let side = match register.side {
            1 => ServerSide::One,
            2 => ServerSide::Two,
            _ => return Err(Code::SideWrong),
        };
        Ok((register, side))
    }
}

impl Registered {
    /// The answer to a registration, with the signatures of S1 and of S2.
    #[must_use]
    pub fn new(
        group: GroupId,
        epoch: Epoch,
        user: UserId,
        signatures: [[u8; SIGNATURE_BYTES]; 2],
    ) -> Registered {
        Registered {
            group: group.0.into(),
            epoch: epoch.0.into(),
            user: user.0.into(),
            reserved: 0.into(),
            signatures,
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] or [`Code::ReservedSet`].
    pub fn read(body: &[u8]) -> Result<Registered, Code> {
        let registered = Registered::parse(body)?;
        if registered.reserved.get() != 0 {
            return Err(Code::ReservedSet);
        }
        Ok(registered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SigningKey;
    use crate::wire::{HEADER_BYTES, Header};

    #[test]
    fn registrations_survive_the_wire_and_what_is_wrong_with_them_is_named() {
        let key = SigningKey::from_seed(&[3; 32]).verifying_key();
        let register = Register::new(GroupId(7), Epoch(2), UserId(9), ServerSide::Two, &key, [5; 64]);
        let frame = register.frame();
        let header = Header::parse(frame.first_chunk().unwrap()).unwrap();
        assert_eq!((header.kind, header.body_bytes), (Kind::Register, 112));
        let body = &frame[HEADER_BYTES..];
        assert_eq!(Register::read(body), Ok((register, ServerSide::Two)));
        assert_eq!(
            (&body[..13], &body[16..48]),
            (&[7, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 2][..], &key.to_bytes()[..])
        );
        assert_eq!(Register::read(&body[1..]), Err(Code::LengthWrong));
        let with = |at: usize, value: u8| {
            let mut body = body.to_vec();
            body[at] = value;
            Register::read(&body).map(|_| ())
        };
        assert_eq!(with(12, 3), Err(Code::SideWrong));
        assert_eq!(with(14, 1), Err(Code::ReservedSet));
        assert_eq!(with(20, 1), Ok(()));
    }

    #[test]
    fn the_answer_has_both_signatures() {
        let registered = Registered::new(GroupId(7), Epoch(0), UserId(9), [[1; 64], [2; 64]]);
        let frame = registered.frame();
        let body = &frame[HEADER_BYTES..];
        assert_eq!((frame[1], body.len()), (0x8c, 144));
        assert_eq!(Registered::read(body), Ok(registered));
        assert_eq!((body[16], body[80]), (1, 2));
        assert_eq!(Registered::read(&body[1..]), Err(Code::LengthWrong));
        let mut reserved = body.to_vec();
        reserved[12] = 1;
        assert_eq!(Registered::read(&reserved), Err(Code::ReservedSet));
    }
}
