//! Dialling and splitting in every format.

use std::fmt;

use rand::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::share_code::{CompactCode, ShareCode};
use super::{Code, Scheme, ShareFormat};
use crate::algorithm4::{self, Partition, Side};
use crate::compact::{self, SplitBuffers};
use crate::context::Context;
use crate::error::ProtocolError;
use crate::ids::{MemberIndex, ServerSide};
use crate::one_to_many;
use crate::paper::draw::below;
use crate::paper::protocol3;
use crate::paper::shares::PaperShares;
use crate::session_key::{self, SessionKey};

/// What a sender keeps of a dial to be able to send: which side its recipients are on, where the format has
/// sides. A secret: wiped on drop, not shown by `Debug`.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Aim {
    side: bool,
}

impl fmt::Debug for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aim").finish_non_exhaustive()
    }
}

/// Draws the session keys that reach `recipients`, a set in any order (a repeated member counts once), in a
/// group of `members`. With no recipients the dial is cover.
///
/// # Errors
///
/// [`ProtocolError::RecipientOutOfRange`]; [`ProtocolError::PaperRecipients`] for more than one in a paper
/// profile's plain dial; [`ProtocolError::OddMembers`] and [`ProtocolError::SubsetTooLarge`] in Algorithm 4;
/// [`ProtocolError::WrongScheme`] in one-to-many, where every round deals anew. All before anything is drawn.
pub fn dial(
    format: &ShareFormat,
    members: u32,
    recipients: &[MemberIndex],
    rng: &mut impl CryptoRng,
) -> Result<(SessionKey, SessionKey, Aim), ProtocolError> {
    match (format.scheme, format.code) {
        (Scheme::Plain, Code::Compact(_)) => {
            let (p1, p2) = session_key::dial(members, recipients, rng)?;
            Ok((p1, p2, Aim { side: false }))
        }
        (Scheme::Plain, Code::Paper(..)) => dial_one(members, recipients, rng),
        (Scheme::Algorithm4, _) => {
            let Partition { p1, p2, side: Side(side) } = algorithm4::dial(members, recipients, rng)?;
            Ok((p1, p2, Aim { side }))
        }
        (Scheme::OneToMany { .. }, _) => Err(ProtocolError::WrongScheme),
    }
}

/// Bowers et al. 2022, Algorithm 1: at most one recipient, whose bit at S1 is the side. Without one the side
/// is a coin, so that cover looks the same.
fn dial_one(
    members: u32,
    recipients: &[MemberIndex],
    rng: &mut impl CryptoRng,
) -> Result<(SessionKey, SessionKey, Aim), ProtocolError> {
    let recipient = recipients.first().copied();
    let different = recipients.iter().filter(|other| Some(**other) != recipient).count();
    if different > 0 {
        return Err(ProtocolError::PaperRecipients { recipients: different + 1 });
    }
    let (p1, p2) = session_key::dial(members, recipients, rng)?;
    let side = match recipient {
        Some(recipient) => p1.bit(recipient),
        None => below(2, rng) == 1,
    };
    Ok((p1, p2, Aim { side }))
}

/// Splits `message` for one slot of one round: writes the row for S1 and the row for S2, `row_bytes` each,
/// half after half. The servers must be sent their own row and nothing else.
///
/// A paper profile has no use for `context`: its shares are the same in every round.
///
/// # Errors
///
/// [`ProtocolError::MessageTooLong`]; [`ProtocolError::WrongScheme`] in one-to-many. Both before anything is
/// drawn or written.
///
/// # Panics
///
/// When a buffer is not [`ShareFormat::row_bytes`] long.
pub fn split(
    format: &ShareFormat,
    context: &Context,
    aim: &Aim,
    message: &[u8],
    rng: &mut impl CryptoRng,
    out: [&mut [u8]; 2],
) -> Result<(), ProtocolError> {
    check_rows(format, &out);
    let [row1, row2] = out;
    let (half_bytes1, half_bytes2) = (row1.len() / 2, row2.len() / 2);
    let out =
        SplitBuffers { s1: row1.split_at_mut(half_bytes1).into(), s2: row2.split_at_mut(half_bytes2).into() };
    match (format.scheme, format.code) {
        (Scheme::Plain, _) => split_plain(format, context, aim, message, rng, out),
        (Scheme::Algorithm4, Code::Compact(size)) => {
            algorithm4::split(&CompactCode { size, context: *context }, Side(aim.side), message, rng, out)
        }
        (Scheme::Algorithm4, Code::Paper(sharing, frame)) => {
            algorithm4::split(&PaperShares::new(sharing, frame), Side(aim.side), message, rng, out)
        }
        (Scheme::OneToMany { .. }, _) => Err(ProtocolError::WrongScheme),
    }
}

/// One round of one-to-many: deals the group, dials each subgroup and splits each message.
///
/// `messages` are recipients, all different, and what each is to read; `noise` subgroups more have no
/// recipient. Writes n choice words per server, each below `halves`, and the rows; the halves of subgroups
/// that the round does not use are uniform. Draws the deal, each subgroup's dial and halves, then the unused
/// halves.
///
/// # Errors
///
/// [`ProtocolError::WrongScheme`] in another scheme; [`ProtocolError::Subgroups`] for no subgroup at all, or
/// for more than the format or the group has; [`ProtocolError::RecipientOutOfRange`];
/// [`ProtocolError::RepeatedRecipient`]; [`ProtocolError::MessageTooLong`]. All before anything is drawn or
/// written.
///
/// # Panics
///
/// When `choices` are not `members` words, or a row is not [`ShareFormat::row_bytes`] long.
#[expect(clippy::too_many_arguments, reason = "each is one part of the round")]
pub fn split_one_to_many(
    format: &ShareFormat,
    members: u32,
    context: &Context,
    messages: &[(MemberIndex, &[u8])],
    noise: u16,
    rng: &mut impl CryptoRng,
    choices: [&mut [u16]; 2],
    out: [&mut [u8]; 2],
) -> Result<(), ProtocolError> {
    let Scheme::OneToMany { subgroups_max } = format.scheme else {
        return Err(ProtocolError::WrongScheme);
    };
    check_rows(format, &out);
    assert!(choices.iter().all(|words| words.len() == members as usize), "a choice word for each member");
    let subgroups = messages.len() + usize::from(noise);
    if subgroups > usize::from(subgroups_max) {
        return Err(ProtocolError::Subgroups { subgroups, subgroups_max: subgroups_max.into() });
    }
    let bytes_max = format.message_bytes_max();
    if let Some((_, message)) = messages.iter().find(|(_, message)| message.len() > bytes_max) {
        return Err(ProtocolError::MessageTooLong { bytes: message.len(), bytes_max });
    }
    let mut recipients: Vec<_> = messages.iter().map(|(recipient, _)| *recipient).collect();
    let dealt = one_to_many::deal(members, &recipients, noise, rng);
    recipients.iter_mut().for_each(|recipient| recipient.0.zeroize());
    let subgroups = dealt?;

    let [choices1, choices2] = choices;
    let [row1, row2] = out;
    let share_bytes = format.share_bytes();
    let (used1, unused1) = row1.split_at_mut(subgroups.len() * 2 * share_bytes);
    let (used2, unused2) = row2.split_at_mut(subgroups.len() * 2 * share_bytes);
    let pairs = used1.chunks_exact_mut(2 * share_bytes).zip(used2.chunks_exact_mut(2 * share_bytes));
    for (index, (subgroup, (pair1, pair2))) in (0u16..).zip(subgroups.iter().zip(pairs)) {
        let recipient = subgroup.recipient.as_slice();
        let message = subgroup.message.map_or(&[][..], |message| messages[message].1);
        let plain = ShareFormat { scheme: Scheme::Plain, ..*format };
        let (p1, p2, aim) = dial(&plain, subgroup.members.len() as u32, recipient, rng)?;
        let out = SplitBuffers {
            s1: pair1.split_at_mut(share_bytes).into(),
            s2: pair2.split_at_mut(share_bytes).into(),
        };
        split_plain(&plain, context, &aim, message, rng, out)?;
        for (local, member) in (0..).map(MemberIndex).zip(&subgroup.members) {
            choices1[member.0 as usize] = 2 * index + u16::from(p1.bit(local));
            choices2[member.0 as usize] = 2 * index + u16::from(p2.bit(local));
        }
    }
    random_shares(format, unused1, rng);
    random_shares(format, unused2, rng);
    Ok(())
}

fn split_plain(
    format: &ShareFormat,
    context: &Context,
    aim: &Aim,
    message: &[u8],
    rng: &mut impl CryptoRng,
    out: SplitBuffers<'_>,
) -> Result<(), ProtocolError> {
    match format.code {
        Code::Compact(size) => compact::split(size, context, message, rng, out),
        Code::Paper(sharing, frame) => {
            protocol3::split(&PaperShares::new(sharing, frame), aim.side, message, rng, out)
        }
    }
}

/// Uniform shares over the whole of `out`.
fn random_shares(format: &ShareFormat, out: &mut [u8], rng: &mut impl CryptoRng) {
    match format.code {
        Code::Compact(_) => rng.fill_bytes(out),
        Code::Paper(sharing, frame) => {
            let shares = PaperShares::new(sharing, frame);
            out.chunks_exact_mut(format.share_bytes()).for_each(|share| shares.random(rng, share));
        }
    }
}

fn check_rows(format: &ShareFormat, rows: &[&mut [u8]; 2]) {
    let right = ServerSide::BOTH.iter().zip(rows).all(|(side, row)| row.len() == format.row_bytes(*side));
    assert!(right, "a row's buffer");
}
