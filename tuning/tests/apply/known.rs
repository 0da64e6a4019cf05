//! Which machine an undo file is of.

use crate::fixture::{LINE, machine};

const BOARD: &str = "root/sys/class/dmi/id/product_uuid";

#[test]
fn without_a_number_of_the_machine_nothing_is_changed() {
    let machine = machine();
    for number in ["", "uninitialized\n", "00000000000000000000000000000000\n"] {
        machine.write("root/etc/machine-id", number);
        let before = machine.everything();
        let refusal = machine.refused(&format!("{LINE} --undo {{}}/undo.json"));
        assert!(refusal.contains("has no number by which its undo file could be known again"), "{refusal}");
        assert!(
            refusal.contains("`systemd-machine-id-setup` gives it one; nothing was changed"),
            "{refusal}"
        );
        assert!(
            machine
                .printed(&format!("{LINE} --dry-run"))
                .contains("would be refused: this machine has no number")
        );
        assert_eq!(machine.everything(), before, "{number}");
        assert!(!machine.path("undo.json").exists());
    }
    // The board's is one, too.
    machine.write(BOARD, "4C4C4544-0042-3510-8053-B4C04F4D5A32\n");
    machine.printed(&format!("{LINE} --undo {{}}/undo.json"));
    machine.write(BOARD, "00000000-0000-0000-0000-000000000000\n");
    let refusal = machine.refused("--undo {}/undo.json --force");
    assert!(refusal.contains("whether this is it cannot be told"), "{refusal}");
    machine.write(BOARD, "4c4c4544-0042-3510-8053-b4c04f4d5a32\n");
    machine.printed("--undo {}/undo.json");
}

#[test]
fn a_copy_of_a_disk_is_another_machine() {
    let machine = machine();
    machine.write(BOARD, "4C4C4544-0042-3510-8053-B4C04F4D5A32\n");
    machine.printed(&format!("{LINE} --undo {{}}/undo.json"));
    let applied = machine.everything();
    // The same number and the same name, on another board.
    machine.write(BOARD, "4C4C4544-0042-3510-8053-B4C04F4D5A33\n");
    let refusal = machine.refused("--undo {}/undo.json --force");
    assert!(refusal.contains("was written on another machine, node-1"), "{refusal}");
    // Where the board's cannot be read, the name tells.
    std::fs::remove_file(machine.path(BOARD)).unwrap();
    machine.write("root/proc/sys/kernel/hostname", "node-2\n");
    let refusal = machine.refused("--undo {}/undo.json");
    assert!(refusal.contains("when this machine was named node-1, and it is named node-2 now"), "{refusal}");
    assert_eq!(machine.read("root/sys/class/net/eth1/mtu"), "9000");
    machine.write(BOARD, "4C4C4544-0042-3510-8053-B4C04F4D5A32\n");
    machine.write("root/proc/sys/kernel/hostname", "node-1\n");
    assert_eq!(machine.everything(), applied);
    machine.write("root/proc/sys/kernel/hostname", "node-2\n");
    machine.printed("--undo {}/undo.json --force");
    assert_eq!(machine.read("root/sys/class/net/eth1/mtu"), "1500");
}
