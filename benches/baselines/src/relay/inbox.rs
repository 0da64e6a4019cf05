//! A client host's reading thread: large reads, cut into frames of one size.

use crate::BaselineError;
use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

/// Bytes of a read at the least: few reads, so that the server is what is measured.
const READ_BYTES: usize = 512 << 10;

/// What a host does with what a server delivers.
pub(crate) trait Inbox: Send + 'static {
    /// Bytes of each frame.
    fn frame_bytes(&self) -> usize;

    /// Frames of each round.
    fn frames(&self) -> u64;

    /// Takes the next frame.
    fn take(&mut self, frame: &[u8]) -> Result<(), BaselineError>;

    /// All frames of a round are there.
    fn end_round(&mut self) {}
}

/// Tells of each round when it ended, until the connection ends, which is told too.
pub(super) fn read(
    mut stream: TcpStream,
    mut inbox: impl Inbox,
    bytes_in: &Arc<AtomicU64>,
    rounds: &SyncSender<Result<Instant, BaselineError>>,
) {
    let size = inbox.frame_bytes();
    let mut buffer = vec![0; READ_BYTES.max(2 * size)];
    let (mut filled, mut left) = (0, inbox.frames());
    loop {
        let got = match stream.read(&mut buffer[filled..]) {
            Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            other => other,
        };
        let got = match got {
            Ok(got) => got,
            Err(error) => {
                // Nobody listens any more where the host itself has closed the connection.
                let _ = rounds.send(Err(BaselineError::io("a server's connection ended")(error)));
                return;
            }
        };
        bytes_in.fetch_add(got as u64, Ordering::Relaxed);
        filled += got;
        let whole = filled - filled % size;
        for frame in buffer[..whole].chunks_exact(size) {
            if let Err(error) = inbox.take(frame) {
                let _ = rounds.send(Err(error));
                return;
            }
            left -= 1;
            if left == 0 {
                left = inbox.frames();
                inbox.end_round();
                if rounds.send(Ok(Instant::now())).is_err() {
                    return;
                }
            }
        }
        if whole > 0 {
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
        }
    }
}
