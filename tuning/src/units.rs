//! Numbers as a person reads them, where the load generator's words do not reach: terabytes, days.

pub(crate) use twincast_loadgen::units::{bits_per_s, thousands};

/// Traffic in powers of ten; to the byte below 10 kB.
pub(crate) fn traffic(bytes: u64) -> String {
    let number = bytes as f64;
    match number {
        1e15.. => format!("{:.2} PB", number / 1e15),
        1e12.. => format!("{:.2} TB", number / 1e12),
        1e9.. => format!("{:.2} GB", number / 1e9),
        1e6.. => format!("{:.2} MB", number / 1e6),
        1e4.. => format!("{:.1} kB", number / 1e3),
        _ => format!("{} B", thousands(bytes)),
    }
}

/// Memory in powers of two.
pub(crate) fn memory(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    let number = bytes as f64;
    if number >= KIB.powi(4) {
        format!("{:.2} TiB", number / KIB.powi(4))
    } else if number >= KIB.powi(3) {
        format!("{:.2} GiB", number / KIB.powi(3))
    } else {
        format!("{:.1} MiB", number / KIB.powi(2))
    }
}

/// A time, from microseconds to days.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        172_800.0.. => format!("{:.1} days", seconds / 86_400.0),
        7_200.0.. => format!("{:.1} h", seconds / 3_600.0),
        120.0.. => format!("{:.1} min", seconds / 60.0),
        10.0.. => format!("{seconds:.1} s"),
        0.9995.. => format!("{seconds:.2} s"),
        1e-2.. => format!("{:.0} ms", seconds * 1e3),
        1e-3.. => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.1} us", seconds * 1e6),
    }
}

/// The same, or a dash for none.
pub(crate) fn time_or_dash(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".into(), time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([352, 9_999, 352_000].map(traffic), ["352 B", "9,999 B", "352.0 kB"]);
        assert_eq!([3_520_000, 33_600_000_000].map(traffic), ["3.52 MB", "33.60 GB"]);
        assert_eq!([336_000_000_000_000, 2_000_000_000_000_000].map(traffic), ["336.00 TB", "2.00 PB"]);
        assert_eq!([1 << 20, 3 << 30, 5 << 40].map(memory), ["1.0 MiB", "3.00 GiB", "5.00 TiB"]);
        assert_eq!(
            [2e-6, 0.0025, 0.25, 1.5, 45.0].map(time),
            ["2.0 us", "2.5 ms", "250 ms", "1.50 s", "45.0 s"]
        );
        assert_eq!([300.0, 7_200.0, 259_200.0].map(time), ["5.0 min", "2.0 h", "3.0 days"]);
        assert_eq!((time_or_dash(None), time(0.9996)), ("-".into(), "1.00 s".into()));
    }
}
