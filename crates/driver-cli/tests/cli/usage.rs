//! Command lines that make no sense, help, completions and manual pages.

use rstest::rstest;

use crate::support::{driver, ran, run};

#[rstest]
#[case::no_command(&[], "Usage: driver")]
#[case::unknown_command(&["runn"], "'run'")]
#[case::no_image(&["run"], "<IMAGE>")]
#[case::unknown_flag(&["run", "--bogus", "alpine"], "'--bogus'")]
#[case::unknown_flag_of_exec(&["exec", "--bogus", "c", "ls"], "'--bogus'")]
#[case::no_command_to_exec(&["exec", "c"], "2 values required")]
#[case::only_dashes_to_exec(&["exec", "c", "--"], "no command")]
#[case::size_without_unit(&["run", "-m", "512", "alpine"], "write 512m")]
#[case::detach_and_rm(&["run", "-d", "--rm", "alpine"], "'--detach' cannot be used with '--rm'")]
#[case::two_containers(&["cp", "a:/x", "b:/y"], "driver cp A:PATH - | driver cp - B:PATH")]
#[case::no_container(&["cp", "x", "y"], "CONTAINER:PATH")]
#[case::bad_filter(&["ps", "--filter", "color=red"], "session=ID")]
#[case::bad_signal(&["kill", "-s", "SIGNOPE", "c"], "SIGTERM")]
#[case::bad_tail(&["logs", "--tail", "some", "c"], "a number or all")]
#[case::nothing_to_update(&["update", "c"], "--memory")]
#[case::unknown_driver(&["--driver", "podmann", "ps"], "docker")]
#[case::unknown_shell(&["completions", "tcsh"], "bash")]
#[case::unknown_schema(&["schema", "Nope"], "driver schema")]
#[case::unknown_page(&["man", "nope"], "nope")]
fn nonsense_is_exit_code_2_with_the_way_out(#[case] arguments: &[&str], #[case] expected: &str) {
    let ran = run(arguments);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[rstest]
#[case(&["--format", "json", "run", "--memory"])]
#[case(&["--format=json", "runn"])]
#[case(&["ps", "--format", "json", "--bogus"])]
#[case(&["--format", "json", "--driver", "podmann", "ps"])]
fn nonsense_is_told_as_json_where_json_is_wanted(#[case] arguments: &[&str]) {
    let ran = run(arguments);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert_eq!(ran.error().code(), "CONFIGURATION_ERROR");
}

#[rstest]
#[case(&["--help"])]
#[case(&["--version"])]
#[case(&["run", "--help"])]
#[case(&["image", "pull", "-h"])]
fn help_goes_to_stdout(#[case] arguments: &[&str]) {
    let ran = run(arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("driver"), "{}", ran.stdout);
}

#[test]
fn flags_of_run() {
    insta::assert_snapshot!(run(&["run", "-h"]).stdout);
}

#[test]
fn the_driver_of_the_environment_is_taken_unless_a_flag_says_another() {
    let of_environment = ran(driver().env("DRIVER", "from-env").arg("ps"));
    assert!(of_environment.stderr.contains("`from-env`"), "{of_environment:?}");
    let of_flag = ran(driver()
        .env("DRIVER", "from-env")
        .args(["--driver", "from-flag", "ps"]));
    assert!(of_flag.stderr.contains("`from-flag`"), "{of_flag:?}");
}

#[rstest]
#[case("bash")]
#[case("zsh")]
#[case("fish")]
#[case("elvish")]
#[case("powershell")]
fn completions_know_the_commands(#[case] shell: &str) {
    let ran = run(&["completions", shell]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("pids-limit") && ran.stdout.contains("preflight"));
}

#[rstest]
#[case(&["man"], ".TH driver 1", "preflight")]
#[case(&["man", "run"], ".TH driver-run 1", "pids\\-limit")]
#[case(&["man", "images", "pull"], ".TH driver-image-pull 1", "password\\-stdin")]
fn manual_pages(#[case] arguments: &[&str], #[case] title: &str, #[case] content: &str) {
    let ran = run(arguments);
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout.contains(title) && ran.stdout.contains(content),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error_message() {
    use std::io::Read;
    use std::process::{Command, Stdio};
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("driver"))
        .args(["schema", "ContainerConfig"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let status = child.wait().unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(141), ""));
}
