//! The set of Linux capabilities that a config leaves.

use driver_types::LinuxCapabilities;
use rstest::rstest;

#[rstest]
#[case::nothing(&["ALL"], &[], 0)]
#[case::only_added(&["ALL"], &["NET_ADMIN"], 1 << 12)]
#[case::two_added(&["ALL"], &["CHOWN", "CHECKPOINT_RESTORE"], 1 | 1 << 40)]
#[case::everything(&["ALL"], &["ALL"], 0x1ff_ffff_ffff)]
#[case::docker_default(&[], &[], 0xa804_25fb)]
#[case::default_and_more(&[], &["SYS_ADMIN"], 0xa804_25fb | 1 << 21)]
#[case::default_but_one(&["CHOWN"], &[], 0xa804_25fa)]
#[case::dropped_and_added(&["CHOWN"], &["CHOWN"], 0xa804_25fb)]
#[case::not_a_default(&["SYS_ADMIN"], &[], 0xa804_25fb)]
#[case::all_added(&[], &["ALL"], 0x1ff_ffff_ffff)]
#[case::add_comes_last(&["CHOWN"], &["ALL"], 0x1ff_ffff_ffff)]
fn sets(#[case] drop: &[&str], #[case] add: &[&str], #[case] expected: u64) {
    let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let capabilities = LinuxCapabilities {
        drop: list(drop),
        add: list(add),
    };
    assert_eq!(capabilities.mask(), expected);
}

#[test]
fn the_default_of_the_contract_is_nothing() {
    assert_eq!(LinuxCapabilities::default().mask(), 0);
}

#[test]
fn numbers_are_the_kernels() {
    let numbers = ["CHOWN", "CAP_SYS_ADMIN", "CHECKPOINT_RESTORE", "COFFEE"].map(LinuxCapabilities::number);
    assert_eq!(numbers, [Some(0), Some(21), Some(40), None]);
}
