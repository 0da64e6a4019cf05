//! Keys are made once, kept tight, and asked for by name.

use super::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

fn made(seed: u64) -> (TempDir, Generated) {
    let folder = tempfile::tempdir().unwrap();
    let made = generate(&folder.path().join("keys"), &mut StdRng::seed_from_u64(seed)).unwrap();
    (folder, made)
}

/// A linked S1 whose channels are private.
fn config(made: &Generated, peer: Option<[u8; 32]>) -> Config {
    let text = "side = 1\nlisten = \"127.0.0.1:0\"\n[link]\nconnect = \"127.0.0.1:7712\"\n[[groups]]\nid = 0\nmembers = 10\n\
                identities = \"open\"\n";
    let mut config = Config::from_toml(text).unwrap();
    config.channel_key = Some(made.channel_file.clone());
    config.link.as_mut().unwrap().peer_channel_key = peer.map(hex::encode);
    config
}

#[test]
fn keys_are_made_once_and_nobody_else_reads_them() {
    let (folder, made) = made(1);
    for file in [&made.channel_file, &made.signing_file] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_to_string(file).unwrap().len(), 65);
    }
    assert_eq!(folder.path().join("keys").metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(Identities::verifying_key_of(&made.signing_file).unwrap().to_bytes(), made.verifying);
    assert_eq!(ChannelKeys::own_key(&config(&made, None)).unwrap(), Some(made.channel));
    for left in [&made.channel_file, &made.signing_file] {
        let again = generate(&folder.path().join("keys"), &mut StdRng::seed_from_u64(2)).unwrap_err();
        assert!(matches!(&again, GenerateError::Exists { file } if file == left), "{again}");
        assert!(again.to_string().contains("not overwritten"));
        std::fs::remove_file(left).unwrap();
    }
    assert!(
        std::fs::read_dir(folder.path().join("keys")).unwrap().next().is_none(),
        "nothing is left by halves"
    );
}

#[test]
fn what_is_wrong_with_a_key_is_named() {
    let (_folder, made) = made(1);
    let (_other, other) = self::made(2);
    let good = config(&made, Some(other.channel));
    let keys = ChannelKeys::load(&good).unwrap().unwrap();
    assert_eq!((keys.public(), keys.peer()), (made.channel, Some(other.channel)));
    assert_eq!(format!("{keys:?}"), "ChannelKeys { .. }");
    let says = |config: &Config, part: &str| {
        let error = Keys::load(config).unwrap_err().to_string();
        assert!(error.contains(part), "{part} is not in: {error}");
    };
    says(&Config { channel_key: None, ..good.clone() }, "channel_key");
    says(&Config { channel_key: None, ..good.clone() }, "keygen");
    says(&config(&made, None), "link.peer_channel_key");
    says(&config(&made, Some(made.channel)), "this server's own");
    says(&Config { channel_key: Some("/nowhere/key".into()), ..good.clone() }, "cannot read /nowhere/key");
    // One file for both, and a copy of it; also for who asks for its public half alone.
    let copy = made.channel_file.with_file_name("copy.key");
    std::fs::copy(&made.channel_file, &copy).unwrap();
    for signing in [&made.channel_file, &copy] {
        let config = Config { signing_key: Some(signing.clone()), ..good.clone() };
        says(&config, "channel_key and signing_key hold the same secret");
        says(&config, "keygen");
        assert!(matches!(ChannelKeys::own_key(&config), Err(KeyError::Same)));
    }
    // Its own signing key is another one.
    let whole = Config { signing_key: Some(made.signing_file.clone()), ..good.clone() };
    assert_eq!(ChannelKeys::own_key(&whole).unwrap(), Some(made.channel));
    set_permissions(&made.channel_file, Permissions::from_mode(0o640)).unwrap();
    says(&good, "mode 0640");
    set_permissions(&made.channel_file, Permissions::from_mode(0o400)).unwrap();
    assert!(ChannelKeys::load(&good).is_ok());
    set_permissions(&made.channel_file, Permissions::from_mode(0o600)).unwrap();
    let secret = std::fs::read_to_string(&made.channel_file).unwrap();
    std::fs::write(&made.channel_file, &secret[1..]).unwrap();
    says(&good, "64 hexadecimal digits");
    let error = Keys::load(&good).unwrap_err().to_string();
    assert!(!error.contains(&secret[1..64]), "no error shows a secret");
    // Where channels are plain nobody looks.
    let plain = Config { channel: ChannelName::Plain, ..good };
    assert!(Keys::load(&plain).unwrap().channel.is_none());
}

#[test]
fn keys_of_a_caller_have_to_be_what_the_configuration_needs() {
    let (_folder, made) = made(1);
    let config = config(&made, None);
    let key = || StaticKey::from_bytes(&[1; 32]);
    let checked = |channel| Keys { channel, identities: None }.check(&config);
    assert!(matches!(checked(None), Err(KeyError::Unnamed { key: "channel_key", .. })));
    let unlinked = checked(Some(ChannelKeys::new(key(), None)));
    assert!(matches!(unlinked, Err(KeyError::Unnamed { key: "link.peer_channel_key", .. })));
    let own = checked(Some(ChannelKeys::new(key(), Some(key().public()))));
    assert!(matches!(own, Err(KeyError::OwnPeer)));
    for nobody in [[0; 32], [0xff; 32]] {
        let error = checked(Some(ChannelKeys::new(key(), Some(nobody)))).unwrap_err();
        assert!(matches!(error, KeyError::PeerNobody { .. }), "{error}");
        assert!(error.to_string().starts_with("link.peer_channel_key: "), "{error}");
    }
    assert!(checked(Some(ChannelKeys::new(key(), Some(made.channel)))).is_ok());
}
