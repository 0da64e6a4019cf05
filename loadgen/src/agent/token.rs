//! The secret that an agent and its coordinators share.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// The shortest token.
const BYTES_MIN: usize = 16;
/// The longest file that can be one.
const BYTES_MAX: u64 = 4096;

/// What an agent's coordinators know. It is never sent, and forgotten when dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<Vec<u8>>);

impl Token {
    /// Reads it from a file that its owner alone may read. Space around it does not count.
    ///
    /// # Errors
    /// A sentence with the remedy.
    pub fn read(path: &Path) -> Result<Token, String> {
        let shown = path.display();
        let make = || format!("make one with `(umask 077; head -c 32 /dev/urandom | base64 > {shown})`");
        let refused = |error| format!("the token file {shown} cannot be read: {error}; {}", make());
        let file = File::open(path).map_err(refused)?;
        // Of the opened file, so that nobody can put another in its place in between.
        let metadata = file.metadata().map_err(refused)?;
        if !metadata.is_file() {
            return Err(format!("the token file {shown} is no file; {}", make()));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(format!(
                "the token file {shown} can be read by others (mode {:03o}); say `chmod 600 {shown}`, or {}",
                metadata.mode() & 0o777,
                make()
            ));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MAX as usize + 1));
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(refused)?;
        let token = bytes.trim_ascii();
        if token.len() < BYTES_MIN || bytes.len() as u64 > BYTES_MAX {
            return Err(format!(
                "the token file {shown} holds {} bytes; a token has {BYTES_MIN} to {BYTES_MAX}: {}",
                token.len(),
                make()
            ));
        }
        Ok(Token::of(token))
    }

    /// These bytes.
    pub(crate) fn of(bytes: &[u8]) -> Token {
        Token(Zeroizing::new(bytes.to_vec()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_its_owners_alone_and_long_enough() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let write = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Token::read(&path)
        };
        let token = write("  0123456789abcdef\n", 0o600).unwrap();
        assert_eq!(token.bytes(), b"0123456789abcdef");
        assert_eq!(format!("{token:?}"), "Token(..)");
        for mode in [0o644, 0o640, 0o604] {
            let sentence = write("0123456789abcdef", mode).unwrap_err();
            assert!(sentence.contains("chmod 600") && sentence.contains("/dev/urandom"), "{sentence}");
        }
        for text in ["", "0123456789abcde\n", &"x".repeat(5_000)] {
            let sentence = write(text, 0o600).unwrap_err();
            assert!(sentence.contains("16 to 4096"), "{sentence}");
        }
        assert!(Token::read(folder.path()).unwrap_err().contains("cannot be read") || cfg!(unix));
        assert!(Token::read(&folder.path().join("none")).unwrap_err().contains("base64 >"));
    }
}
