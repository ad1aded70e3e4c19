//! `exec`.

use driver_types::{Capability, ExecSpec, TerminalSize};

use super::inside::{NOTHING, binary, fingerprint, idle, soon};
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;
use crate::lines::Lines;

pub(super) const EXEC: &[Capability] = &[Capability::Exec];

pub(super) fn register(group: &mut Group) {
    group
        .case("separates_stdout_and_stderr", separates_stdout_and_stderr)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("output_is_exact", output_is_exact)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("argv_is_not_a_shell_line", argv_is_not_a_shell_line)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("env_is_added_to_the_containers", env_is_added)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("working_dir", working_dir)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("inherits_the_containers_settings", inherits)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("stdin_reaches_the_process", stdin_reaches_the_process)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("without_stdin_it_is_empty", without_stdin)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("unread_stdin_does_not_hang", unread_stdin)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("reaches_the_main_process", reaches_main)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    group
        .case("user", user)
        .needs(&[Capability::Exec, Capability::User])
        .proves(&["3.exec.spec"]);
    group
        .case("unknown_user", unknown_user)
        .needs(&[Capability::Exec, Capability::User])
        .proves(&["3.exec.spec"]);
    group
        .case("tty", tty)
        .needs(&[Capability::Exec, Capability::Tty])
        .proves(&["3.exec.spec"]);
    group
        .case("output_cap", output_cap)
        .needs(EXEC)
        .proves(&["3.exec.cap"]);
    group
        .case("output_at_the_cap_is_not_cut", output_at_the_cap)
        .needs(EXEC)
        .proves(&["3.exec.cap"]);
    group
        .case("output_cap_by_default", output_cap_by_default)
        .needs(EXEC)
        .proves(&["3.exec.cap"]);
    group
        .case("empty_command", empty_command)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
    super::exec_end::register(group);
}

async fn separates_stdout_and_stderr(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let result = cx
        .exec(&id, ["out", "to stdout", ",", "err", "to stderr"])
        .await?;
    expect::equal("stdout", result.stdout.to_text(), "to stdout\n")?;
    expect::equal("stderr", result.stderr.to_text(), "to stderr\n")?;
    expect::equal("exit code", result.exit_code, 0)?;
    expect::that(
        "no other flag",
        !result.timed_out && !result.stdout_truncated,
        &result,
    )
}

async fn output_is_exact(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let result = cx
        .exec(&id, ["raw", "out", "0001ff0a0d1b00", ",", "raw", "err", "fe0d0a"])
        .await?;
    expect::equal(
        "stdout",
        result.stdout.to_vec(),
        vec![0, 1, 0xff, 0x0a, 0x0d, 0x1b, 0],
    )?;
    expect::equal("stderr", result.stderr.to_vec(), vec![0xfe, 0x0d, 0x0a])
}

async fn argv_is_not_a_shell_line(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let hostile = ["a b", "$HOME", "`uid`", "\"'", "*", "; exit 7", ""];
    let output = cx.exec_lines(&id, [&["args"], &hostile[..]].concat()).await?;
    expect::equal(
        "arguments",
        output.values("arg").collect::<Vec<_>>(),
        hostile.to_vec(),
    )
}

async fn env_is_added(cx: Context) -> CaseResult {
    let id = cx
        .ready_with(cx.config(NOTHING).env("OF_CONFIG", "1").env("OF_BOTH", "config"))
        .await?
        .id;
    let spec = cx.exec_spec([
        "env",
        "OF_CONFIG",
        ",",
        "env",
        "OF_BOTH",
        ",",
        "env",
        "OF_EXEC",
        ",",
        "env",
        "PATH",
    ]);
    let result = cx
        .driver()
        .exec(&id, &spec.env("OF_BOTH", "exec").env("OF_EXEC", "a=b c"))
        .await?;
    expect::equal(
        "environment",
        result.stdout.to_text(),
        "env=1\nenv=exec\nenv=a=b c\nenv=/bin\n",
    )
}

async fn working_dir(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let result = cx
        .driver()
        .exec(&id, &cx.exec_spec(["cwd"]).working_dir("/dir/b"))
        .await?;
    expect::equal("working directory", result.stdout.to_text(), "cwd=/dir/b\n")
}

async fn inherits(cx: Context) -> CaseResult {
    let id = cx.ready_with(cx.config(NOTHING).working_dir("/data")).await?.id;
    let output = cx
        .exec_lines(&id, ["cwd", ",", "uid", ",", "gid", ",", "tty"])
        .await?;
    expect::equal(
        "working directory, ids and terminal",
        output.text(),
        "cwd=/data\nuid=1000\ngid=1000\ntty=no,no,no\n",
    )
}

async fn stdin_reaches_the_process(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let input = binary(300_000);
    let result = cx
        .driver()
        .exec(&id, &cx.exec_spec(["stdin"]).stdin(input.clone()))
        .await?;
    expect::equal(
        "length and hash of stdin",
        result.stdout.to_text(),
        format!("stdin={}\n", fingerprint(&input)),
    )?;
    let result = cx
        .driver()
        .exec(&id, &cx.exec_spec(["cat"]).stdin(input.clone()))
        .await?;
    expect::that(
        "stdout as stdin",
        result.stdout.to_vec() == input,
        result.stdout.len(),
    )
}

async fn without_stdin(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let output = soon("the end of stdin", cx.exec_lines(&id, ["stdin"])).await??;
    output.expect("stdin", &fingerprint(b""))
}

async fn unread_stdin(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["exit", "3"]).stdin(binary(4 << 20));
    let result = soon("the end of the process", cx.driver().exec(&id, &spec)).await??;
    expect::equal("exit code", result.exit_code, 3)
}

async fn user(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    for (user, ids) in [
        ("0:0", "uid=0\ngid=0\n"),
        ("2000:2000", "uid=2000\ngid=2000\n"),
        ("other", "uid=2000\ngid=2000\n"),
    ] {
        let result = cx
            .driver()
            .exec(&id, &cx.exec_spec(["uid", ",", "gid"]).user(user))
            .await?;
        expect::equal(format!("ids of user {user}"), result.stdout.to_text(), ids)?;
    }
    Ok(())
}

/// As users do to write into the log of the container, or to look what it has open: no wall is between the processes of one user.
async fn reaches_main(cx: Context) -> CaseResult {
    super::escape::needs_a_kernel(&cx)?;
    let id = cx.ready(["readlink", "/proc/self"]).await?.id;
    let main = format!("/proc/{}", cx.lines(&id).await?.value("readlink")?);
    let [stdout, program] = ["fd/1", "exe"].map(|name| format!("{main}/{name}"));
    let output = cx
        .exec_lines(
            &id,
            ["append", &stdout, "said by an exec\n", ",", "readlink", &program],
        )
        .await?;
    output.expect("append", "16")?;
    output.expect("readlink", cx.program())?;
    cx.await_line(&id, "said by an exec").await
}

async fn unknown_user(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["uid"]).user("nobody-has-this-name");
    expect::permanent(cx.driver().exec(&id, &spec).await, "EXEC_START_FAILED")?;
    cx.exec_lines(&id, ["uid"]).await?.expect("uid", "1000")
}

async fn tty(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let size = TerminalSize {
        rows: 33,
        columns: 77,
    };
    let spec = cx
        .exec_spec(["tty", ",", "winsize", ",", "err", "to stderr"])
        .tty(size);
    let result = cx.driver().exec(&id, &spec).await?;
    let output = Lines::new(result.stdout.to_text().replace('\r', ""));
    output.expect("tty", "yes,yes,yes")?;
    output.expect("winsize", "33 77")?;
    output.expect_line("to stderr")?;
    expect::equal("stderr", result.stderr.to_text(), "")
}

async fn output_cap(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec([
        "flood", "out", "300000", ",", "flood", "err", "2000", ",", "exit", "5",
    ]);
    let result = cx.driver().exec(&id, &spec.max_output_bytes(1000)).await?;
    expect::equal(
        "bytes of stdout and stderr",
        (result.stdout.len(), result.stderr.len()),
        (1000, 1000),
    )?;
    expect::that(
        "the beginning is kept",
        result.stdout.starts_with(b"aaaa"),
        result.stdout.to_text(),
    )?;
    expect::equal(
        "flags",
        (result.stdout_truncated, result.stderr_truncated),
        (true, true),
    )?;
    expect::equal(
        "exit code of a process whose output is read to its end",
        result.exit_code,
        5,
    )
}

async fn output_at_the_cap(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["flood", "out", "1000", ",", "flood", "err", "1001"]);
    let result = cx.driver().exec(&id, &spec.max_output_bytes(1000)).await?;
    expect::equal(
        "bytes of stdout and stderr",
        (result.stdout.len(), result.stderr.len()),
        (1000, 1000),
    )?;
    expect::equal(
        "flags",
        (result.stdout_truncated, result.stderr_truncated),
        (false, true),
    )
}

async fn output_cap_by_default(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let result = cx.exec(&id, ["flood", "out", "1500000"]).await?;
    expect::equal(
        "bytes of stdout",
        result.stdout.len() as u64,
        ExecSpec::DEFAULT_MAX_OUTPUT_BYTES,
    )?;
    expect::that("the flag", result.stdout_truncated, result.stdout_truncated)
}

async fn empty_command(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    expect::violation(cx.driver().exec(&id, &ExecSpec::new(NOTHING)).await, "/command")?;
    Ok(())
}
