//! What an accountable group needs of its own settings and of its server's.

use super::{Config, ConfigError, Delivery, GroupConfig, IdentitiesName, SchemeName, bounds};
use crate::limits::HEADER_ROUNDS_MAX;
use twincast_protocol::accountable::turn::rounds_kept;
use twincast_protocol::format::Profile;
use twincast_protocol::ids::ServerSide;

/// What has to be said where `accountable = true`, and why.
const REASON: &str = "where accountable = true";

impl GroupConfig {
    /// Checks that an accountable group has what its signatures are about.
    pub(super) fn check_accountable(&self) -> Result<(), ConfigError> {
        let key = |name: &str| format!("groups[id = {}].{name}", self.id);
        if !(1..=HEADER_ROUNDS_MAX).contains(&self.header_rounds) {
            return Err(bounds(
                &key("header_rounds"),
                self.header_rounds,
                format!("1 to {HEADER_ROUNDS_MAX}"),
            ));
        }
        if !self.accountable {
            return Ok(());
        }
        let compact = Profile::Compact.to_string();
        for (name, says, good, wanted) in [
            (
                "identities",
                "\"open\"",
                self.identities == IdentitiesName::Registered,
                "\"registered\": who is to blame has to have an account",
            ),
            (
                "delivery",
                "\"answer\"",
                self.delivery == Delivery::Broadcast,
                "\"broadcast\": records are signed by their senders anyway",
            ),
            (
                "profile",
                self.profile.as_str(),
                self.profile == compact,
                "\"compact\": what one server can forge is nobody's fault",
            ),
            (
                "scheme",
                "another one",
                self.scheme == SchemeName::Plain,
                "\"plain\": a sender commits to two halves",
            ),
            ("confirm", "false", self.confirm, "true: only confirmed bits show which half was whose"),
        ] {
            if !good {
                return Err(bounds(&key(name), says, format!("{wanted}, {REASON}")));
            }
        }
        // Of an epoch that is over, a server shows one: what may be asked for has to lie in that one and the one that runs.
        let least = rounds_kept(self.header_rounds);
        if self.epoch_rounds != 0 && (self.epoch_rounds as usize) < least {
            let allowed = format!(
                "0, or at least {least}, which is 2 header_rounds + 2, {REASON}: rounds are shown for so long, of two epochs at most; else lower header_rounds"
            );
            return Err(bounds(&key("epoch_rounds"), self.epoch_rounds, allowed));
        }
        Ok(())
    }
}

impl Config {
    /// Checks that the server can keep what an accountable group has to show later.
    pub(super) fn check_accountable(&self, group: &GroupConfig) -> Result<(), ConfigError> {
        if !group.accountable {
            return Ok(());
        }
        if self.link.is_none() {
            return Err(ConfigError::AccountableAlone { group: group.id });
        }
        if self.server_side() == ServerSide::One {
            return Ok(());
        }
        let needs = self.shape(group).box_bytes();
        let Some(parts_box) = &self.parts_box else {
            return Err(ConfigError::AccountableUnkept { group: group.id, bytes: needs });
        };
        if parts_box.bytes_max < needs {
            let allowed = format!(
                "at least {needed}, which all parts of group {id} take: an accountable group shows them later",
                needed = needs,
                id = group.id
            );
            return Err(bounds("box.bytes_max", parts_box.bytes_max, allowed));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BoxConfig, EXAMPLE, Insecure, LinkConfig, RegistryConfig};

    fn accountable() -> GroupConfig {
        GroupConfig { accountable: true, ..GroupConfig::new(3, 10) }
    }

    fn refused(change: impl Fn(&mut GroupConfig)) -> String {
        let mut config = accountable();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn an_accountable_group_without_what_it_signs_is_refused_by_name() {
        assert!(accountable().check().is_ok());
        for (error, key) in [
            (refused(|config| config.identities = IdentitiesName::Open), "identities"),
            (refused(|config| config.profile = "paper-xor".into()), "profile"),
            (refused(|config| config.scheme = SchemeName::Algorithm4), "scheme"),
            (refused(|config| config.confirm = false), "confirm"),
            (refused(|config| config.header_rounds = 0), "header_rounds"),
            (refused(|config| config.header_rounds = HEADER_ROUNDS_MAX + 1), "header_rounds"),
            (refused(|config| config.epoch_rounds = 2 * config.header_rounds + 1), "epoch_rounds"),
            (
                refused(|config| {
                    config.delivery = Delivery::Answer;
                    config.frame_bytes = 272;
                }),
                "delivery",
            ),
        ] {
            assert!(error.starts_with(&format!("groups[id = 3].{key} = ")), "{error}");
        }
        let least = GroupConfig { epoch_rounds: 2 * accountable().header_rounds + 2, ..accountable() };
        least.check().unwrap();
    }

    #[test]
    fn a_server_that_could_not_show_what_it_delivered_does_not_start() {
        let mut config = Config::from_toml_with(EXAMPLE, Insecure::ALL).unwrap();
        config.groups = vec![accountable()];
        config.registry = Some(RegistryConfig { folder: "registry".into() });
        let [one, two] = ["127.0.0.1:0", "127.0.0.1:7001"].map(|address| Some(address.parse().unwrap()));
        let link = LinkConfig {
            listen: None,
            peer: None,
            connect: two,
            peer_verifying_key: None,
            peer_channel_key: None,
            peer_timeout_ms: 1_000,
        };
        (config.side, config.link, config.parts_box) = (1, None, None);
        assert!(config.check().unwrap_err().to_string().contains("configure [link]"));
        config.link = Some(link.clone());
        config.check().unwrap();
        let registry = config.registry.take();
        assert!(config.check().unwrap_err().to_string().contains("configure [registry]"));
        config.registry = registry;
        config.side = 2;
        config.link =
            Some(LinkConfig { listen: one, peer: Some("127.0.0.1".parse().unwrap()), connect: None, ..link });
        assert!(config.check().unwrap_err().to_string().contains("configure [box]"));
        let needs = config.shape(&config.groups[0]).box_bytes();
        config.parts_box = Some(BoxConfig { folder: "box".into(), bytes_max: needs - 1 });
        assert!(config.check().unwrap_err().to_string().starts_with("box.bytes_max = "));
        config.parts_box = Some(BoxConfig { folder: "box".into(), bytes_max: needs });
        config.check().unwrap();
    }
}
