//! Sizes of every format, and each bound as the error that names it.

use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::error::ProtocolError;
use twincast_protocol::format::{
    Opener, Profile, SUBGROUPS_MAX, Scheme, ShareFormat, dial, split, split_one_to_many,
};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};

mod common;

const CONTEXT: Context = Context {
    group: GroupId(1),
    epoch: Epoch(1),
    round: RoundNumber(1),
    sender: MemberIndex(0),
    slot: SlotIndex(0),
    purpose: Purpose::Message,
};

fn many(subgroups_max: u16) -> Scheme {
    Scheme::OneToMany { subgroups_max }
}

fn format(profile: Profile, frame_bytes: u32, scheme: Scheme) -> ShareFormat {
    ShareFormat::new(profile, frame_bytes, scheme).expect("a format")
}

fn members(indices: &[u32]) -> Vec<MemberIndex> {
    indices.iter().copied().map(MemberIndex).collect()
}

#[test]
fn sizes_follow_from_profile_frame_and_scheme() {
    // Profile, F, longest message, L.
    let profiles = [
        (Profile::Compact, 288, 285, 336),
        (Profile::Compact, 16, 13, 64),
        (Profile::PaperXor, 256, 256, 771),
        (Profile::PaperAdd, 256, 256, 772),
        (Profile::PaperXor, 257, 257, 771 + 257),
        (Profile::PaperAdd, 65536, 65536, 772 + 65536),
    ];
    for (profile, frame_bytes, message, share) in profiles {
        for (scheme, halves, pair) in [(Scheme::Plain, 2, 1), (Scheme::Algorithm4, 2, 2), (many(5), 10, 1)] {
            let format = format(profile, frame_bytes, scheme);
            assert_eq!((format.profile(), format.scheme()), (profile, scheme));
            assert_eq!(format.frame_bytes(), frame_bytes as usize);
            assert_eq!(format.message_bytes_max(), message);
            assert_eq!((format.share_bytes(), format.halves()), (share, halves));
            assert_eq!(ServerSide::BOTH.map(|side| format.cell_bytes(side)), [pair * share, share]);
            assert_eq!(
                ServerSide::BOTH.map(|side| format.row_bytes(side)),
                [halves * pair * share, halves * share]
            );
        }
    }
}

#[test]
fn profiles_have_names_and_numbers() {
    for (profile, name) in Profile::ALL.into_iter().zip(["paper-xor", "paper-add", "compact"]) {
        assert_eq!((profile.to_string().as_str(), name.parse()), (name, Ok(profile)));
        assert_eq!(Profile::from_number(profile.number()), Some(profile));
        assert_eq!(profile.is_paper(), name != "compact");
    }
    for name in ["", "Compact", "paper", "paper_xor"] {
        assert_eq!(name.parse::<Profile>(), Err(ProtocolError::UnknownProfile));
    }
    assert_eq!(Profile::from_number(3), None);
}

#[test]
fn frames_out_of_bounds_are_refused() {
    for scheme in [Scheme::Plain, Scheme::Algorithm4, many(1)] {
        for bytes in [0, 15, 17, 257, 65552, u32::MAX] {
            let refused = ShareFormat::new(Profile::Compact, bytes, scheme);
            assert_eq!(refused, Err(ProtocolError::FrameBytes { bytes }));
        }
        for profile in [Profile::PaperXor, Profile::PaperAdd] {
            for bytes in [0, 16, 255, 65537, u32::MAX] {
                let refused = ShareFormat::new(profile, bytes, scheme);
                assert_eq!(refused, Err(ProtocolError::PaperFrameBytes { bytes }));
            }
        }
    }
}

#[test]
fn groups_that_a_scheme_cannot_have_are_refused() {
    for profile in Profile::ALL {
        assert_eq!(format(profile, 256, Scheme::Plain).check_members(7), Ok(()));
        let algorithm4 = format(profile, 256, Scheme::Algorithm4);
        assert_eq!(algorithm4.check_members(6), Ok(()));
        assert_eq!(algorithm4.check_members(7), Err(ProtocolError::OddMembers { members: 7 }));
        assert_eq!(format(profile, 256, many(7)).check_members(7), Ok(()));
        let refused = format(profile, 256, many(8)).check_members(7);
        assert_eq!(refused, Err(ProtocolError::Subgroups { subgroups: 8, subgroups_max: 7 }));
        for subgroups_max in [0, SUBGROUPS_MAX + 1, u16::MAX] {
            let refused = ShareFormat::new(profile, 256, many(subgroups_max));
            let subgroups = subgroups_max.into();
            assert_eq!(refused, Err(ProtocolError::Subgroups { subgroups, subgroups_max: 32768 }));
        }
        assert!(ShareFormat::new(profile, 256, many(SUBGROUPS_MAX)).is_ok());
    }
}

/// The error of a dial, which may have drawn nothing.
fn dial_error(format: &ShareFormat, n: u32, recipients: &[u32]) -> ProtocolError {
    let mut rng = common::Stream::new(&[1; 32]);
    let refused = dial(format, n, &members(recipients), &mut rng).map(drop).expect_err("out of bounds");
    assert_eq!(rng.bytes_used, 0, "refused before anything is drawn");
    refused
}

#[test]
fn dials_out_of_bounds_are_refused() {
    for profile in Profile::ALL {
        let [plain, algorithm4, many] =
            [Scheme::Plain, Scheme::Algorithm4, many(3)].map(|scheme| format(profile, 256, scheme));
        let outside = ProtocolError::RecipientOutOfRange { recipient: MemberIndex(6), members: 6 };
        assert_eq!(dial_error(&plain, 6, &[6]), outside);
        assert_eq!(dial_error(&algorithm4, 6, &[0, 6]), outside);
        assert_eq!(dial_error(&algorithm4, 7, &[0]), ProtocolError::OddMembers { members: 7 });
        let too_large = ProtocolError::SubsetTooLarge { recipients: 4, recipients_max: 3 };
        assert_eq!(dial_error(&algorithm4, 6, &[0, 1, 1, 2, 3]), too_large);
        assert!(dial(&algorithm4, 6, &members(&[0, 1, 1, 2]), &mut rand::rng()).is_ok(), "a set of three");
        assert_eq!(dial_error(&many, 6, &[1]), ProtocolError::WrongScheme);
        let several = dial(&plain, 6, &members(&[2, 3, 2]), &mut rand::rng()).map(drop);
        match profile {
            Profile::Compact => assert_eq!(several, Ok(())),
            _ => assert_eq!(several, Err(ProtocolError::PaperRecipients { recipients: 2 })),
        }
        assert!(dial(&plain, 6, &members(&[2, 2]), &mut rand::rng()).is_ok(), "a set of one");
        assert!(dial(&plain, 6, &[], &mut rand::rng()).is_ok(), "cover");
    }
}

#[test]
fn a_message_too_long_is_refused_and_writes_nothing() {
    for profile in Profile::ALL {
        for scheme in [Scheme::Plain, Scheme::Algorithm4] {
            let format = format(profile, 256, scheme);
            let (_, _, aim) = dial(&format, 6, &[], &mut rand::rng()).expect("cover");
            let mut rows = ServerSide::BOTH.map(|side| vec![0xa5; format.row_bytes(side)]);
            let bytes_max = format.message_bytes_max();
            let mut rng = common::Stream::new(&[1; 32]);
            let out = rows.each_mut().map(Vec::as_mut_slice);
            let refused = split(&format, &CONTEXT, &aim, &vec![0; bytes_max + 1], &mut rng, out);
            assert_eq!(refused, Err(ProtocolError::MessageTooLong { bytes: bytes_max + 1, bytes_max }));
            assert_eq!(rng.bytes_used, 0, "refused before anything is drawn");
            assert!(rows.iter().flatten().all(|byte| *byte == 0xa5));
        }
    }
}

#[test]
fn one_to_many_rounds_out_of_bounds_are_refused() {
    for profile in Profile::ALL {
        let format = format(profile, 256, many(3));
        let too_long = vec![0; format.message_bytes_max() + 1];
        let text = |member| (MemberIndex(member), &b"text"[..]);
        let bytes_max = format.message_bytes_max();
        let rounds = [
            (vec![], 0, ProtocolError::Subgroups { subgroups: 0, subgroups_max: 4 }),
            (vec![text(0), text(1)], 2, ProtocolError::Subgroups { subgroups: 4, subgroups_max: 3 }),
            (vec![], u16::MAX, ProtocolError::Subgroups { subgroups: 65535, subgroups_max: 3 }),
            (vec![text(4)], 0, ProtocolError::RecipientOutOfRange { recipient: MemberIndex(4), members: 4 }),
            (vec![text(1), text(1)], 1, ProtocolError::RepeatedRecipient { recipient: MemberIndex(1) }),
            (
                vec![text(0), (MemberIndex(1), &too_long[..])],
                1,
                ProtocolError::MessageTooLong { bytes: bytes_max + 1, bytes_max },
            ),
        ];
        for (messages, noise, error) in rounds {
            let mut rng = common::Stream::new(&[1; 32]);
            let mut choices = [[7; 4]; 2];
            let mut rows = ServerSide::BOTH.map(|side| vec![0xa5; format.row_bytes(side)]);
            let [choices1, choices2] = choices.each_mut().map(|words| &mut words[..]);
            let out = rows.each_mut().map(Vec::as_mut_slice);
            let refused = split_one_to_many(
                &format,
                4,
                &CONTEXT,
                &messages,
                noise,
                &mut rng,
                [choices1, choices2],
                out,
            );
            assert_eq!(refused, Err(error));
            assert_eq!(rng.bytes_used, 0, "refused before anything is drawn");
            assert!(rows.iter().flatten().all(|byte| *byte == 0xa5) && choices == [[7; 4]; 2]);
        }
        let mut rows = ServerSide::BOTH.map(|side| vec![0; format.row_bytes(side)]);
        let [choices1, choices2] = &mut [[0; 2]; 2];
        let out = rows.each_mut().map(Vec::as_mut_slice);
        let small =
            split_one_to_many(&format, 2, &CONTEXT, &[], 3, &mut rand::rng(), [choices1, choices2], out);
        assert_eq!(small, Err(ProtocolError::Subgroups { subgroups: 3, subgroups_max: 2 }));
    }
}

#[test]
fn a_split_of_the_wrong_scheme_is_refused() {
    let (plain, many) = (format(Profile::Compact, 32, Scheme::Plain), format(Profile::Compact, 32, many(1)));
    let (_, _, aim) = dial(&plain, 4, &[], &mut rand::rng()).expect("cover");
    let mut rows = ServerSide::BOTH.map(|side| vec![0; plain.row_bytes(side)]);
    let out = rows.each_mut().map(Vec::as_mut_slice);
    assert_eq!(split(&many, &CONTEXT, &aim, b"", &mut rand::rng(), out), Err(ProtocolError::WrongScheme));
    let [choices1, choices2] = &mut [[0; 4]; 2];
    let out = rows.each_mut().map(Vec::as_mut_slice);
    let refused = split_one_to_many(&plain, 4, &CONTEXT, &[], 1, &mut rand::rng(), [choices1, choices2], out);
    assert_eq!(refused, Err(ProtocolError::WrongScheme));
}

#[test]
fn debug_shows_no_secrets() {
    for profile in Profile::ALL {
        let format = format(profile, 256, Scheme::Algorithm4);
        let (_, _, aim) = dial(&format, 4, &members(&[1]), &mut rand::rng()).expect("a member");
        assert_eq!(format!("{aim:?}"), "Aim { .. }");
        let shown = format!("{:?}", Opener::new(format));
        assert_eq!(shown, format!("Opener {{ format: {format:?}, .. }}"));
    }
}
