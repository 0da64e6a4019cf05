//! Reads the vector files: those in `tests/vectors/`, or in the directory that `TWINCAST_VECTORS` names.

use std::path::PathBuf;

use serde_json::Value;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};

/// A file's header, and its cases, of which there is at least one.
pub(crate) fn read(name: &str) -> (Value, Vec<Value>) {
    let directory = std::env::var_os("TWINCAST_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), PathBuf::from);
    let path = directory.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut file: Value = serde_json::from_str(&text).expect("a vector file is JSON");
    let Value::Array(cases) = file["cases"].take() else { panic!("{name} has no cases") };
    assert!(!cases.is_empty(), "{name} has cases");
    (file["header"].take(), cases)
}

/// The frame size and the context in the header of a file of the compact profile, which must be consistent.
pub(crate) fn compact_header(header: &Value) -> (FrameBytes, Context) {
    let size = FrameBytes::new(number(&header["F"])).expect("a frame size");
    assert_eq!(size.share_bytes(), number(&header["share"]) as usize);
    assert_eq!(size.degree(), number(&header["t"]) as usize);
    let fields = &header["context"];
    assert_eq!((number(&fields["version"]), number(&fields["profile"])), (1, 2));
    let context = Context {
        group: GroupId(number(&fields["group"])),
        epoch: Epoch(number(&fields["epoch"])),
        round: RoundNumber(fields["round"].as_u64().expect("a round")),
        sender: MemberIndex(number(&fields["sender"])),
        slot: SlotIndex(number(&fields["slot"])),
        purpose: match number(&fields["purpose"]) {
            0 => Purpose::Message,
            purpose => panic!("purpose {purpose} in a file of messages"),
        },
    };
    let confirmation = Context::confirmation(context.group, context.epoch, context.sender, context.slot);
    for (blocks, expected) in [(context, "ctx"), (confirmation, "confirm_ctx")] {
        let expected = header[expected].as_array().expect("two blocks").iter().map(bytes);
        assert!(expected.eq(blocks.blocks().map(Vec::from)), "the context's blocks");
    }
    (size, context)
}

pub(crate) fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_else(|| panic!("{value}: a u32"))
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a hex string")).expect("hex digits")
}

pub(crate) fn seed(case: &Value) -> [u8; 32] {
    bytes(&case["seed"]).try_into().expect("a seed of 32 bytes")
}

pub(crate) fn name(case: &Value) -> &str {
    case["name"].as_str().expect("a name")
}
