//! What TCP goes by when it sends: an algorithm of the kernel's, which every network namespace has its own default of.

use super::enter;
use std::collections::BTreeSet;
use std::fs::{read_to_string, write};

/// Each namespace's own, for the thread that looks.
const DEFAULT: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// What links that this program lays go by. Linux has it everywhere, and a token bucket suits it.
const CHOICE: &str = "cubic";

/// The default of the calling thread's namespace; none where the kernel does not say.
pub(crate) fn of_this_namespace() -> Option<String> {
    Some(read_to_string(DEFAULT).ok()?.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Makes [`CHOICE`] the default of these namespaces, where that can be, and says what it is then; several, if it is not
/// the same everywhere.
pub(super) fn choose<'a>(namespaces: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: BTreeSet<String> = namespaces.map(|name| choose_in(name.to_owned())).collect::<Option<_>>()?;
    Some(names.into_iter().collect::<Vec<_>>().join(" and "))
}

/// By a thread that enters the namespace, and ends there.
fn choose_in(namespace: String) -> Option<String> {
    let change = move || {
        enter(&namespace).ok()?;
        // Refused where the kernel was built without it, or its settings may only be read.
        let _ = write(DEFAULT, CHOICE);
        of_this_namespace()
    };
    std::thread::spawn(change).join().ok()?
}
