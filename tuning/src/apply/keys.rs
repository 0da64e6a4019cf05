//! What a profile and an undo file may name: nothing that is not in these lists is ever written to.

/// Beginnings of the sysctl keys that may be set: sockets and TCP.
const SYSCTL_BEGINNINGS: [&str; 2] = ["net.core.", "net.ipv4.tcp_"];

/// A sysctl key whose value is the first and the last of a range.
pub(super) const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";

/// Further sysctl keys that may be set.
const SYSCTL_KEYS: [&str; 9] = [
    "kernel.io_uring_disabled",
    "kernel.numa_balancing",
    PORT_RANGE,
    "net.netfilter.nf_conntrack_max",
    "vm.max_map_count",
    "vm.nr_hugepages",
    "vm.overcommit_memory",
    "vm.swappiness",
    "vm.zone_reclaim_mode",
];

/// What begins as one of the others and is no matter of throughput: a secret, and switches of the kernel's own compiler.
const SYSCTL_NEVER: [&str; 2] = ["net.core.bpf_", "net.ipv4.tcp_fastopen_key"];

/// A sysctl value's bytes at the most.
const VALUE_BYTES_MAX: usize = 256;

/// Offloads that may be set, as `ethtool -K` has them, and as `ethtool -k` prints them.
pub(super) const OFFLOADS: [(&str, &str); 7] = [
    ("rx", "rx-checksumming"),
    ("tx", "tx-checksumming"),
    ("sg", "scatter-gather"),
    ("tso", "tcp-segmentation-offload"),
    ("gso", "generic-segmentation-offload"),
    ("gro", "generic-receive-offload"),
    ("lro", "large-receive-offload"),
];

/// Interrupt moderation that may be set, as `ethtool -C` has it.
pub(super) const COALESCE: [&str; 6] =
    ["adaptive-rx", "adaptive-tx", "rx-usecs", "rx-frames", "tx-usecs", "tx-frames"];

/// Queueing disciplines that need no parameters.
pub(super) const QDISCS: [&str; 4] = ["mq", "fq", "fq_codel", "pfifo_fast"];

/// Ways that transparent huge pages are given out.
pub(super) const TRANSPARENT_HUGE_PAGES: [&str; 3] = ["always", "madvise", "never"];

/// Whether a sysctl key may be set, with the sentence that says why not.
pub(super) fn sysctl(key: &str) -> Result<(), String> {
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let known = SYSCTL_KEYS.contains(&key) || SYSCTL_BEGINNINGS.iter().any(|start| key.starts_with(start));
    let never = SYSCTL_NEVER.iter().any(|start| key.starts_with(start));
    if known && !never && key.split('.').all(plain) {
        return Ok(());
    }
    Err(format!(
        "the sysctl key `{key}` is not one that a profile may set; those are {}*, {}* and {}",
        SYSCTL_BEGINNINGS[0],
        SYSCTL_BEGINNINGS[1],
        SYSCTL_KEYS.join(", ")
    ))
}

/// Whether a sysctl value is one line of plain words.
pub(super) fn sysctl_value(value: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" \t_.-".contains(&byte);
    if (1..=VALUE_BYTES_MAX).contains(&value.len()) && value.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("the value {value:?} is none that a sysctl key has: give numbers or a name"))
}

/// Whether an interface's name can be one: it becomes part of a path.
pub(super) fn interface(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-@:".contains(&byte);
    if (1..=15).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(format!("{name:?} is no name of an interface"))
}

/// Whether a name is one of those that are known, with the sentence that lists them.
pub(super) fn one_of(what: &str, name: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&name) {
        return Ok(());
    }
    Err(format!("{what} `{name}` is not known here; these are: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_throughput_may_be_set() {
        for key in ["net.core.wmem_max", "net.ipv4.tcp_wmem", "vm.nr_hugepages", "kernel.numa_balancing"] {
            assert_eq!(sysctl(key), Ok(()), "{key}");
        }
        for key in [
            "kernel.core_pattern",
            "kernel.modprobe",
            "vm.drop_caches",
            "net.core.bpf_jit_enable",
            "net.ipv4.tcp_fastopen_key",
            "net.ipv4.ip_forward",
            "net.core.",
            "net.core..",
            "net.core.../../kernel/core_pattern",
            "net.core./etc/passwd",
            "net.core.wmem_max\n",
            "",
        ] {
            assert!(sysctl(key).unwrap_err().contains("not one that a profile may set"), "{key}");
        }
    }

    #[test]
    fn values_and_interfaces_are_plain_words() {
        assert_eq!((sysctl_value("4096 65536 67108864"), sysctl_value("bbr")), (Ok(()), Ok(())));
        for value in ["", "1\n2", "|/bin/sh", "$(x)", &"1".repeat(257)] {
            assert!(sysctl_value(value).is_err(), "{value:?}");
        }
        for name in ["eth1", "enp1s0f0np0", "eth0.100", "bond-1"] {
            assert_eq!(interface(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "../x", "a/b", "-K", "sixteen_letters_", "a b"] {
            assert!(interface(name).is_err(), "{name:?}");
        }
    }
}
