//! Numbers as a person reads them.

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bits per second in Gbit/s or Mbit/s.
pub fn bits_per_s(bits: f64) -> String {
    if bits >= 1e9 { format!("{:.2} Gbit/s", bits / 1e9) } else { format!("{:.1} Mbit/s", bits / 1e6) }
}

/// Bytes in GB, MB or kB (powers of ten), as traffic is told.
pub fn traffic(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        1e9.. => format!("{:.2} GB", bytes / 1e9),
        1e6.. => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} kB", bytes / 1e3),
    }
}

/// Bytes of one thing, to the byte where that can be seen.
pub fn bytes(bytes: f64) -> String {
    if bytes < 1e6 { format!("{} B", thousands(bytes.round() as u64)) } else { traffic(bytes as u64) }
}

/// Bytes in MiB, as memory is told.
pub fn memory(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1u32 << 20))
}

/// Seconds in s or ms.
pub fn seconds(seconds: f64) -> String {
    if seconds >= 1.0 { format!("{seconds:.2} s") } else { format!("{:.1} ms", seconds * 1e3) }
}

/// Microseconds in s, ms or us; a dash for none.
pub fn micros(micros: Option<f64>) -> String {
    match micros {
        None => "-".into(),
        Some(us @ ..10.0) => format!("{us:.2} us"),
        Some(us @ ..10_000.0) => format!("{} us", thousands(us.round() as u64)),
        Some(us) => seconds(us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(12_345_678), "12,345,678");
        assert_eq!(bits_per_s(12.345e9), "12.35 Gbit/s");
        assert_eq!(bits_per_s(2.5e6), "2.5 Mbit/s");
        assert_eq!(traffic(336_000_000), "336.0 MB");
        assert_eq!(traffic(3_360_000_000), "3.36 GB");
        assert_eq!((bytes(1_344.4), bytes(336e6)), ("1,344 B".into(), "336.0 MB".into()));
        assert_eq!(memory(256 << 20), "256 MiB");
        assert_eq!(seconds(0.0123), "12.3 ms");
        assert_eq!(micros(Some(0.42)), "0.42 us");
        assert_eq!(micros(Some(9_999.0)), "9,999 us");
        assert_eq!(micros(Some(74.716)), "75 us");
        assert_eq!(micros(Some(123_456.0)), "123.5 ms");
        assert_eq!(micros(None), "-");
    }
}
