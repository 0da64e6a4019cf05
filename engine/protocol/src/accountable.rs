//! Accountable groups: what members and servers sign, so that anybody can tell offline who altered a share.
//!
//! Everything here is pure. A sender commits to what it dialled ([`dial`]) and signs what it uploads ([`upload`]); a
//! server commits to what it delivers ([`delivery`]) and answers for it when its turn comes ([`headers`], [`turn`]). From
//! that a recipient makes [`evidence::Evidence`], and [`blame::blame`] says who is at fault, or that nobody is.
//!
//! What is signed, byte for byte, is in [`statements`](crate::statements); how it lies in frames in
//! [`wire`](crate::wire). All hashes are SHA-256.
//!
//! # What an honest party has to keep
//!
//! Blame is sound because honest parties never sign two things that contradict each other. So
//!
//! - a server signs one receipt and, for each recipient, one delivery root for an (epoch, round). Its signing key outlives
//!   its run: the first epoch of a run must be one that never was, as in groups with answer delivery;
//! - a server takes an upload only from a sender whose dial it verified and whose confirmation parts came whole, under the
//!   root that the dial signed, and only under a certificate that verifies with the present keys of both servers. So whoever is present can be shown with an opening, and a server cannot hide a swapped half
//!   behind parts that did not come;
//! - a server verifies the uploads and dials of an epoch under one key for each sender: the certificate that it had when it
//!   took the dial. A sender whose key changes in mid-epoch is absent until the next;
//! - a sender never signs two uploads for one round and server, nor two dials with one dial id. A client that starts anew
//!   cannot know what its last life signed: it leaves out the two rounds that took submissions when it came, and draws dial
//!   ids at random.

pub mod blame;
pub mod certificate;
pub mod delivery;
pub mod dial;
pub mod evidence;
pub mod headers;
pub mod tree;
pub mod turn;
pub mod upload;

pub use blame::{Verdict, Why, blame};
pub use certificate::Certificate;
pub use evidence::Evidence;

#[cfg(test)]
mod tests;
