//! Why somebody is at fault, or nobody is: a sentence each.

use crate::ids::ServerSide;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// Server: the certificate in its headers is none, or not signed by itself.
    #[error("its headers show a key of the sender that it did not sign itself")]
    BadCertificate,
    /// Server: the upload's signature in its headers is not the sender's.
    #[error("its headers show an upload that the sender did not sign for this round and server")]
    BadUpload,
    /// Server: the dial's signature in its headers is not the sender's.
    #[error("its headers show a dial that the sender did not sign for this epoch and slot")]
    BadDial,
    /// Server: the opening in its headers is not under the root that the sender signed.
    #[error("its headers open a leaf that is not under the root that the sender's dial signed")]
    BadOpening,
    /// Server: its headers do not lead to its own delivery root.
    #[error("its headers do not lead to the delivery root that it signed for this round")]
    OtherRoot,
    /// Server: its headers and its receipt disagree about who is a member, or present.
    #[error("its headers contradict the receipt that it signed for this round")]
    OtherReceipt,
    /// Server: its headers show something of a sender that they say was absent.
    #[error("its headers say that the sender was absent, and show something of it")]
    AbsentShown,
    /// Server: the share that it gave is none that the sender signed.
    #[error(
        "it gave the recipient something that is neither half of what the sender signed for it in this round"
    )]
    NotTheSenders,
    /// Server: it gave the other half than the sender dialled.
    #[error("it gave the recipient the other half than the one that the sender dialled")]
    WrongHalf,
    /// Server: two receipts for one round.
    #[error("it signed two receipts for one round that contradict each other")]
    TwoReceipts,
    /// Sender: what it signed for the two servers does not decode.
    #[error("the two servers passed on what it signed, and that does not decode")]
    DoesNotDecode,
    /// Sender: its two halves are the same.
    #[error("it signed two halves that are the same: everybody reads the same of it, whatever it dialled")]
    EqualHalves,
    /// Sender: two dials under one dial id.
    #[error("it signed two different dials under one dial id")]
    TwoDials,
    /// Sender: its confirmation does not decode.
    #[error("the confirmation that it dialled for the recipient does not decode")]
    NoConfirmation,
    /// Sender: its confirmation has other bits than its session keys.
    #[error("the confirmation that it dialled for the recipient names other bits than its session keys have")]
    LyingConfirmation,
    /// Sender: message where it confirmed none, or none where it confirmed one.
    #[error(
        "both halves are the ones that it dialled, and what they make is not of the kind that it confirmed"
    )]
    OtherKind,
    /// Sender: two uploads for one round and server.
    #[error("it signed two different uploads for one round and server")]
    TwoUploads,
    /// Nobody: what would show something is not signed.
    #[error("what would show it is not signed by whom it should be")]
    NotSigned,
    /// Nobody: a server does not say that the key of the two uploads was the sender's in that round.
    #[error(
        "no headers that {0} signed for this round show the two uploads' key as the sender's, and one of the two where \
         they are for {0}: it may be a key that the sender gave up, with which others can sign"
    )]
    KeyUnattested(ServerSide),
    /// Nobody: the two are the same.
    #[error("the two do not contradict each other")]
    NoContradiction,
    /// Nobody: there are no headers of a server.
    #[error(
        "the evidence has no sound headers of {0}, and what the other server signed has no fault of its own"
    )]
    NoHeaders(ServerSide),
    /// Nobody: the sender was absent at a server.
    #[error(
        "{0} says that the sender was absent; a submission that a server left out can be seen and not shown"
    )]
    Absent(ServerSide),
    /// Nobody: there is no receipt of a server.
    #[error("the evidence has no sound receipt of {0}, so nothing binds who the members are")]
    NoReceipt(ServerSide),
    /// Nobody: the two servers show different keys of the sender.
    #[error("the two servers show different keys of the sender, both of them certified")]
    TwoKeys,
    /// Nobody: the two servers show different dials of the sender.
    #[error(
        "the two servers show dials of the sender with different dial ids, of which one was never in effect"
    )]
    OtherDial,
    /// Nobody: an opening is not shown.
    #[error("the evidence does not show what the sender dialled, and has no cells that convict it")]
    NoOpening,
    /// Nobody: all is well.
    #[error(
        "all that is shown is as it should be; a server that gave another share than it says cannot be told from a recipient that says so"
    )]
    AllIsWell,
}

/// A part of evidence that counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// The members are not listed ascending, or sender or recipient is none of them.
    #[error("the list of members does not ascend, or lacks the sender or the recipient")]
    Roster,
    /// A receipt is not that server's.
    #[error("a receipt is not signed by {0}'s key for this round and these members")]
    Receipt(ServerSide),
    /// A delivery root is not that server's.
    #[error("a delivery root is not signed by {0}'s key for this round and recipient")]
    Delivery(ServerSide),
    /// Headers are not that server's, or not about this share.
    #[error("headers are not signed by {0}'s key for this recipient, or are not about this share")]
    Headers(ServerSide),
    /// The other server's signature under a certificate is wrong. The server that shows it may be honest: the other one may
    /// have had another key, or have told it another one.
    #[error(
        "the certificate that {0} shows is not signed by the other server's key: that server had another key, or told \
         {0} another one, or it never signed this"
    )]
    OtherServer(ServerSide),
    /// A cell is not what the server says that it gave.
    #[error("a cell is not the one that {0} says that it gave")]
    Cell(ServerSide),
    /// A certificate is not both servers'.
    #[error("the sender's key is not signed by both servers")]
    Certificate,
    /// An upload is not signed by its sender.
    #[error("an upload is not signed by the sender")]
    Upload,
}
