//! Files with a secret: 64 hexadecimal digits that nobody else may read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use twincast_protocol::identity::KEY_BYTES;
use zeroize::Zeroizing;

/// The longest file that is read: its digits, and what an editor puts behind them.
const FILE_BYTES_MAX: usize = 2 * KEY_BYTES + 8;

/// A secret at one place on the heap: moving it about copies its address, and leaves nothing of it behind.
pub(crate) type Secret = Box<Zeroizing<[u8; KEY_BYTES]>>;

/// Why a file's secret is not taken.
#[derive(Debug)]
pub(crate) enum FileError {
    /// The system says so.
    Unreadable(io::Error),
    /// Others may read it: its permissions.
    Mode(u32),
    /// It holds something else.
    Form,
}

/// The secret in a file that is this user's alone. Whatever was read is wiped.
///
/// # Errors
/// [`FileError`], which says nothing of what is in the file.
pub(crate) fn read_secret(file: &Path) -> Result<Secret, FileError> {
    let mut opened = File::open(file).map_err(FileError::Unreadable)?;
    let mode = opened.metadata().map_err(FileError::Unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::Mode(mode));
    }
    let mut text = Zeroizing::new([0; FILE_BYTES_MAX + 1]);
    let mut length = 0;
    loop {
        match opened.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(bytes) => length += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FileError::Unreadable(error)),
        }
    }
    let mut secret = Secret::default();
    hex::decode_to_slice(text[..length].trim_ascii(), &mut secret[..]).map_err(|_| FileError::Form)?;
    Ok(secret)
}
