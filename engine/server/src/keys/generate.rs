//! Makes a server's keys: two files, and the public halves to give away.

use super::Secret;
use rand::CryptoRng;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use twincast_protocol::channel::StaticKey;
use twincast_protocol::identity::{KEY_BYTES, SigningKey};
use zeroize::Zeroizing;

/// Keys that were made: where the secrets are, and what others know them by.
#[derive(Debug)]
pub struct Generated {
    /// The private key of channels.
    pub channel_file: PathBuf,
    /// What the server signs with.
    pub signing_file: PathBuf,
    /// What channels are known by.
    pub channel: [u8; KEY_BYTES],
    /// What signatures are verified with.
    pub verifying: [u8; KEY_BYTES],
}

/// Why no keys were made: nothing was changed but, perhaps, that the folder exists now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is a key of that name: whoever knows the server by it would know it no more.
    #[error(
        "{file} exists, and is not overwritten: name another folder, or move it away if nobody needs that key"
    )]
    Exists {
        /// Which.
        file: PathBuf,
    },
    /// The system does not take them.
    #[error("cannot write {file} ({error})")]
    Write {
        /// What.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Makes both keys in a folder, which is made if it is not there: `channel.key` and `signing.key`, which nobody else may
/// read. They are on the disk when it returns.
///
/// # Errors
/// [`GenerateError`]; then neither file was made.
pub fn generate(folder: &Path, rng: &mut impl CryptoRng) -> Result<Generated, GenerateError> {
    let failed = |file: &Path| {
        let file = file.to_owned();
        move |error| GenerateError::Write { file, error }
    };
    if !folder.is_dir() {
        DirBuilder::new().mode(0o700).create(folder).map_err(failed(folder))?;
    }
    let channel_file = std::path::absolute(folder.join("channel.key")).map_err(failed(folder))?;
    let signing_file = channel_file.with_file_name("signing.key");
    if let Some(file) =
        [&channel_file, &signing_file].into_iter().find(|file| file.symlink_metadata().is_ok())
    {
        return Err(GenerateError::Exists { file: file.clone() });
    }
    let [channel, signing] = [0; 2].map(|_: u8| {
        let mut secret = Secret::default();
        rng.fill_bytes(&mut secret[..]);
        secret
    });
    write(&channel_file, &channel).map_err(failed(&channel_file))?;
    // Half of a server's keys would be in the way of the next try. Each file that is taken away was made here.
    if let Err(error) = write(&signing_file, &signing) {
        let _ = std::fs::remove_file(&channel_file);
        return Err(failed(&signing_file)(error));
    }
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        let _ = std::fs::remove_file(&channel_file);
        let _ = std::fs::remove_file(&signing_file);
        return Err(failed(folder)(error));
    }
    Ok(Generated {
        channel_file,
        signing_file,
        channel: StaticKey::from_bytes(&channel).public(),
        verifying: SigningKey::from_seed(&signing).verifying_key().to_bytes(),
    })
}

/// Writes a secret into a file that was not there. One that cannot be written whole is taken away again.
fn write(file: &Path, secret: &[u8; KEY_BYTES]) -> io::Result<()> {
    let mut text = Zeroizing::new([b'\n'; 2 * KEY_BYTES + 1]);
    hex::encode_to_slice(secret, &mut text[..2 * KEY_BYTES]).expect("two digits for each byte");
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let written = opened.write_all(&text[..]).and_then(|()| opened.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(file);
    }
    written
}
