//! The client file: one user's signing key, and the two servers as their operators publish them.
//!
//! ```toml
//! group = 1
//! user = 4
//! epoch = 0                          # of the key: 0 for a user's first one
//! signing_key = "64 hexadecimal digits"
//!
//! [s1]                               # and [s2]
//! address = "203.0.113.1:7101"
//! channel_key = "64 digits"          # none: it is talked to in the clear
//! verifying_key = "64 digits"        # none: nothing that it signs is believed
//! signature = "128 digits"           # once the user is registered: the server's signature of the user's key
//! ```
//!
//! Whoever reads the file can act as the user. So it is written with mode 0600, never over another one, and read only if
//! nobody else may; what was read is wiped from memory, and no message shows anything of what is in it.

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use twincast_client::{Account, ChannelSettings};
use twincast_protocol::channel::StaticKey;
use twincast_protocol::identity::{KEY_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, UserId};
use zeroize::{Zeroize, Zeroizing};

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// Why a channel key is none.
pub(crate) const SMALL_ORDER: &str = "no server has this key, for it is a point of small order, with which everybody agrees \
     on the same secret: compare it with what the operator publishes";

/// One user of one group, and the two servers. `Debug` shows no secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientFile {
    pub(crate) group: u32,
    pub(crate) user: u32,
    pub(crate) epoch: u32,
    pub(crate) signing_key: Seed,
    pub(crate) s1: Server,
    pub(crate) s2: Server,
}

/// One server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) channel_key: Option<Digits<KEY_BYTES>>,
    pub(crate) verifying_key: Option<Digits<KEY_BYTES>>,
    pub(crate) signature: Option<Digits<SIGNATURE_BYTES>>,
}

/// Bytes that are written in hexadecimal digits, and no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digits<const N: usize>(pub(crate) [u8; N]);

/// The seed of a signing key, at one place on the heap: moving it about leaves nothing of it behind. Wiped on drop; `Debug`
/// shows nothing.
pub(crate) struct Seed(pub(crate) Box<Zeroizing<[u8; KEY_BYTES]>>);

impl ClientFile {
    /// Reads a file that nobody else may read.
    pub(crate) fn read(path: &Path) -> anyhow::Result<ClientFile> {
        let shown = path.display();
        let failed = || format!("cannot read the client file {shown}");
        // A folder is none, whatever its mode; nor is a pipe, which would wait for a writer as it is opened.
        let is_file = fs::metadata(path).with_context(failed)?.is_file();
        ensure!(is_file, "{shown} is no client file: `twincast-client init` writes one");
        let file = File::open(path).with_context(failed)?;
        let of_file = file.metadata().with_context(failed)?;
        let mode = of_file.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            bail!("{shown} has mode {mode:04o}, and others could act as you: `chmod 600 {shown}`");
        }
        ensure!(
            of_file.len() <= FILE_BYTES_MAX,
            "{shown} is no client file: `twincast-client init` writes one"
        );
        // As long as it may get at once, so that no copy is left behind.
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize + 1));
        let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.with_context(failed)?;
        ClientFile::parse(&text)
            .with_context(|| format!("{shown} is not as `twincast-client init` writes it"))
    }

    /// The parser's own messages would quote the line, which may be the secret one.
    fn parse(text: &str) -> anyhow::Result<ClientFile> {
        let file: ClientFile = toml::from_str(text).map_err(|error| match error.span() {
            Some(span) => {
                let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
                anyhow::anyhow!("line {line}: a key is missing or unknown there, or has a wrong value")
            }
            None => anyhow::anyhow!("a key is missing"),
        })?;
        for (server, name) in [(&file.s1, "s1"), (&file.s2, "s2")] {
            if let Some(key) = server.verifying_key {
                VerifyingKey::from_bytes(&key.0).with_context(|| format!("{name}.verifying_key"))?;
            }
            let agrees = server.channel_key.is_none_or(|key| StaticKey::agrees_with(&key.0));
            ensure!(agrees, "{name}.channel_key: {SMALL_ORDER}");
        }
        ensure!(
            file.s1.channel_key.is_some() == file.s2.channel_key.is_some(),
            "one server has a channel_key, and the other one has none: both are private, or neither"
        );
        Ok(file)
    }

    /// The file's text.
    fn text(&self) -> Zeroizing<String> {
        // As long as it may get at once, so that no copy is left behind.
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize));
        let mut seed = Zeroizing::new([0; 2 * KEY_BYTES]);
        hex::encode_to_slice(&self.signing_key.0[..], &mut seed[..]).expect("two digits for each byte");
        let digits = str::from_utf8(&seed[..]).expect("digits");
        let ClientFile { group, user, epoch, .. } = self;
        text.push_str(
            "# A Twincast client file. Whoever reads it can act as this user: keep it to yourself.\n",
        );
        let written =
            write!(text, "group = {group}\nuser = {user}\nepoch = {epoch}\nsigning_key = \"{digits}\"\n");
        written.expect("a string takes everything");
        for (server, name) in [(&self.s1, "s1"), (&self.s2, "s2")] {
            text.push_str(&server.text(name));
        }
        text
    }

    /// Writes it where nothing is yet.
    pub(crate) fn create(&self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        match write_new(path, self.text().as_bytes()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
                "{shown} exists, and is not overwritten: a key that is lost cannot be had again; name another file"
            ),
            Err(error) => Err(error).with_context(|| format!("cannot write {shown}")),
        }
    }

    /// Writes it in the place of the one that is there: that one or this one is on the disk, whatever happens.
    pub(crate) fn replace(&self, path: &Path) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", path.display());
        // A link stays one.
        let path = fs::canonicalize(path).with_context(failed)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(name);
        write_new(&new, self.text().as_bytes()).with_context(failed)?;
        let renamed = fs::rename(&new, &path).and_then(|()| sync_folder(&path));
        if renamed.is_err() {
            let _ = fs::remove_file(&new);
        }
        renamed.with_context(failed)
    }

    /// The account that it is for.
    pub(crate) fn account(&self) -> Account {
        Account { group: GroupId(self.group), user: UserId(self.user), epoch: Epoch(self.epoch) }
    }

    /// What the user signs with.
    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(&self.signing_key.0)
    }

    /// How the servers are talked to.
    pub(crate) fn channel(&self) -> ChannelSettings {
        match (self.s1.channel_key, self.s2.channel_key) {
            (Some(one), Some(two)) => ChannelSettings::Noise { servers: [one.0, two.0] },
            _ => ChannelSettings::Plain,
        }
    }

    /// What the servers sign with, if both are known.
    pub(crate) fn verifying_keys(&self) -> Option<[VerifyingKey; 2]> {
        let [one, two] = [&self.s1, &self.s2].map(|server| server.verifying_key);
        Some([VerifyingKey::from_bytes(&one?.0).ok()?, VerifyingKey::from_bytes(&two?.0).ok()?])
    }
}

impl Server {
    fn text(&self, name: &str) -> String {
        let address = toml::Value::String(self.address.clone());
        let mut text = format!("\n[{name}]\naddress = {address}\n");
        let [channel, verifying] =
            [self.channel_key, self.verifying_key].map(|key| key.map(|key| hex::encode(key.0)));
        let signature = self.signature.map(|signature| hex::encode(signature.0));
        for (key, digits) in
            [("channel_key", channel), ("verifying_key", verifying), ("signature", signature)]
        {
            if let Some(digits) = digits {
                text.push_str(&format!("{key} = \"{digits}\"\n"));
            }
        }
        text
    }
}

impl<const N: usize> std::str::FromStr for Digits<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Digits<N>, String> {
        let mut bytes = [0; N];
        read_digits(text, &mut bytes)?;
        Ok(Digits(bytes))
    }
}

/// Reads as many digits as `bytes` has room for, and no others.
fn read_digits<const N: usize>(text: &str, bytes: &mut [u8; N]) -> Result<(), String> {
    hex::decode_to_slice(text, bytes).map_err(|_| format!("a key is {} hexadecimal digits", 2 * N))
}

/// A verifying key, as operators publish it.
pub(crate) fn verifying_key(text: &str) -> Result<VerifyingKey, String> {
    let Digits(bytes) = text.parse()?;
    VerifyingKey::from_bytes(&bytes).map_err(|error| error.to_string())
}

impl<'de, const N: usize> Deserialize<'de> for Digits<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digits<N>, D::Error> {
        deserializer.deserialize_str(DigitsVisitor::<N>).map(|bytes| Digits(**bytes))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seed, D::Error> {
        deserializer.deserialize_str(DigitsVisitor::<KEY_BYTES>).map(Seed)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed").finish_non_exhaustive()
    }
}

struct DigitsVisitor<const N: usize>;

impl<const N: usize> Visitor<'_> for DigitsVisitor<N> {
    type Value = Box<Zeroizing<[u8; N]>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hexadecimal digits", 2 * N)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let mut bytes = Box::new(Zeroizing::new([0; N]));
        read_digits(text, &mut bytes).map_err(E::custom)?;
        Ok(bytes)
    }

    fn visit_string<E: de::Error>(self, mut text: String) -> Result<Self::Value, E> {
        let bytes = self.visit_str(&text);
        text.zeroize();
        bytes
    }
}

/// Writes a file that was not there, for this user alone, and has it on the disk. One that cannot be written whole is
/// taken away again.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync_folder(path));
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Has on the disk which files a file's folder has.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn some() -> ClientFile {
        let server = |number: u8| Server {
            address: format!("host \"{number}\":7"),
            channel_key: Some(Digits([number; 32])),
            verifying_key: Some(Digits(SigningKey::from_seed(&[number; 32]).verifying_key().to_bytes())),
            signature: (number == 2).then_some(Digits([9; 64])),
        };
        let signing_key = Seed(Box::new(Zeroizing::new([0xab; 32])));
        ClientFile { group: 1, user: 4, epoch: 0, signing_key, s1: server(1), s2: server(2) }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let file = some();
        let again = ClientFile::parse(&file.text()).unwrap();
        assert_eq!(again.text(), file.text());
        assert_eq!(again.signing_key.0, file.signing_key.0);
        assert_eq!((again.account(), again.channel()), (file.account(), file.channel()));
        assert!(
            again.verifying_keys().is_some()
                && again.s1.signature.is_none()
                && again.s2.signature == file.s2.signature
        );
        let shown = format!("{again:?}");
        assert!(!shown.to_lowercase().contains("abab") && !shown.contains("171"), "{shown}");
    }

    #[test]
    fn a_verifying_key_is_64_digits_of_a_point_that_is_not_of_small_order() {
        let good = SigningKey::from_seed(&[1; 32]).verifying_key();
        assert_eq!(verifying_key(&hex::encode(good.to_bytes())), Ok(good));
        assert!(verifying_key("abc").is_err_and(|error| error.contains("64 hexadecimal digits")));
        assert!(verifying_key(&"00".repeat(32)).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_shows_no_secret() {
        let text = some().text().to_string();
        let secret = "ab".repeat(32);
        for (from, to, line) in [
            (&secret[..], &secret[1..], "line 5:"),
            (&format!("\"{secret}\"")[..], &secret[..], "line 5:"),
            ("signing_key = ", "signing = ", "line"),
            ("user = 4", "user = -4", "line 3:"),
            ("epoch", "epoche", "line"),
            ("channel_key = ", "channel_key ", "line 9:"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text);
            let error = format!("{:#}", ClientFile::parse(&wrong).unwrap_err());
            assert!(error.contains(line), "{to}: {error}");
            assert!(!error.contains("abab"), "{error}");
        }
    }
}
