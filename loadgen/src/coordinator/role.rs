//! What the processes of a run are there for, and what each says.

use crate::baseline::orders::{BaselineHostNews, BaselineServerNews};
use crate::baseline::{ROLE_BASELINE_HOST, ROLE_BASELINE_SERVER};
use crate::control::{HostNews, ServerNews};
use crate::roof::SenderNews;
use serde::{Deserialize, Serialize};

/// What a peer is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Server,
    Host,
    RoofSender,
    BaselineServer,
    BaselineHost,
}

impl Role {
    /// The hidden subcommand of its process.
    pub(crate) fn subcommand(self) -> &'static str {
        match self {
            Role::Server => super::ROLE_SERVER,
            Role::Host => super::ROLE_HOST,
            Role::RoofSender => super::ROLE_ROOF_SENDER,
            Role::BaselineServer => ROLE_BASELINE_SERVER,
            Role::BaselineHost => ROLE_BASELINE_HOST,
        }
    }

    pub(super) fn read(self, line: &str) -> serde_json::Result<News> {
        Ok(match self {
            Role::Server => News::Server(serde_json::from_str(line)?),
            Role::Host => News::Host(serde_json::from_str(line)?),
            Role::RoofSender => News::Sender(serde_json::from_str(line)?),
            Role::BaselineServer => News::BaselineServer(serde_json::from_str(line)?),
            Role::BaselineHost => News::BaselineHost(serde_json::from_str(line)?),
        })
    }
}

/// What a peer says.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "news come a few times a second")]
pub(crate) enum News {
    Server(ServerNews),
    Host(HostNews),
    Sender(SenderNews),
    BaselineServer(BaselineServerNews),
    BaselineHost(BaselineHostNews),
}

impl News {
    /// Whether its process says every second from then on that it lives.
    pub(super) fn is_beat(&self) -> bool {
        matches!(
            self,
            News::Host(HostNews::Alive | HostNews::Second(_))
                | News::Server(ServerNews::Ready { .. } | ServerNews::Second(_))
        )
    }

    pub(super) fn failure(&self) -> Option<&str> {
        match self {
            News::Server(ServerNews::Failed(sentence))
            | News::Host(HostNews::Failed(sentence))
            | News::Sender(SenderNews::Failed(sentence))
            | News::BaselineServer(BaselineServerNews::Failed(sentence))
            | News::BaselineHost(BaselineHostNews::Failed(sentence)) => Some(sentence),
            _ => None,
        }
    }
}
