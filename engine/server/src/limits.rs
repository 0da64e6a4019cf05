//! Every limit of the server, named once. What a peer sends is checked against these; what the server sizes at
//! start is sized by them.

use twincast_protocol::wire::DELIVER_HEAD_BYTES;

/// Senders to a tile of messages: the bits of a select word.
pub const TILE_SENDERS: usize = 64;

/// The largest group, in members. A group's session keys take `n * n * K / 8` bytes: 512 MiB here for one slot.
pub const MEMBERS_MAX: u32 = 65_536;
/// The same where the delivery is `answer`: an epoch's queries take 8 GiB there for each query of a member.
pub const ANSWER_MEMBERS_MAX: u32 = 262_144;
/// The smallest group.
pub const MEMBERS_MIN: u32 = 2;
/// The most slots of a member.
pub const SLOTS_MAX: u32 = 256;
/// The most groups of one server.
pub const GROUPS_MAX: usize = 4_096;

/// Memory that a server may size for its groups unless its configuration says otherwise, in bytes.
pub const GROUP_MEMORY_BYTES_DEFAULT: u64 = 4 << 30;

/// Rounds of tiles that a group keeps buffers for: the open one, the next one, two whole rounds that readers may be
/// behind with the one that they are in, and two more, since who lags is known when a round is sealed and closed when
/// the one after it is. A few who lag thus never cost a round.
pub const ROUNDS_BUFFERED: usize = 7;
/// Whole rounds that a reader may be behind the newest sealed one before it counts as lagging.
pub const ROUNDS_LATE_MAX: u64 = 2;
/// One part in so many of a group's users may lag; when more do, the next round is skipped instead.
pub const LAGGING_PART_MAX: u32 = 4;

/// Rounds from the announcement of an epoch to its first one, at the least: the open round and the next one take
/// submissions before the other server may know where the epoch ends.
pub const ANNOUNCE_ROUNDS_MIN: u32 = 2;
/// The same, unless configured.
pub const ANNOUNCE_ROUNDS_DEFAULT: u32 = 4;
/// The shortest interval of timed rounds that may be configured: a front looks at its deadlines every
/// [`TICK_MS`].
pub const INTERVAL_MS_MIN: u64 = 2 * TICK_MS;
/// Rounds beyond the open one for which the other server's words are kept.
pub const PEER_ROUNDS_AHEAD_MAX: u64 = 8;
/// Rounds that a server says that it leaves out to be where the other one is; those before them it passes over.
pub const ROUNDS_CAUGHT_UP_MAX: u64 = 64;
/// Rounds that two servers may be apart beyond an epoch's length when they agree on the next one. Where they are
/// further apart a new link brings them together first.
pub const ROUNDS_APART_MAX: u64 = 1_024;
/// DIAL frames on a connection for each of its users' slots and each dialled epoch, past which it is a flood.
pub const DIALS_PER_SLOT_MAX: u64 = 4;
/// The same for each slot of a member over all connections: more, for who loses its connection dials anew.
pub const MEMBER_DIALS_PER_SLOT_MAX: u64 = 64;
/// Records that a connection sends and that their senders have not signed, at which it is closed.
pub const WRONG_SIGNATURES_MAX: u32 = 8;
/// SUBMITs of a user that are refused within one round, at which its connection is closed: who is late, or does not know
/// of a new epoch yet, comes to a few.
pub const SUBMISSIONS_REFUSED_MAX: u32 = 64;
/// The last epoch that there may be: some numbers are left for the one after it.
pub const EPOCH_MAX: u32 = u32::MAX - 4;
/// Epochs of an accountable group that a server may be ahead of the Unix time in seconds, with which epochs begin after a
/// start: some days of an epoch a second.
pub const EPOCHS_AHEAD_MAX: u32 = 1 << 20;
/// Epochs that are kept on the disk as begun before they are: so many begin without a write, and a start leaves out as many at
/// the most.
pub const EPOCHS_KEPT_AHEAD: u32 = 15;
/// Tiles that a connection has asked for with FETCH and that are not answered, or on their way to it.
pub const FETCHED_TILES_MAX: usize = 48;
/// Bytes of parts that a front executor makes for FETCH before everything else has its turn.
pub const FETCH_BYTES_PER_TURN: usize = 1 << 20;
/// Bytes of answers to FETCH that are made and not sent, for each user of a connection: some tiles. Each user sits on
/// one connection; a group has twice as much for all of them, for the sake of connections that are being closed.
pub const FETCHED_USER_BYTES_MAX: usize = 16 << 10;
/// The same for a whole connection.
pub const FETCHED_BYTES_MAX: usize = 33 << 20;

/// Headers that are made and not sent: those of the members whose turn is in so many rounds. Who is further behind lags.
pub const HEADERS_ROUNDS_UNSENT: usize = 4;
/// Headers that one user asked for and is not answered: where it asks for more, it is told that it gets the oldest not.
pub const HEADERS_WAITING_MAX: usize = 4;

/// A confirmation tile holds as many senders as fit into so many bytes (a power of two, at most 64, at least one).
pub const CONFIRM_TILE_BYTES: usize = 16 << 20;
/// Confirmation tiles that are granted, filled or on their way at a time.
pub const CONFIRM_TILES_BUFFERED: usize = 6;

/// Cells whose hashes a fan-out core signs in one turn, for all its connections, before whoever else has bytes to send and
/// what has come to the core's queue; the user at whom they end gets its signature in this turn. A hash takes a tenth of a
/// microsecond or so: these take a millisecond or two, and a turn's entry into the kernel costs a hundredth of that.
pub const SIGNED_CELLS_PER_TURN: usize = 1 << 14;

/// Bytes of kept parts that go into tiles before the others of an executor have their turn.
pub const PARTS_FILL_BYTES_MAX: usize = 16 << 20;

/// Connections at a time unless the configuration says otherwise.
pub const CONNECTIONS_DEFAULT: usize = 4_096;
/// The most connections that may be configured.
pub const CONNECTIONS_MAX: usize = 1 << 16;
/// Members that one connection may play unless the configuration says otherwise.
pub const USERS_PER_CONNECTION_DEFAULT: u32 = 16_384;

/// Frames that wait for one connection alone (answers and errors); past it the peer is a slow reader. A connection whose
/// users have many slots may have two for each, a dial's answer and an error, up to the second number.
pub const PRIVATE_FRAMES_MAX: usize = 16_384;
/// See [`PRIVATE_FRAMES_MAX`].
pub const PRIVATE_FRAMES_MOST: usize = 1 << 18;
/// Messages on their way from a front executor to one fan-out core.
pub const CORE_QUEUE_MAX: usize = 16_384;
/// Works on their way to one answer thread, and those that any of them may do.
pub const ANSWER_QUEUE_MAX: usize = 16_384;
/// Tiles whose signatures an answer thread verifies together: the more, the less time each signature takes, and the
/// longer everything else waits.
pub const VERIFY_TILES_MAX: usize = 8;
/// Messages on their way to one front executor.
pub const FRONT_QUEUE_MAX: usize = 16_384;

/// Bytes kept for a connection that has said no valid HELLO header yet.
pub const STRANGER_BYTES: usize = 4 << 10;
/// Bytes of a peer that was turned away that are read and dropped, so that it hears why.
pub const DROPPED_BYTES_MAX: usize = 2 << 20;
/// Messages that wait in an executor for room in one core's queue, past which whoever causes answers is closed.
pub const BACKLOG_MAX: usize = 65_536;
/// Bytes that a connection's reader takes from its socket at a time.
pub const READ_BYTES: usize = 64 << 10;
/// Reads that a connection makes before the others of its executor have their turn.
pub const READS_PER_TURN: usize = 4;
/// How often a front executor looks at its deadlines, in milliseconds.
pub const TICK_MS: u64 = 10;

/// Time for a connection to say HELLO, unless configured.
pub const HELLO_TIMEOUT_MS_DEFAULT: u64 = 5_000;
/// Time that a reader may acknowledge no byte, unless configured.
pub const READER_TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// From a round's first submission to its seal, unless configured.
pub const ROUND_TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// From the first attachment to the end of dialling, unless configured.
pub const DIAL_TIMEOUT_MS_DEFAULT: u64 = 60_000;
/// The longest time limit that may be configured: a day.
pub const TIMEOUT_MS_MAX: u64 = 86_400_000;
/// Time that a connection gets to take its last bytes before it is closed.
pub const FLUSH_TIMEOUT_MS: u64 = 1_000;

/// Front executors, fan-out threads and answer threads at the most, of each kind.
pub const THREADS_MAX: usize = 256;
/// The least that may be asked for as a client's send buffer: about what the kernel gives at the least.
pub const SEND_BUFFER_BYTES_MIN: usize = 4 << 10;
/// The most: the kernel counts twice as much in a signed number of 32 bits.
pub const SEND_BUFFER_BYTES_MAX: usize = 512 << 20;
/// Locked memory that glommio needs for each executor.
pub const EXECUTOR_MEMLOCK_BYTES: u64 = 512 << 10;
/// Descriptors for everything that is no connection: rings, doorbells, listeners, logs.
pub const DESCRIPTORS_SPARE: u64 = 64;

const _: () = assert!(TILE_SENDERS == u64::BITS as usize);
const _: () =
    assert!(ROUNDS_BUFFERED as u64 >= 2 + ROUNDS_LATE_MAX + 1 + 2, "a few who lag never cost a round");
const _: () = assert!(CONFIRM_TILES_BUFFERED >= 2, "one is filled while one is on its way");
const _: () = assert!(CONFIRM_TILE_BYTES >= MEMBERS_MAX as usize * 96, "one sender's parts of any kind fit");
const _: () = assert!(
    FETCHED_TILES_MAX >= 2 * twincast_protocol::wire::FETCH_TILES_MAX as usize,
    "who has read a window may ask for the next before this server knows"
);
const _: () = assert!(
    FETCHED_USER_BYTES_MAX >= 2 * (TILE_SENDERS * 96 + DELIVER_HEAD_BYTES)
        && FETCHED_BYTES_MAX >= 2 * (CONFIRM_TILE_BYTES + DELIVER_HEAD_BYTES),
    "one answer is made while one is on its way"
);
const _: () = assert!(READ_BYTES >= 4096, "the fixed part of every frame fits into one read");

/// Bytes at the start of a box's file.
pub const BOX_FILE_HEAD_BYTES: u64 = 24;
/// Bytes in front of each sender's parts in it.
pub const BOX_REGION_HEAD_BYTES: u64 = 24;
/// A box's size, for each group and epoch, unless configured.
pub const BOX_BYTES_DEFAULT: u64 = 1 << 30;

/// How long a round waits for the other server's word, unless configured.
pub const PEER_TIMEOUT_MS_DEFAULT: u64 = 2_000;
/// Frames for the other server that wait for the link's thread; past it the link is cut and made anew.
pub const LINK_QUEUE_MAX: usize = 1 << 16;
/// Bytes for the other server that wait for its socket; more stay in the queue.
pub const LINK_SEND_BYTES: usize = 256 << 10;
/// Bytes of the link that are read at a time.
pub const LINK_READ_BYTES: usize = 64 << 10;
/// Connections from S1's address to S2's link that have not said LINK_HELLO; the oldest goes for a further one.
pub const LINK_STRANGERS_MAX: usize = 8;
/// How often the log says at the most that connections from other addresses came to it.
pub const LINK_STRANGERS_LOG_MS: u64 = 60_000;
/// Time for the other server to answer a connection with LINK_HELLO.
pub const LINK_HELLO_TIMEOUT_MS: u64 = 5_000;
/// Time between two tries to connect to the other server: at first, and at the most.
pub const LINK_RETRY_MS_MIN: u64 = 20;
/// See [`LINK_RETRY_MS_MIN`].
pub const LINK_RETRY_MS_MAX: u64 = 1_000;

const _: () = assert!(
    GROUPS_MAX * 88 + 8 <= twincast_protocol::wire::link::LINK_BODY_BYTES_MAX as usize,
    "one LINK_HELLO has all groups"
);

/// Connections of one address that have not said who they are, at a time, unless configured.
pub const STRANGERS_PER_ADDRESS_DEFAULT: u32 = 256;
/// Connections of one address that may begin in a second before they have said who they are, unless configured. A handshake
/// takes an eighth of a millisecond of a core or so: one address has an eighth of a core for its handshakes, and a thousand
/// people behind it may come at once.
pub const STRANGER_CONNECTIONS_PER_SECOND_DEFAULT: u32 = 1_000;
/// Bytes that one address may send in a second over connections that have not said who they are, unless configured.
pub const STRANGER_BYTES_PER_SECOND_DEFAULT: u64 = 64 << 20;
/// Every so many rounds each member of an accountable group asks for the headers of one tile, unless configured.
pub const HEADER_ROUNDS_DEFAULT: u32 = 16;
/// The most that may be configured: a server keeps what was signed of more than twice as many rounds.
pub const HEADER_ROUNDS_MAX: u32 = 1_024;

/// How long a registration waits for the other server's signature, unless configured.
pub const REGISTRATION_TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// Registrations that wait for the other server's signature at a time; past it strangers are turned away. As many of the
/// other server's signatures are kept for registrations that have not come here yet.
pub const REGISTRATIONS_PENDING_MAX: usize = 65_536;
/// Registrations of one connection that are in work at a time: a commit to the disk serves them all.
pub const REGISTRATIONS_IN_WORK_MAX: usize = 256;
/// Accounts of a group for each member that it may have, at which no user can register any more: members come and go, and
/// their accounts stay.
pub const ACCOUNTS_PER_MEMBER_MAX: usize = 8;
/// Messages on their way to the registry's thread.
pub const REGISTRY_QUEUE_MAX: usize = 4_096;
/// Messages that one commit of the registry is for at the most.
pub const REGISTRY_BATCH_MAX: usize = 1_024;
/// Proofs of a HELLO that are verified before everything else of an executor has its turn.
pub const PROOFS_PER_TURN: usize = 128;
/// Bytes of an admin command: one that adds an account for each user of the largest group.
pub const ADMIN_COMMAND_BYTES_MAX: u64 = 64 << 20;
/// How long an admin command may take to be sent, and its answer to be taken.
pub const ADMIN_TIMEOUT_MS: u64 = 2_000;
