//! The roof's sending side: one thread, blocking sends of one ready buffer, the connections in turn.

use super::{SenderNews, SenderOrder, Sent};
use crate::process::cpu_seconds;
use std::io::{BufRead as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use twincast_ring::tcp_info;

/// Bytes of one send.
const BUFFER_BYTES: u64 = 256 << 10;

/// Obeys [`SenderOrder`] lines on stdin until told to stop or until they end.
///
/// # Errors
/// The standard streams broke. What goes wrong with the connections is told as [`SenderNews::Failed`] first.
pub fn run() -> anyhow::Result<()> {
    let mut sockets = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let news = match serde_json::from_str(&line?)? {
            SenderOrder::Connect { readers, connections } => {
                connect(&readers, &connections).map(|connected| {
                    sockets = connected;
                    SenderNews::Connected
                })
            }
            SenderOrder::Send { bytes } => send(&mut sockets, bytes).map(SenderNews::Sent),
            SenderOrder::Stop => break,
        };
        let news = news.unwrap_or_else(|error| SenderNews::Failed(format!("a plain send failed: {error}")));
        let mut stdout = std::io::stdout().lock();
        serde_json::to_writer(&mut stdout, &news)?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
    }
    Ok(())
}

/// A connection, and the bytes that were ever sent over it.
struct Socket {
    stream: TcpStream,
    sent: u64,
}

fn connect(readers: &[SocketAddr], connections: &[u64]) -> std::io::Result<Vec<Socket>> {
    let socket = |reader: &SocketAddr| Ok(Socket { stream: TcpStream::connect(reader)?, sent: 0 });
    let each = readers.iter().zip(connections);
    each.flat_map(|(reader, count)| (0..*count).map(move |_| socket(reader))).collect()
}

fn send(sockets: &mut [Socket], bytes: u64) -> std::io::Result<Sent> {
    let buffer = vec![0x5a; BUFFER_BYTES as usize];
    let share = bytes / sockets.len().max(1) as u64;
    let (cpu, start) = (cpu_seconds(), Instant::now());
    let mut left = share;
    while left > 0 {
        let length = left.min(BUFFER_BYTES);
        for socket in &mut *sockets {
            socket.stream.write_all(&buffer[..length as usize])?;
            socket.sent += length;
        }
        left -= length;
    }
    for socket in &*sockets {
        until_acknowledged(socket)?;
    }
    Ok(Sent {
        bytes: share * sockets.len() as u64,
        cpu_seconds: cpu_seconds() - cpu,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// So that the end of the sending is not the filling of the send buffers.
fn until_acknowledged(socket: &Socket) -> std::io::Result<()> {
    while tcp_info(&socket.stream)?.bytes_acked < socket.sent {
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn what_is_sent_arrives_and_is_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let reader = std::thread::spawn(move || {
            let mut far: Vec<TcpStream> = (0..2).map(|_| listener.accept().unwrap().0).collect();
            far.iter_mut()
                .map(|far| {
                    let mut bytes = Vec::new();
                    far.read_to_end(&mut bytes).unwrap();
                    bytes.len()
                })
                .sum::<usize>()
        });
        let mut sockets = connect(&[address], &[2]).unwrap();
        // Small enough for the socket buffers: the reader takes one connection after the other.
        let sent = send(&mut sockets, 100_000).unwrap();
        assert_eq!(sent.bytes, 100_000);
        assert!(sent.seconds > 0.0);
        drop(sockets);
        assert_eq!(reader.join().unwrap(), 100_000);
    }
}
