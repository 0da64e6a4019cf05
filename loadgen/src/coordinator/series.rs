//! What hosts and servers tell second by second while rounds are played.

use super::progress::View;
use super::team::News;
use crate::control::{HostNews, HostSecond, ServerNews, ServerReport};

/// Seconds of every host and server, in the order in which they came.
///
/// A host's are of one order to play after the other, each from 0 on: warm-up, measured rounds, the roof's. A server's go
/// on from its start to its stop, with [`ServerReport::at_s`] to tell when.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// The host's name, and its second.
    pub(crate) hosts: Vec<(String, HostSecond)>,
    /// The server's name, and its counters since its start.
    pub(crate) servers: Vec<(String, ServerReport)>,
    /// Who looks on.
    pub(crate) view: View,
}

impl Series {
    /// Keeps a second; gives back what is none.
    pub(super) fn take(&mut self, name: &str, news: News) -> Option<News> {
        self.view.hear(name, &news);
        match news {
            News::Host(HostNews::Second(second)) => self.hosts.push((name.to_owned(), second)),
            News::Server(ServerNews::Second(report)) => self.servers.push((name.to_owned(), report)),
            news => return Some(news),
        }
        None
    }
}
