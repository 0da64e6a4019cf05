//! What hosts and servers tell second by second while rounds are played.

use super::team::News;
use crate::control::{HostNews, HostSecond, ServerNews, ServerReport};

/// Seconds of every host and server, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// The host's name, and its second.
    pub(crate) hosts: Vec<(String, HostSecond)>,
    /// The server's name, and its counters since its start.
    pub(crate) servers: Vec<(String, ServerReport)>,
}

impl Series {
    /// Keeps a second; gives back what is none.
    pub(super) fn take(&mut self, name: &str, news: News) -> Option<News> {
        match news {
            News::Host(HostNews::Second(second)) => self.hosts.push((name.to_owned(), second)),
            News::Server(ServerNews::Second(report)) => self.servers.push((name.to_owned(), report)),
            news => return Some(news),
        }
        None
    }
}
