//! `twincast-client init`: makes a key, and writes the client file.

use crate::file::{self, ClientFile, Digits, SMALL_ORDER, Seed, Server};
use crate::kept::Kept;
use crate::out::{self, tell};
use anyhow::ensure;
use rand::Rng;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use twincast_protocol::channel::StaticKey;
use twincast_protocol::identity::KEY_BYTES;
use zeroize::Zeroizing;

/// Make a signing key and write the client file.
///
/// Both servers' operators publish address, channel key and verifying key, as `twincast-server keygen` printed them to
/// them. Compare the keys over another way than the one that the addresses came by: who controls both keys of a server
/// is that server for you. The file is written for you alone (mode 0600), and never over another one.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The group's number.
    #[arg(long, value_name = "NUMBER")]
    group: u32,
    /// Your number in the group.
    #[arg(long, value_name = "NUMBER")]
    user: u32,
    /// The epoch from which on the key is yours. 0 will do: where the operators rotated your key to this one, `register`
    /// takes the later epoch from both servers' signatures and writes it into the file.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    epoch: u32,
    /// Where S1 is reached.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    s1: String,
    /// Where S2 is reached.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    s2: String,
    /// The key that S1's private channels are known by.
    #[arg(
        long, value_name = "HEX", required_unless_present = "plain", conflicts_with = "plain",
        value_parser = channel_key
    )]
    s1_key: Option<Digits<KEY_BYTES>>,
    /// The key that S2's private channels are known by.
    #[arg(
        long, value_name = "HEX", required_unless_present = "plain", conflicts_with = "plain",
        value_parser = channel_key
    )]
    s2_key: Option<Digits<KEY_BYTES>>,
    /// What S1's signatures are verified with.
    #[arg(long, value_name = "HEX", required_unless_present = "plain", value_parser = verifying_digits)]
    s1_verifying: Option<Digits<KEY_BYTES>>,
    /// What S2's signatures are verified with.
    #[arg(long, value_name = "HEX", required_unless_present = "plain", value_parser = verifying_digits)]
    s2_verifying: Option<Digits<KEY_BYTES>>,
    /// Talk in the clear, to servers with `channel = "plain"` on this machine: whoever is on the way reads everything.
    #[arg(long)]
    plain: bool,
    /// The client file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { group, user, epoch, out, .. } = arguments;
    let twice = |one: Option<Digits<KEY_BYTES>>, two| one.is_some() && one == two;
    // The highest bit of a channel key says nothing.
    let point = |key: Option<Digits<KEY_BYTES>>| {
        key.map(|Digits(mut bytes)| {
            bytes[KEY_BYTES - 1] &= 0x7f;
            Digits(bytes)
        })
    };
    ensure!(
        !twice(point(arguments.s1_key), point(arguments.s2_key))
            && !twice(arguments.s1_verifying, arguments.s2_verifying),
        "S1 and S2 have the same key: one of them was given twice, or they are not two servers"
    );
    ensure!(
        !arguments.s1.eq_ignore_ascii_case(&arguments.s2),
        "S1 and S2 have the same address, {}: one of them was given twice, or they are not two servers",
        arguments.s1
    );
    let server = |address: &String, channel_key, verifying_key| Server {
        address: address.clone(),
        channel_key,
        verifying_key,
        signature: None,
    };
    let mut seed = Box::<Zeroizing<[u8; KEY_BYTES]>>::default();
    rand::rng().fill_bytes(&mut seed[..]);
    let file = ClientFile {
        group: *group,
        user: *user,
        epoch: *epoch,
        signing_key: Seed(seed),
        s1: server(&arguments.s1, arguments.s1_key, arguments.s1_verifying),
        s2: server(&arguments.s2, arguments.s2_key, arguments.s2_verifying),
    };
    file.create(out)?;
    Kept::create(out, &file)?;
    let registers = file.verifying_keys().is_some();
    let (key, out) = (hex::encode(file.signing_key().verifying_key().to_bytes()), out.display());
    let _ = out::print(&format!("verifying key of user {user} in group {group}: {key}\n"))?;
    tell!("{out} is written, with the signing key that belongs to it: keep it to yourself, and keep it");
    tell!(
        "{out}.signed, beside it, is for what this user signs: leave it there, and use both on one machine alone"
    );
    if !registers {
        tell!(
            "without --s1-verifying and --s2-verifying it cannot register; in a group that has no accounts: \
             `twincast-client talk {out} --to USER`"
        );
        return Ok(());
    }
    tell!("next, if the group takes registrations: `twincast-client register {out}`");
    tell!(
        "else ask both operators for `twincast-server admin --config FILE add --group {group} --user {user} --key \
         {key}`, and then register"
    );
    Ok(())
}

/// A host and a port, as a connection is made to them.
fn address(text: &str) -> Result<String, String> {
    let wrong = "an address is HOST:PORT, like 203.0.113.1:7101, host.example:7101 or [2001:db8::1]:7101";
    let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match in_brackets {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '[', ']']) && !host.contains(char::is_whitespace),
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_host && is_port { Ok(text.to_owned()) } else { Err(wrong.to_owned()) }
}

fn channel_key(text: &str) -> Result<Digits<KEY_BYTES>, String> {
    let key: Digits<KEY_BYTES> = text.parse()?;
    match StaticKey::agrees_with(&key.0) {
        true => Ok(key),
        false => Err(SMALL_ORDER.to_owned()),
    }
}

fn verifying_digits(text: &str) -> Result<Digits<KEY_BYTES>, String> {
    file::verifying_key(text).map(|key| Digits(key.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["127.0.0.1:7101", "host.example:1", "[::1]:7101", "localhost:65535"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in [
            "127.0.0.1",
            "host",
            ":7101",
            "host:",
            "host:0",
            "host:65536",
            "::1:7101",
            "[::1]",
            "[x]:7",
            "a b:7",
        ] {
            assert!(address(bad).is_err_and(|error| error.contains("HOST:PORT")), "{bad}");
        }
    }
}
