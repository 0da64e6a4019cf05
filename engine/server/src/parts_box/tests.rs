//! What is kept comes back, within its limit, and nothing of one sender's reaches another's.

use super::*;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;
use twincast_protocol::ids::{MemberIndex, SlotIndex};
use twincast_protocol::parts::PartKind;

const S2: ServerSide = ServerSide::Two;

fn key(epoch: u32, kind: PartKind, sender: u32) -> PartsKey {
    PartsKey { epoch: Epoch(epoch), kind, sender: MemberIndex(sender), slot: SlotIndex(0) }
}

fn confirmation(epoch: u32, sender: u32) -> PartsKey {
    key(epoch, PartKind::Confirmation, sender)
}

struct Scene {
    directory: TempDir,
    metrics: Arc<Metrics>,
    parts: FileBox,
}

fn scene(bytes_max: u64) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let folder = Arc::new(BoxFolder::open(directory.path(), S2, bytes_max).unwrap());
    let metrics = Arc::new(Metrics::default());
    let parts = folder.group(GroupId(3), metrics.clone());
    Scene { directory, metrics, parts }
}

fn files(directory: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(ENDING))
        .collect();
    names.sort();
    names
}

fn random(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    Xoshiro256PlusPlus::seed_from_u64(seed).fill_bytes(&mut out);
    out
}

#[test]
fn the_file_is_as_its_format_says() {
    let mut scene = scene(1 << 20);
    let (one, two) = (random(1, 192), random(2, 288));
    assert!(scene.parts.reserve(confirmation(5, 7), 192).unwrap());
    assert!(scene.parts.reserve(key(5, PartKind::Key, 9), 288).unwrap());
    scene.parts.write(confirmation(5, 7), 0, &one).unwrap();
    scene.parts.write(key(5, PartKind::Key, 9), 0, &two).unwrap();
    let path = scene.directory.path().join("twincast-s2-group-3-epoch-5.parts");
    let mut expected = b"TWINPART".to_vec();
    for number in [1u32, 3, 5, 3, 1, 7, 0, 0] {
        expected.extend(number.to_le_bytes());
    }
    expected.extend(192u64.to_le_bytes());
    expected.extend(&one);
    for number in [2u32, 9, 0, 0] {
        expected.extend(number.to_le_bytes());
    }
    expected.extend(288u64.to_le_bytes());
    expected.extend(&two);
    assert_eq!(std::fs::read(&path).unwrap(), expected);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(scene.metrics.box_bytes.load(Relaxed), expected.len() as u64);
}

#[test]
fn a_box_is_full_at_its_limit_and_not_before() {
    let region = BOX_REGION_HEAD_BYTES + 128;
    let mut scene = scene(BOX_FILE_HEAD_BYTES + 2 * region);
    for sender in 0..2 {
        assert!(scene.parts.reserve(confirmation(0, sender), 128).unwrap());
    }
    assert!(!scene.parts.reserve(confirmation(0, 2), 128).unwrap());
    // Whoever has room keeps it, and every epoch has a limit of its own.
    assert!(scene.parts.reserve(confirmation(0, 1), 128).unwrap());
    assert!(scene.parts.reserve(confirmation(1, 2), 128).unwrap());
    scene.parts.write(confirmation(0, 1), 0, &[7; 128]).unwrap();
    scene.parts.forget(Epoch(0));
    assert!(scene.parts.reserve(confirmation(0, 2), 128).unwrap());
    // It begins anew.
    let mut got = [1; 128];
    scene.parts.read(confirmation(0, 2), 0, &mut got).unwrap();
    assert_eq!(got, [0; 128]);
}

#[test]
fn a_box_too_small_for_anything_makes_no_file() {
    let mut scene = scene(BOX_FILE_HEAD_BYTES + BOX_REGION_HEAD_BYTES + 127);
    assert!(!scene.parts.reserve(confirmation(0, 0), 128).unwrap());
    assert!(files(&scene.directory).is_empty());
}

#[test]
fn nothing_is_written_or_read_beyond_what_was_set_aside() {
    let mut scene = scene(1 << 20);
    assert!(scene.parts.reserve(confirmation(0, 0), 128).unwrap());
    assert!(scene.parts.reserve(confirmation(0, 1), 128).unwrap());
    scene.parts.write(confirmation(0, 1), 0, &[9; 128]).unwrap();
    for (at, bytes) in [(0, 129), (128, 1), (127, 2), (usize::MAX, 2)] {
        let error = scene.parts.write(confirmation(0, 0), at, &vec![1; bytes]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error = scene.parts.read(confirmation(0, 0), at, &mut vec![1; bytes]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    for unknown in [confirmation(0, 2), confirmation(1, 0), key(0, PartKind::Key, 0)] {
        assert!(scene.parts.write(unknown, 0, &[1]).is_err());
        assert!(scene.parts.read(unknown, 0, &mut [1]).is_err());
    }
    let mut got = [0; 128];
    scene.parts.read(confirmation(0, 1), 0, &mut got).unwrap();
    assert_eq!(got, [9; 128]);
}

#[test]
fn room_of_another_size_is_refused() {
    let mut scene = scene(1 << 20);
    assert!(scene.parts.reserve(confirmation(0, 0), 128).unwrap());
    for (asked, bytes) in [
        (confirmation(0, 0), 192),
        (confirmation(0, 1), 192),
        (confirmation(0, 1), 127),
        (confirmation(0, 1), 0),
        (key(0, PartKind::KeyReply, 1), 128),
    ] {
        assert_eq!(scene.parts.reserve(asked, bytes).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    assert!(scene.parts.reserve(key(0, PartKind::KeyReply, 1), 192).unwrap());
}

#[test]
fn a_file_that_became_too_short_is_an_error_and_no_panic() {
    let mut scene = scene(1 << 20);
    assert!(scene.parts.reserve(confirmation(0, 0), 128).unwrap());
    let path = scene.directory.path().join(&files(&scene.directory)[0]);
    OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
    let error = scene.parts.read(confirmation(0, 0), 0, &mut [0; 128]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn files_go_with_their_epoch_with_their_server_and_with_the_next_start() {
    let mut scene = scene(1 << 20);
    for epoch in 0..3 {
        assert!(scene.parts.reserve(confirmation(epoch, 0), 128).unwrap());
    }
    scene.parts.forget(Epoch(1));
    scene.parts.forget(Epoch(8));
    assert_eq!(files(&scene.directory).len(), 2);
    let Scene { directory, metrics, parts } = scene;
    drop(parts);
    assert!(files(&directory).is_empty());
    assert_eq!(metrics.box_bytes.load(Relaxed), 0);
    // What a server left that was killed; nothing else is touched.
    for name in ["twincast-s2-group-0-epoch-0.parts", "twincast-s1-group-0-epoch-0.parts", "notes"] {
        std::fs::write(directory.path().join(name), "x").unwrap();
    }
    let _folder = BoxFolder::open(directory.path(), S2, 1).unwrap();
    assert_eq!(files(&directory), ["twincast-s1-group-0-epoch-0.parts"]);
    assert!(directory.path().join("notes").exists());
}

#[test]
fn a_folder_that_is_not_there_or_in_use_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = BoxFolder::open(&missing, S2, 1).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("mkdir"), "{error}");
    let folder = BoxFolder::open(directory.path(), S2, 1).unwrap();
    let error = BoxFolder::open(directory.path(), S2, 1).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    folder.release();
    assert!(BoxFolder::open(directory.path(), S2, 1).is_ok());
    assert!(BoxFolder::open(directory.path(), ServerSide::One, 1).is_ok());
}

proptest! {
    #[test]
    fn whatever_is_written_in_pieces_comes_back_in_pieces(
        seed in any::<u64>(),
        members in 1..20usize,
        senders in 1..6u32,
        cut in 0..2_000usize,
    ) {
        let mut scene = scene(1 << 20);
        for sender in 0..senders {
            let bytes = random(seed ^ u64::from(sender), members * 64);
            let key = confirmation(0, sender);
            prop_assert!(scene.parts.reserve(key, bytes.len()).unwrap());
            let cut = cut.min(bytes.len());
            scene.parts.write(key, cut, &bytes[cut..]).unwrap();
            scene.parts.write(key, 0, &bytes[..cut]).unwrap();
        }
        for sender in 0..senders {
            let bytes = random(seed ^ u64::from(sender), members * 64);
            let part = cut % members;
            let mut got = vec![0; (members - part) * 64];
            scene.parts.read(confirmation(0, sender), part * 64, &mut got).unwrap();
            prop_assert_eq!(&got, &bytes[part * 64..]);
        }
    }
}
