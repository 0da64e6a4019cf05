//! What a plan costs in bytes, exactly: every frame of every connection of each server, its header included.
//!
//! PROTOCOL.md section 10 and the paper's 5.2 count strings: a server takes two of a sender and sends one to each of
//! the n members; a dial is one vector per server. [`Strings`] is that. [`Model`] adds what frames take
//! (`engine/docs/WIRE.md`), and is compared with what hosts measured at their sockets. The link between the servers
//! is not in it. Of GRANT it has what must come at the least: what has not come yet when dialling ends is asked for
//! again, and how much that is depends on who was quicker.

mod partitions;

pub use partitions::{PartitionsCost, partitions};

use crate::control::Flow;
use crate::coordinator::connections;
use crate::plan::{Plan, RECORD_BYTES};
use twincast_protocol::accountable::dial::DIAL_TAIL_BYTES;
use twincast_protocol::accountable::turn::is_turn;
use twincast_protocol::format::{Scheme, ShareFormat};
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::parts::PartKind;
use twincast_protocol::statements::HASH_BYTES;
use twincast_protocol::wire::{
    ANSWERS_HEAD_BYTES, Announce, DELIVER_HEAD_BYTES, Dial, Dialled, EpochOpen, FetchHeaders, Grant,
    HEADER_BYTES, HeadersHead, Hello, PartsHead, ROSTER_USERS_MAX, Roster, RoundEnd, Submit, Welcome,
    headers_frame_bytes,
};
use twincast_server::limits::CONFIRM_TILE_BYTES;

/// Senders of a tile of messages.
const TILE_SENDERS: u64 = 64;
/// Bytes of a seed.
const SEED_BYTES: u64 = 32;

/// What clients and each server send each other, all groups together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// HELLO and WELCOME, once.
    pub attach: Flow,
    /// Who the members of an epoch are, and that it opens; an epoch after the first is announced as well.
    pub members: Flow,
    /// Session keys, and that they are in effect.
    pub dial: Flow,
    /// What the servers ask for of confirmations and keys, at the least.
    pub grants: Flow,
    /// Bit confirmations.
    pub confirm: Flow,
    /// Keys and their replies.
    pub keys: Flow,
    /// One round.
    pub round: Flow,
}

/// What the paper counts for one message: strings and vectors, no frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    /// A sender's session key, to each server.
    pub dial_bytes: u64,
    /// What a sender gives each server.
    pub message_bytes_in: [u64; 2],
    /// What each server sends to all members. In answer delivery, where readers ask for K records each whoever sent
    /// them, that is K of them for each one that is sent.
    pub message_bytes_out: [u64; 2],
}

/// What frames are made of.
struct Sizes {
    plan: Plan,
    format: ShareFormat,
    /// Of each server, all groups together.
    connections: u64,
    groups: u64,
    members: u64,
    slots: u64,
}

/// Strings and vectors of one message of a plan.
///
/// # Errors
/// As [`Plan::format`].
pub fn strings(plan: &Plan) -> Result<Strings, String> {
    let format = plan.format()?;
    if plan.answers() {
        return Ok(Strings {
            dial_bytes: u64::from(plan.group).div_ceil(8),
            message_bytes_in: [RECORD_BYTES; 2],
            message_bytes_out: [u64::from(plan.slots) * RECORD_BYTES; 2],
        });
    }
    let cells = ServerSide::BOTH.map(|side| format.cell_bytes(side) as u64);
    let rows = ServerSide::BOTH.map(|side| format.row_bytes(side) as u64);
    Ok(Strings {
        dial_bytes: u64::from(plan.group).div_ceil(8),
        message_bytes_in: rows,
        message_bytes_out: cells.map(|cell| cell * u64::from(plan.group)),
    })
}

/// The bytes of an epoch of a plan, and of a round in it; `epoch` 0 or any later one. Nobody joins or leaves.
///
/// # Errors
/// As [`Plan::format`].
pub fn model(plan: &Plan, epoch: u32) -> Result<Model, String> {
    let sizes = Sizes {
        format: plan.format()?,
        connections: connections(plan),
        groups: plan.groups.into(),
        members: plan.group.into(),
        slots: plan.slots.into(),
        plan: plan.clone(),
    };
    let runs = sizes.runs();
    let all = |of: &dyn Fn(PartKind, u64) -> Flow, is_wanted: fn(PartKind) -> bool| {
        let wanted = runs.iter().filter(|(kind, _)| is_wanted(*kind));
        wanted.fold(Flow::default(), |all, (kind, slots)| all + of(*kind, *slots))
    };
    let is_confirmation = |kind| kind == PartKind::Confirmation;
    Ok(Model {
        attach: sizes.attach(),
        members: sizes.members(epoch),
        dial: sizes.dial(),
        grants: all(&|kind, slots| sizes.grants(kind, slots), |_| true),
        confirm: all(&|kind, slots| sizes.parts(kind, slots), is_confirmation),
        keys: all(&|kind, slots| sizes.parts(kind, slots), |kind| kind != PartKind::Confirmation),
        round: sizes.round(),
    })
}

/// What headers take in all rounds of a plan, at the most: at each of its turns a member asks both servers for one tile, and
/// gets it. Which tile is drawn, and this counts the longest; what the turns of the last rounds ask for may not have come
/// when a run ends. Nothing in groups that are not accountable.
#[must_use]
pub fn headers(plan: &Plan) -> Flow {
    if !plan.accountable {
        return Flow::default();
    }
    let tiles = plan.group.div_ceil(TILE_SENDERS as u32);
    let (mut up, mut down) = (0, 0);
    for user in (0..plan.group).map(MemberIndex) {
        let turns = turns(plan, user, plan.all_rounds());
        let places = (0..plan.slots).flat_map(|slot| (0..tiles).map(move |tile| (slot, tile)));
        let longest = places.map(|(slot, tile)| {
            let fetch = FetchHeaders::new(RoundNumber(1), Epoch(0), user, SlotIndex(slot), tile);
            headers_frame_bytes(&HeadersHead::new(&fetch, plan.group, plan.slots, 0)) as u64
        });
        up += turns * frame::<FetchHeaders>(0);
        down += turns * longest.max().unwrap_or(0);
    }
    let groups = u64::from(plan.groups);
    Flow { up: [groups * up; 2], down: [groups * down; 2] }
}

/// What a member has asked each server for headers with before it begins a round, its frames included: in lockstep it asks at
/// the end of each round of its turns, and submits for the next one after that. 0 in groups that are not accountable.
#[must_use]
pub fn asked_bytes_before(plan: &Plan, member: MemberIndex, round: u64) -> u64 {
    turns(plan, member, round.saturating_sub(1)) * frame::<FetchHeaders>(0)
}

/// How many of the first `rounds` rounds are a member's turn to ask for headers.
fn turns(plan: &Plan, member: MemberIndex, rounds: u64) -> u64 {
    let rounds = (1..=rounds).map(RoundNumber);
    rounds.filter(|round| is_turn(*round, member, plan.header_rounds)).count() as u64
}

/// What one member gives each server in a round, its frame included.
///
/// # Errors
/// As [`Plan::format`].
pub fn submission_bytes(plan: &Plan) -> Result<[u64; 2], String> {
    let everybody = u64::from(plan.groups) * u64::from(plan.group);
    Ok(model(plan, 0)?.round.up.map(|bytes| bytes / everybody))
}

/// A frame of this struct and so many bytes more.
fn frame<T>(tail_bytes: u64) -> u64 {
    (HEADER_BYTES + size_of::<T>()) as u64 + tail_bytes
}

impl Sizes {
    /// Members of all groups.
    fn everybody(&self) -> u64 {
        self.groups * self.members
    }

    fn dials(&self) -> bool {
        !matches!(self.format.scheme(), Scheme::OneToMany { .. })
    }

    fn attach(&self) -> Flow {
        let proof = if self.plan.is_registered() { SIGNATURE_BYTES as u64 } else { 0 };
        let up = self.connections * frame::<Hello>(0) + self.everybody() * (4 + proof);
        Flow { up: [up; 2], down: [self.connections * frame::<Welcome>(0); 2] }
    }

    fn members(&self, epoch: u32) -> Flow {
        let rosters = self.members.div_ceil(ROSTER_USERS_MAX.into());
        let announce = if epoch == 0 { 0 } else { frame::<Announce>(0) };
        let each = announce + rosters * frame::<Roster>(0) + self.members * 4 + frame::<EpochOpen>(0);
        Flow { up: [0; 2], down: [self.connections * each; 2] }
    }

    fn dial(&self) -> Flow {
        if !self.dials() {
            return Flow::default();
        }
        let dials = self.everybody() * self.slots;
        let signed = if self.plan.accountable { DIAL_TAIL_BYTES as u64 } else { 0 };
        let up = dials * frame::<Dial>(self.members.div_ceil(8) + signed);
        Flow { up: [up; 2], down: [dials * frame::<Dialled>(0); 2] }
    }

    /// What members give at the start of an epoch, and for how many slots.
    fn runs(&self) -> Vec<(PartKind, u64)> {
        let confirmations = self.plan.confirm.then_some((PartKind::Confirmation, self.slots));
        let keys = [PartKind::Key, PartKind::KeyReply].map(|kind| self.plan.keys.then_some((kind, 1)));
        confirmations.into_iter().chain(keys.into_iter().flatten()).collect()
    }

    /// Parts of one kind in so many slots: from each sender a seed for S1 and a part for each member for S2, to each
    /// member one from either.
    fn parts(&self, kind: PartKind, slots: u64) -> Flow {
        let (senders, part_bytes) = (self.everybody() * slots, kind.bytes() as u64);
        let heads = self.connections * self.part_tiles(kind) * slots * DELIVER_HEAD_BYTES as u64;
        Flow {
            up: [
                senders * frame::<PartsHead>(SEED_BYTES),
                senders * frame::<PartsHead>(self.members * part_bytes),
            ],
            down: [heads + senders * self.members * part_bytes; 2],
        }
    }

    /// A grant for one sender goes to its connection, right after its dial: confirmations, where they can be kept. One
    /// for a tile goes to all connections, when the tile is due.
    fn grants(&self, kind: PartKind, slots: u64) -> Flow {
        let each = self.everybody() * slots;
        let tiles = self.connections * self.part_tiles(kind) * slots;
        let is_early = kind == PartKind::Confirmation;
        let grants =
            [is_early, is_early && self.plan.box_mib > 0].map(|early| if early { each } else { tiles });
        Flow { up: [0; 2], down: grants.map(|grants| grants * frame::<Grant>(0)) }
    }

    /// Tiles of parts in one slot.
    fn part_tiles(&self, kind: PartKind) -> u64 {
        self.members.div_ceil(self.part_tile_senders(kind))
    }

    /// Senders to a tile of parts: a power of two that keeps the tile within a server's limit.
    fn part_tile_senders(&self, kind: PartKind) -> u64 {
        let fit = CONFIRM_TILE_BYTES as u64 / (self.members * kind.bytes() as u64);
        1 << fit.clamp(1, TILE_SENDERS).ilog2()
    }

    /// A record from each sender, and K from each server to each reader under one head a connection. Nobody is absent
    /// from a good run, so that the head's list of who is has no entries.
    fn answers(&self) -> Flow {
        let answers = self.everybody() * self.slots * RECORD_BYTES;
        let up = self.everybody() * frame::<Submit>(RECORD_BYTES);
        Flow { up: [up; 2], down: [self.connections * ANSWERS_HEAD_BYTES as u64 + answers; 2] }
    }

    fn round(&self) -> Flow {
        if self.plan.answers() {
            return self.answers();
        }
        let choices = if self.dials() { 0 } else { 2 * self.members };
        let tiles = self.members.div_ceil(TILE_SENDERS) * self.slots;
        let signed = if self.plan.accountable { SIGNATURE_BYTES as u64 } else { 0 };
        // What a server signs: who was present, for each connection, and what it delivers, for each user.
        let receipts = if self.plan.accountable {
            let words = 8 * self.members.div_ceil(TILE_SENDERS);
            self.connections * (words + signed) + self.everybody() * (HASH_BYTES as u64 + signed)
        } else {
            0
        };
        let heads = receipts + self.connections * (tiles * DELIVER_HEAD_BYTES as u64 + frame::<RoundEnd>(0));
        let up = |side| {
            let row = self.format.row_bytes(side) as u64 * self.slots;
            self.everybody() * frame::<Submit>(choices + row + signed)
        };
        let down = |side| {
            let cells = self.everybody() * self.members * self.slots;
            heads + cells * self.format.cell_bytes(side) as u64
        };
        Flow { up: ServerSide::BOTH.map(up), down: ServerSide::BOTH.map(down) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{answer_plan, many, plan};
    use crate::plan::{Peers, ProfileName};

    /// Section 10's table: n * n cells a round, n * n * 64 bytes of confirmations, and 2% of frames at the most.
    #[test]
    fn a_round_costs_what_the_protocol_says() {
        for (group, profile, share) in [
            (1_000, ProfileName::Compact, 336),
            (1_000, ProfileName::PaperXor, 771),
            (2_000, ProfileName::PaperAdd, 772),
        ] {
            let frame_bytes = crate::plan::frame_bytes_default(profile);
            let plan = Plan { group, profile, frame_bytes, ..plan() };
            let cells = u64::from(group) * u64::from(group);
            let model = model(&plan, 0).unwrap();
            assert_eq!(strings(&plan).unwrap().message_bytes_out, [u64::from(group) * share; 2]);
            assert_eq!(strings(&plan).unwrap().message_bytes_in, [2 * share; 2]);
            for side in 0..2 {
                let over = model.round.down[side] - cells * share;
                assert!(over > 0 && over * 50 < cells * share, "{over} bytes of frames");
                assert!(model.confirm.down[side] >= cells * 64);
            }
            assert_eq!(model.keys, Flow::default());
        }
    }

    #[test]
    fn algorithm_4_costs_s1_a_pair_and_one_to_many_a_half_for_each_subgroup() {
        let paper = Plan { group: 130, profile: ProfileName::PaperXor, frame_bytes: 256, ..plan() };
        let pair = Plan { peers: Peers::Subgroup(25), ..paper.clone() };
        assert_eq!(strings(&pair).unwrap().message_bytes_out, [130 * 1542, 130 * 771]);
        assert_eq!(strings(&pair).unwrap().message_bytes_in, [4 * 771, 2 * 771]);
        let dealt = Plan { peers: Peers::Many(many(4, 2, 3)), ..paper };
        assert_eq!(strings(&dealt).unwrap().message_bytes_in, [2 * 5 * 771; 2]);
        let model = model(&dealt, 0).unwrap();
        assert_eq!(model.dial, Flow::default(), "nobody dials what is dealt round by round");
        assert_eq!(model.round.up, [130 * (8 + 16 + 2 * 130 + 10 * 771); 2]);
    }

    #[test]
    fn what_guards_a_group_is_counted_by_hand() {
        use crate::plan::IdentitiesName;
        use twincast_protocol::accountable::headers::entry_bytes;
        let plain = Plan { group: 130, hosts: 2, users_per_connection: 65, ..plan() };
        let registered = Plan { identities: IdentitiesName::Registered, ..plain.clone() };
        let signed = Plan { accountable: true, header_rounds: 4, ..registered.clone() };
        let [plain, registered, signed] = [plain, registered, signed].map(|plan| model(&plan, 0).unwrap());
        assert_eq!(registered.attach.up[0] - plain.attach.up[0], 130 * 64);
        assert_eq!(registered.round, plain.round);
        assert_eq!(signed.dial.up[1] - registered.dial.up[1], 130 * 160);
        assert_eq!(signed.round.up[0] - registered.round.up[0], 130 * 64);
        // Every member has one turn in four rounds. All tiles are whole, and of 128 leaves a path has seven hashes.
        let turns = Plan { accountable: true, header_rounds: 4, warmup: 1, rounds: 3, group: 128, ..plan() };
        let entry = entry_bytes(1, 7) as u64;
        let each = 8 + 64 + 32 + 64 * entry + 64;
        assert_eq!(headers(&turns), Flow { up: [128 * 32; 2], down: [128 * each; 2] });
        // Member 2 asks at the ends of rounds 2 and 6.
        let asked = [2, 3, 6, 7].map(|round| asked_bytes_before(&turns, MemberIndex(2), round));
        assert_eq!(asked, [0, 32, 32, 64]);
        let unsigned = Plan { accountable: false, header_rounds: 0, ..turns };
        assert_eq!(
            (headers(&unsigned), asked_bytes_before(&unsigned, MemberIndex(2), 7)),
            (Flow::default(), 0)
        );
        // Two connections, three tiles.
        assert_eq!(signed.round.down[0] - registered.round.down[0], 2 * (3 * 8 + 64) + 130 * 96);
    }

    #[test]
    fn answers_are_counted_by_hand() {
        let plan =
            Plan { group: 10, hosts: 2, users_per_connection: 3, slots: 2, groups: 3, ..answer_plan() };
        let model = model(&plan, 0).unwrap();
        // Four connections for each group, of three or two users.
        assert_eq!(model.attach, Flow { up: [3 * (4 * 24 + 40); 2], down: [12 * 108; 2] });
        assert_eq!(model.dial, Flow { up: [60 * (8 + 24 + 2); 2], down: [60 * 32; 2] });
        assert_eq!(model.round.up, [30 * (8 + 16 + 352); 2]);
        assert_eq!(model.round.down, [12 * 72 + 60 * 352; 2]);
        assert_eq!((model.confirm, model.keys, model.grants), Default::default());
        let strings = strings(&plan).unwrap();
        assert_eq!((strings.message_bytes_in, strings.message_bytes_out), ([352; 2], [704; 2]));
    }

    /// Section 10's table, and what may come on top of it.
    #[test]
    fn a_round_of_answers_costs_what_the_protocol_says() {
        for (group, users_per_connection, over) in
            [(10_000, 10, 0.1), (10_000, 1, 0.25), (100_000, 512, 0.02)]
        {
            let plan = Plan { group, users_per_connection, ..answer_plan() };
            let (answers, round) = (u64::from(group) * 352, model(&plan, 0).unwrap().round);
            let more = round.down[0] - answers;
            assert!(more > 0 && more as f64 <= over * answers as f64, "{more} of {answers}");
        }
    }

    #[test]
    fn everything_is_counted_for_a_small_group_by_hand() {
        let plan = Plan { group: 10, hosts: 2, users_per_connection: 3, slots: 2, keys: true, ..plan() };
        let model = model(&plan, 0).unwrap();
        // Two connections of three and one of two for each host: four.
        assert_eq!(model.attach, Flow { up: [4 * 24 + 40; 2], down: [4 * 108; 2] });
        assert_eq!(model.members.down, [4 * (8 + 16 + 40 + 8 + 16); 2]);
        assert_eq!(model.dial, Flow { up: [20 * (8 + 24 + 2); 2], down: [20 * 32; 2] });
        assert_eq!(model.round.up, [10 * (8 + 16 + 2 * 2 * 336); 2]);
        assert_eq!(model.round.down, [4 * (2 * 64 + 32) + 200 * 336; 2]);
        assert_eq!(model.confirm.up, [20 * (8 + 16 + 32), 20 * (8 + 16 + 640)]);
        assert_eq!(model.confirm.down, [4 * 2 * 64 + 200 * 64; 2]);
        assert_eq!(model.grants.down, [20 * 32 + 4 * 2 * 32, 4 * 2 * 32 + 4 * 2 * 32]);
        assert_eq!(model.keys.up, [2 * 10 * 56, 2 * 10 * (24 + 960)]);
        let boxed = super::model(&Plan { box_mib: 1, ..plan.clone() }, 0).unwrap();
        assert_eq!(boxed.grants.down, [20 * 32 + 4 * 2 * 32; 2]);
        let later = super::model(&plan, 3).unwrap();
        assert_eq!(later.members.down[0] - model.members.down[0], 4 * 56);
    }
}
