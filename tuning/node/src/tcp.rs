//! TCP: its buffers and its congestion control.

use crate::Finding;
use crate::limits::{BUFFER_BYTES_PER_BYTE, ROUND_TRIP_US};
use crate::machine::Machine;
use crate::text::{quoted, rate, size};

/// Socket buffers against the link.
pub(crate) fn buffers(machine: &Machine) -> Finding {
    const NAME: &str = "socket_buffers";
    let asked = machine.asked;
    let (mut told, mut short, mut remedy) = (Vec::new(), Vec::new(), Vec::new());
    let need = machine.bits_per_s().map(|bits_per_s| {
        let bytes = u128::from(bits_per_s) / 8 * u128::from(ROUND_TRIP_US) / 1_000_000;
        u64::try_from(bytes * u128::from(BUFFER_BYTES_PER_BYTE)).unwrap_or(u64::MAX)
    });
    for (name, is_used) in [("tcp_wmem", asked.role.sends()), ("tcp_rmem", asked.role.receives())] {
        if !is_used {
            continue;
        }
        let file = format!("/proc/sys/net/ipv4/{name}");
        let text = machine.system.read(&file).unwrap_or_default();
        let numbers: Vec<Option<u64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
        let [Some(least), Some(first), Some(most)] = numbers[..] else {
            return Finding::warn(NAME, format!("{file} cannot be read, or is not three numbers"), "");
        };
        told.push(format!("{name} up to {}", size(most)));
        if let Some(need) = need.filter(|need| *need > most) {
            short.push(name);
            // A power of two, as these are written.
            let need = need.checked_next_power_of_two().unwrap_or(need);
            remedy.push(format!("net.ipv4.{name}='{least} {first} {need}'"));
        }
    }
    let mut reasons = Vec::new();
    if let (false, Some(need), Some(speed)) = (short.is_empty(), need, machine.bits_per_s()) {
        reasons.push(format!(
            "{}, and a connection that is to fill {} over a round trip of {} ms needs {}",
            told.join(", "),
            rate(speed),
            ROUND_TRIP_US / 1_000,
            size(need)
        ));
    }
    if asked.role.sends() && asked.send_buffer_bytes > 0 {
        match machine.system.number("/proc/sys/net/core/wmem_max").and_then(|most| u64::try_from(most).ok()) {
            None => {
                return Finding::warn(
                    NAME,
                    "/proc/sys/net/core/wmem_max cannot be read, or is no number",
                    "",
                );
            }
            Some(most) if asked.send_buffer_bytes > most => {
                reasons.push(format!(
                    "send buffers of {} are asked for, and the kernel cuts them to net.core.wmem_max, {}, without a word",
                    size(asked.send_buffer_bytes),
                    size(most)
                ));
                remedy.push(format!("net.core.wmem_max={}", asked.send_buffer_bytes));
            }
            Some(_) => told.push(format!("send buffers of {} as asked for", size(asked.send_buffer_bytes))),
        }
    }
    if reasons.is_empty() {
        return Finding::pass(NAME, told.join(", "));
    }
    Finding::warn(NAME, reasons.join("; "), format!("sysctl -w {}", remedy.join(" ")))
}

/// What decides how much is on its way.
pub(crate) fn congestion(machine: &Machine) -> Finding {
    const NAME: &str = "congestion_control";
    const FILE: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
    let Ok(chosen) = machine.system.read(FILE) else {
        return Finding::warn(NAME, format!("{FILE} cannot be read"), "");
    };
    match chosen.as_str() {
        "cubic" | "reno" | "dctcp" => Finding::pass(NAME, chosen),
        "bbr" => Finding::pass(NAME, "bbr, which paces each connection"),
        "" => Finding::warn(NAME, format!("{FILE} says nothing"), ""),
        other => Finding::warn(
            NAME,
            format!("{} is made for links that are slow, long or lossy", quoted(other)),
            "sysctl -w net.ipv4.tcp_congestion_control=cubic",
        ),
    }
}
