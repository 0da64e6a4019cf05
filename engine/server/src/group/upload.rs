//! Parts as members give them: which are wanted, and where they go.

use super::epoch::{Coming, Stage};
use super::parts::Upload;
use super::store::Whose;
use super::{ConnectionId, Counted, Group, Output, Refusal, check_sender};
use std::time::Duration;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Code, PartsHead};

impl Group {
    /// S2: whether the parts that follow are wanted, and what they belong to.
    ///
    /// # Errors
    /// What is wrong, as `engine/docs/WIRE.md` lists.
    pub fn parts_begin(&mut self, connection: ConnectionId, head: &PartsHead) -> Result<Upload, Refusal> {
        let refuse = |code| refuse_parts(head, code);
        if self.shape.side != ServerSide::Two {
            return Err(refuse(Code::PartsForm));
        }
        let whose = self.check_parts(connection, head).map_err(refuse)?;
        let coming = self.coming.as_mut().expect("it was checked");
        let live = matches!(&coming.stage, Stage::Parts(phase) if phase.wants(whose));
        if live {
            // Kept for those who come later, if there is room.
            let _ = coming.store.reserve(whose, &mut self.kept);
        } else if !coming.store.is_boxed(whose) {
            return Err(refuse(Code::NotGranted));
        }
        let bytes = coming.roster.members() * whose.kind.bytes();
        Ok(Upload { bytes, whose, serial: coming.serial, dial_id: coming.dials.dial_id(whose) })
    }

    /// S2: bytes `at ..` of parts that [`Group::parts_begin`] took. Bytes for a tile that was sealed meanwhile are
    /// dropped, and those for an epoch that was given up or a dial that was replaced.
    pub fn parts_bytes(&mut self, upload: &Upload, at: usize, bytes: &[u8]) {
        let Some(coming) = coming_for(&mut self.coming, upload) else { return };
        let whose = upload.whose;
        let end = at.checked_add(bytes.len());
        if coming.store.is_given(whose) || end.is_none_or(|end| end > upload.bytes) {
            return;
        }
        if let (PartKind::Confirmation, Some(commitments)) = (whose.kind, &mut coming.commitments) {
            commitments.take_bytes(whose, &coming.dials, at, bytes);
        }
        if let Stage::Parts(phase) = &mut coming.stage {
            phase.put_bytes(whose, at, bytes);
        }
        coming.store.write(whose, at, bytes, &mut self.kept);
    }

    /// S2: all parts are in.
    ///
    /// # Errors
    /// [`Code::PartsUnsigned`]: they are not those that their sender committed to.
    pub fn parts_end(
        &mut self,
        upload: &Upload,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let ended = self.end_parts(upload, out);
        self.advance(now, out);
        ended
    }

    fn end_parts(&mut self, upload: &Upload, out: &mut Vec<Output>) -> Result<(), Refusal> {
        let whose = upload.whose;
        if let Some(coming) = coming_for(&mut self.coming, upload)
            && !coming.store.is_given(whose)
        {
            if let (PartKind::Confirmation, Some(commitments)) = (whose.kind, &mut coming.commitments)
                && !commitments.finish(whose, coming.store.is_boxed(whose))
            {
                refuse_given(coming, whose);
                return Err(unsigned(whose));
            }
            coming.store.set_given(whose);
            if let Stage::Parts(phase) = &mut coming.stage
                && !phase.complete(whose, &mut coming.store, &mut self.kept)
            {
                out.push(Output::Count(Counted::BoxFailed, 1));
            }
        }
        Ok(())
    }

    /// S1: the seed that stands for all parts of a sender.
    ///
    /// # Errors
    /// What is wrong, as `engine/docs/WIRE.md` lists.
    pub fn parts_seed(
        &mut self,
        connection: ConnectionId,
        head: &PartsHead,
        seed: &[u8; 32],
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let refuse = |code| refuse_parts(head, code);
        if self.shape.side != ServerSide::One {
            return Err(refuse(Code::PartsForm));
        }
        let whose = self.check_parts(connection, head).map_err(refuse)?;
        let coming = self.coming.as_mut().expect("it was checked");
        let live = matches!(&coming.stage, Stage::Parts(phase) if phase.wants(whose));
        if whose.kind == PartKind::KeyReply && !live {
            return Err(refuse(Code::NotGranted));
        }
        if let (PartKind::Confirmation, Some(commitments)) = (whose.kind, &mut coming.commitments)
            && !commitments.take_seed(whose, &coming.dials, seed)
        {
            refuse_given(coming, whose);
            self.advance(now, out);
            return Err(unsigned(whose));
        }
        coming.store.put_seed(whose, seed);
        if let Stage::Parts(phase) = &mut coming.stage {
            phase.complete(whose, &mut coming.store, &mut self.kept);
        }
        self.advance(now, out);
        Ok(())
    }

    /// Whether parts of the connection can be taken now, in whatever form.
    fn check_parts(&self, connection: ConnectionId, head: &PartsHead) -> Result<Whose, Code> {
        let coming = self.coming.as_ref().filter(|coming| coming.epoch().0 == head.epoch.get());
        let Some(coming) = coming else {
            let runs = self.running.as_ref().is_some_and(|running| running.epoch().0 == head.epoch.get());
            return Err(if runs { Code::NotGranted } else { Code::EpochWrong });
        };
        let kind = part_kind(head).ok_or(Code::PartsForm)?;
        check_sender(&self.seats, &coming.roster, connection, head.sender.get())?;
        let (slot, sender) = (head.slot.get() as usize, head.sender.get() as usize);
        if slot >= self.shape.slots {
            return Err(Code::SlotOutOfRange);
        }
        let whose = Whose { kind, slot, sender };
        if !coming.store.has(kind, slot) {
            return Err(Code::NotGranted);
        }
        let dialled = match kind {
            PartKind::Confirmation => coming.dials.effective(sender, slot).is_some(),
            PartKind::Key | PartKind::KeyReply => coming.dials.is_dialled(sender),
        };
        let past = matches!(&coming.stage, Stage::Parts(phase) if phase.is_past(whose));
        if !dialled || past || coming.store.is_given(whose) {
            return Err(Code::NotGranted);
        }
        Ok(whose)
    }
}

/// Parts came that are not what they have to be. They are not present, and nobody waits for others.
fn refuse_given(coming: &mut Coming, whose: Whose) {
    coming.store.refuse(whose);
    if let Stage::Parts(phase) = &mut coming.stage {
        phase.refuse(whose);
    }
}

fn unsigned(whose: Whose) -> Refusal {
    Refusal { code: Code::PartsUnsigned, sender: whose.sender as u32, slot: whose.slot as u32, round: 0 }
}

/// The epoch that comes, if it is the one in which an upload was begun, and the dial is still there that it belongs
/// to.
fn coming_for<'a>(coming: &'a mut Option<Coming>, upload: &Upload) -> Option<&'a mut Coming> {
    coming.as_mut().filter(|coming| {
        coming.serial == upload.serial && coming.dials.dial_id(upload.whose) == upload.dial_id
    })
}

pub(super) fn part_kind(head: &PartsHead) -> Option<PartKind> {
    u8::try_from(head.purpose.get()).ok().and_then(PartKind::from_number)
}

fn refuse_parts(head: &PartsHead, code: Code) -> Refusal {
    Refusal { code, sender: head.sender.get(), slot: head.slot.get(), round: 0 }
}
