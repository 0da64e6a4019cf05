//! Evidence as text.

use super::Evidence;
use crate::accountable::certificate::Certificate;
use crate::identity::VerifyingKey;
use crate::ids::UserId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The largest file that is read, in bytes: the members of a large group, and what two servers signed, fit well.
pub const EVIDENCE_BYTES_MAX: usize = 64 << 20;
/// The version of the file that is written and read.
const VERSION: u32 = 1;

/// Why evidence could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// A sender or recipient that the epoch does not have. The caller's doing.
    #[error("user {0} is not a member of that epoch")]
    NotAMember(UserId),
    /// Headers of another tile, round or epoch than the share's. The caller's doing.
    #[error("these headers are of another tile, round or epoch than the share")]
    OtherTile,
    /// The text is too long to be evidence.
    #[error("{bytes} bytes are too many for a file of evidence, which has at most {EVIDENCE_BYTES_MAX}")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// The text is no evidence.
    #[error("this is no file of evidence: {0}")]
    Text(String),
    /// The text is evidence of another version.
    #[error("this file of evidence has version {0}, and this program reads version {VERSION}")]
    Version(u32),
}

/// What a file says first.
#[derive(Deserialize)]
struct Versioned {
    twincast_evidence: u32,
}

#[derive(Serialize)]
struct FileOut<'a> {
    twincast_evidence: u32,
    #[serde(flatten)]
    evidence: &'a Evidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIn {
    #[serde(rename = "twincast_evidence")]
    _version: u32,
    #[serde(with = "key_pair")]
    servers: [VerifyingKey; 2],
    case: super::Case,
}

impl Evidence {
    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let file = FileOut { twincast_evidence: VERSION, evidence: self };
        let mut text = serde_json::to_string_pretty(&file).expect("evidence has nothing that JSON has not");
        text.push('\n');
        text
    }

    /// Reads a file. No signature is verified.
    ///
    /// # Errors
    /// [`EvidenceError::TooLong`], [`EvidenceError::Version`] or [`EvidenceError::Text`], which says where.
    pub fn from_text(text: &str) -> Result<Evidence, EvidenceError> {
        if text.len() > EVIDENCE_BYTES_MAX {
            return Err(EvidenceError::TooLong { bytes: text.len() });
        }
        let no_evidence = |error: serde_json::Error| EvidenceError::Text(error.to_string());
        let Versioned { twincast_evidence } = serde_json::from_str(text).map_err(no_evidence)?;
        if twincast_evidence != VERSION {
            return Err(EvidenceError::Version(twincast_evidence));
        }
        let FileIn { servers, case, .. } = serde_json::from_str(text).map_err(no_evidence)?;
        Ok(Evidence { servers, case })
    }
}

fn bytes<'de, T: TryFrom<Vec<u8>>, D: Deserializer<'de>>(text: &str) -> Result<T, D::Error> {
    let bytes = hex::decode(text).map_err(D::Error::custom)?;
    let length = bytes.len();
    T::try_from(bytes).map_err(|_| D::Error::custom(format!("{length} bytes are not as many as belong here")))
}

/// Bytes in hexadecimal.
pub(super) mod hexed {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &impl AsRef<[u8]>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(value))
    }

    pub(in super::super) fn deserialize<'de, T: TryFrom<Vec<u8>>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        bytes::<T, D>(&String::deserialize(from)?)
    }
}

/// A list of things in hexadecimal.
macro_rules! hexed_list {
    ($(#[$doc:meta])* $name:ident, $of:ty, $to:expr, $from:expr) => {
        $(#[$doc])*
        pub(super) mod $name {
            use super::*;

            pub(in super::super) fn serialize<S: Serializer>(list: &[$of], to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(list.iter().map(|value| hex::encode($to(value))))
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<$of>, D::Error> {
                let list = Vec::<String>::deserialize(from)?;
                list.iter().map(|text| bytes::<_, D>(text).map($from)).collect()
            }
        }
    };
}

hexed_list!(
    /// Hashes.
    hexed_list, [u8; 32], |hash: &[u8; 32]| *hash, |hash: [u8; 32]| hash
);
hexed_list!(
    /// Words, the most significant digit first.
    hexed_words, u64, |word: &u64| word.to_be_bytes(), |word: [u8; 8]| u64::from_be_bytes(word)
);
hexed_list!(
    /// The hashes of half 0 and half 1, one behind the other.
    hexed_halves,
    [[u8; 32]; 2],
    |halves: &[[u8; 32]; 2]| halves.as_flattened().to_vec(),
    |halves: [u8; 64]| {
        let (halves, _) = halves.as_chunks();
        [halves[0], halves[1]]
    }
);

/// A certificate, as it is on the wire.
pub(super) mod certificate {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(value: &Certificate, to: S) -> Result<S::Ok, S::Error> {
        hexed::serialize(&value.to_bytes(), to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Certificate, D::Error> {
        let bytes: [u8; Certificate::BYTES] = hexed::deserialize(from)?;
        Certificate::from_bytes(&bytes).map_err(D::Error::custom)
    }
}

/// The verifying keys of S1 and S2.
pub(super) mod key_pair {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        keys: &[VerifyingKey; 2],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(keys.iter().map(|key| hex::encode(key.to_bytes())))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<[VerifyingKey; 2], D::Error> {
        let [one, two] = <[String; 2]>::deserialize(from)?;
        let key =
            |text: &str| VerifyingKey::from_bytes(&bytes::<[u8; 32], D>(text)?).map_err(D::Error::custom);
        Ok([key(&one)?, key(&two)?])
    }
}
