//! What a client needs of the broker's text protocol (docs.nats.io, "NATS client protocol").

use crate::BaselineError;

/// The longest control line that is read.
pub(super) const LINE_BYTES_MAX: usize = 8 << 10;

/// The end of every line and message.
const END: &[u8] = b"\r\n";

/// Asks for no acknowledgement of each line.
pub(super) const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"1\"}\r\n";
pub(super) const PING: &[u8] = b"PING\r\n";
pub(super) const PONG: &[u8] = b"PONG\r\n";

/// Appends a subscription.
pub(super) fn subscribe(subject: &str, sid: u32, to: &mut Vec<u8>) {
    to.extend_from_slice(format!("SUB {subject} {sid}\r\n").as_bytes());
}

/// Appends a message.
pub(super) fn publish(subject: &str, payload: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
    to.extend_from_slice(payload);
    to.extend_from_slice(END);
}

/// What the broker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Message {
        sid: u32,
        payload: &'a [u8],
    },
    Ping,
    Pong,
    /// Nothing that a client must act on: INFO, +OK.
    Other,
}

/// Reads one thing from the front of what has come; with how many bytes it took. `None`: more bytes are needed.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Said<'_>, usize)>, BaselineError> {
    let Some(length) = bytes.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        let long = bytes.len() >= LINE_BYTES_MAX;
        return if long { Err(odd("a line without end")) } else { Ok(None) };
    };
    let (line, next) = (&bytes[..length], length + 1);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if let Some(head) = line.strip_prefix(b"MSG ") {
        let (sid, size) = message_head(head).ok_or_else(|| odd("a message without sid and size"))?;
        let Some(rest) = bytes[next..].get(..size + END.len()) else { return Ok(None) };
        let (payload, end) = rest.split_at(size);
        return if end == END {
            Ok(Some((Said::Message { sid, payload }, next + rest.len())))
        } else {
            Err(odd("a message of another size than it says"))
        };
    }
    let said = match line {
        b"PING" => Said::Ping,
        b"PONG" => Said::Pong,
        b"+OK" => Said::Other,
        _ if line.starts_with(b"INFO ") => Said::Other,
        _ => return Err(odd(&String::from_utf8_lossy(line))),
    };
    Ok(Some((said, next)))
}

/// Subject, sid and size; a reply subject is never asked for.
fn message_head(head: &[u8]) -> Option<(u32, usize)> {
    let mut fields = head.split(|byte| *byte == b' ').skip(1);
    let sid = u32::try_from(number(fields.next()?)?).ok()?;
    let size = number(fields.next()?)?;
    // A size is bounded, so that no sum of it goes over.
    (fields.next().is_none() && size <= 1 << 20).then_some((sid, size))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn odd(what: &str) -> BaselineError {
    let what: String = what.chars().take(120).collect();
    BaselineError::Protocol(format!("the broker said: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_says_is_read_piece_by_piece() {
        let stream = b"INFO {\"a\":1}\r\nMSG g 17 5\r\nab\r\nc\r\nPING\r\nPONG\r\n";
        let mut at = 0;
        let mut said = Vec::new();
        while let Some((one, taken)) = read(&stream[at..]).unwrap() {
            said.push(one);
            at += taken;
        }
        let message = Said::Message { sid: 17, payload: b"ab\r\nc" };
        assert_eq!(said, [Said::Other, message, Said::Ping, Said::Pong]);
        assert_eq!(at, stream.len());
        let whole = b"MSG g 17 5\r\nab\r\nc\r\n";
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]).unwrap(), None, "{length} bytes of it");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for bad in [
            &b"-ERR 'Slow Consumer'\r\n"[..],
            b"MSG g 17\r\n",
            b"MSG g x 5\r\n",
            b"MSG g 17 99999999999999999999\r\n",
            b"MSG g 17 2000000\r\n",
            b"MSG g 17 1\r\nabc",
            b"MSG g 1 reply 5\r\n",
        ] {
            assert!(read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(read(&vec![b'x'; LINE_BYTES_MAX]).is_err());
    }

    #[test]
    fn what_a_client_says() {
        let mut bytes = Vec::new();
        subscribe("g", 3, &mut bytes);
        publish("g", b"hi", &mut bytes);
        assert_eq!(bytes, b"SUB g 3\r\nPUB g 2\r\nhi\r\n");
    }
}
