//! The two primes of the paper profiles, found by a rule that leaves no choice.
//!
//! `E(label, bits)` is the first `bits / 8` bytes of `SHA512(label || be32(0)) || SHA512(label || be32(1))
//! ..` as a big-endian number with its top bit set. q is the first prime from `E("twoserver/paper/q/v1",
//! 2056)` on, p the first from `E("twoserver/paper/p/v1", 6176)` on. The paper prints the two sizes the other
//! way round, and a q of 2048 bits cannot hold a flag and 256 bytes.

use num_bigint::BigUint;
use sha2::{Digest, Sha512};

/// The label that q is searched from.
pub const Q_LABEL: &str = "twoserver/paper/q/v1";
/// The size of q, in bits.
pub const Q_BITS: u32 = 2056;
/// The label that p is searched from.
pub const P_LABEL: &str = "twoserver/paper/p/v1";
/// The size of p, in bits.
pub const P_BITS: u32 = 6176;

/// `E(label, bits)`: where the search for a prime of `bits` bits begins.
///
/// # Panics
///
/// When `bits` is 0 or not a multiple of 8.
#[must_use]
pub fn search_start(label: &str, bits: u32) -> BigUint {
    assert!(bits > 0 && bits.is_multiple_of(8), "{bits} bits are no whole number of bytes");
    let mut bytes = Vec::new();
    for counter in 0u32.. {
        bytes.extend_from_slice(
            &Sha512::new().chain_update(label).chain_update(counter.to_be_bytes()).finalize(),
        );
        if bytes.len() >= bits as usize / 8 {
            break;
        }
    }
    bytes.truncate(bits as usize / 8);
    bytes[0] |= 0x80;
    BigUint::from_bytes_be(&bytes)
}

/// q, the modulus of the code.
#[must_use]
pub fn q() -> BigUint {
    BigUint::parse_bytes(Q_HEX.as_bytes(), 16).expect("hex digits")
}

/// p, the modulus of additive shares.
#[must_use]
pub fn p() -> BigUint {
    BigUint::parse_bytes(P_HEX.as_bytes(), 16).expect("hex digits")
}

/// q in hexadecimal.
pub const Q_HEX: &str = "\
    9bb808364bf61e35b0f4753e901de490f71852521d7f35684e04b76e69356169123e3779187300e3636d12e2654b641f\
    244266a7ef31a1dfb9206d709207d53ca78ea6123a7a87f297b0c3fa0f521dbe79aecb45448a822501e536055989746b\
    0e1a208929c1c96e35b1d061ab2af2553e296ca698d9f24eff1236102ee13a61c63c69f27d4d7735eeb5e781dd9fe5bb\
    748cb3a3be0e689c5b47b49eed29a9e0493279a41c2c708fd1a26508c5fb6b922438bdf6603a31ed606b3547704bedf7\
    4e7004fa38755159ea6e2f78f20fe8b64cc16d4818e6170c2fe8db8eadf34d7b56ad37d62868af241adaa2baacd31e09\
    24b86e1e67c80544c31b3a8a92b603d269";

/// p in hexadecimal.
pub const P_HEX: &str = "\
    cb097cd5f87c54de62090dc7bf097bfecdd8e4764ca893f8925b7f318e114f8637036b4c836ed133fc48394b6d9bd853\
    41cce046a5463de53098887c2bcfa105e1a31c578bd773213b6cd3c41d4d53e3f22f9b4b71e330bc3089b57bbe0351a3\
    89714abeeb7b7069ae07ec6f10967909c37011b61435157e34212296c3fca1c7b5bb5f58f8c40a416c85505903ad9ac4\
    e17026a15d9257841aac226ea4febf586ff1498445182fa34e745e76fea1184ba3e4297793bc454c1b557cda2a5429e9\
    8f4ebac97a401003642e10205df8672a095448103f910b9c3118a6e6515986277f5eafd943a20652abb0fcb3587ff942\
    cafee937fc87cfddfc5ae072141d959bb6a2b4c45845e08f22f626a9388680d4166d4c2dc4e7d7781db1f15b5f02ae3a\
    bd2f853f9930415a4dcbec53545667767a22eca6d35b65c5ec483f027f5835d1c8a4b4fa251f80ab60ce2adb02aaf0f3\
    0b79659f2dd000e69db04c1c324e2297199d5857f6c720fd3cb4472668ed848ec6103530d422c0924ded012f22eff828\
    6496794ff7702e909e5562e141e77c93e881ffa9ad33d110e4ecc2c9a90c3516571e48d4b732c31407be3263357738b8\
    95ef0ba83c95ad59342bfbde486995ea59d605513b4eb254ad320e4405971e851e81313951430ff0df16ed9381353d15\
    99cf8ceca0beef9907cf0649ab761d9e4b4b28726364bb541e9f549e315baa0eff53bf7f72ee4a482ac24ee13136bb3e\
    86201a44748d3413f422750651679a48c280ec804f712b759b270d45616201eb065ed999697a8d3321a25381191ec6c7\
    9679cc0d895fb928ddae84380a1e77ffd9743039f74414e27fb2b6f3104232d59b93bce8417f3c8eeb71e65e5b0ee2c7\
    c93f71554205ad1f439396905e6f4fc8b2e1010ec39a8e12239818d382263c9ce62f154dcb050d4e575d231f4db121bf\
    82a2fd88dfd9777dcb3fd477fd9af867e564da520bfda6ae70052464e73f30fb926415e9c41890ebe499e1be9c84bf36\
    bca7322211765501fafb43321fd8178e632f620955d80a4ebc74846643285d6959f0587bde8bb3ac11b7d98057db247f\
    525d802b";
