//! `exec`.

use driver_types::{Capability, ContainerStatus, ExecSpec, Signal, StopOptions, TerminalSize};
use futures_util::future::try_join_all;

use super::inside::{NOTHING, await_process, await_sleepers, binary, fingerprint, idle, soon};
use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::expect;
use crate::lines::Lines;

const EXEC: &[Capability] = &[Capability::Exec];

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
        .case("nonzero_exit_is_a_result", nonzero_exit_is_a_result)
        .needs(EXEC)
        .proves(&["3.exec.exit"]);
    group
        .case("signal_is_reported", signal_is_reported)
        .needs(EXEC)
        .proves(&["3.exec.exit"]);
    group
        .case("missing_program", missing_program)
        .needs(EXEC)
        .proves(&["3.exec.missing"]);
    group
        .case("not_executable", not_executable)
        .needs(EXEC)
        .proves(&["3.exec.missing"]);
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
    group
        .case("not_running", not_running)
        .needs(EXEC)
        .proves(&["3.exec.state", "2.invalid"]);
    group
        .case("paused", paused)
        .needs(&[Capability::Exec, Capability::Pause])
        .proves(&["3.exec.state", "2.invalid"]);
    group
        .case("timeout_kills_the_tree", timeout_kills_the_tree)
        .needs(EXEC)
        .proves(&["3.exec.timeout"]);
    group
        .case("timeout_kills_what_ignores_term", timeout_kills_stubborn)
        .needs(EXEC)
        .proves(&["3.exec.timeout"]);
    group
        .case("timeout_kills_daemons", timeout_kills_daemons)
        .needs(EXEC)
        .proves(&["3.exec.timeout"]);
    group
        .case("timeout_keeps_the_output", timeout_keeps_the_output)
        .needs(EXEC)
        .proves(&["3.exec.timeout"]);
    group
        .case("dropped_future_kills_the_tree", dropped_future)
        .needs(EXEC)
        .proves(&["3.exec.timeout", "3.cancel"]);
    group
        .case("ends_with_the_container", ends_with_the_container)
        .needs(EXEC)
        .proves(&["3.exec.exit"]);
    group
        .case("many_at_once", many_at_once)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
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

async fn nonzero_exit_is_a_result(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    for code in [1, 42, 255] {
        let result = cx.exec(&id, ["exit", &code.to_string()]).await?;
        expect::equal("exit code", result.exit_code, code)?;
    }
    Ok(())
}

async fn signal_is_reported(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let result = cx.exec(&id, ["kill", "SIGKILL"]).await?;
    expect::equal("exit code", result.exit_code, 137)?;
    expect::equal("signal", result.signal, Some(Signal::KILL))?;
    expect::that("no time-out", !result.timed_out, &result)
}

async fn missing_program(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    for program in ["/nowhere/program", "no-such-program"] {
        let result = cx.driver().exec(&id, &ExecSpec::new([program])).await?;
        expect::equal(format!("exit code of {program}"), result.exit_code, 127)?;
    }
    Ok(())
}

async fn not_executable(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    for program in ["/not-executable", "/dir"] {
        let result = cx.driver().exec(&id, &ExecSpec::new([program])).await?;
        expect::equal(format!("exit code of {program}"), result.exit_code, 126)?;
    }
    Ok(())
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

async fn not_running(cx: Context) -> CaseResult {
    let refused = async |id: &str, status: ContainerStatus| {
        let error = expect::permanent(
            cx.driver().exec(id, &cx.exec_spec(["uid"])).await,
            "INVALID_STATE",
        )?;
        expect::contains("a message", &error.to_string(), status.name())
    };
    let id = cx.create(&cx.config(["forever"])).await?.id;
    refused(&id, ContainerStatus::Created).await?;
    cx.driver().start_container(&id).await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    refused(&id, ContainerStatus::Stopped).await?;
    let exited = cx.finish(&cx.config(["exit", "0"])).await?.container;
    refused(&exited.id, ContainerStatus::Exited).await
}

async fn paused(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    cx.driver().pause_container(&id).await?;
    let error = expect::permanent(
        cx.driver().exec(&id, &cx.exec_spec(["uid"])).await,
        "INVALID_STATE",
    )?;
    expect::contains("a message", &error.to_string(), "paused")
}

/// Runs commands and `forever` until their time-out, which is made longer until they had time to begin: until
/// `begun` is in the output.
async fn time_out(cx: &Context, id: &str, commands: &[&str], begun: &str) -> Result<Lines, CaseError> {
    let spec = cx.exec_spec([commands, &[",", "out", begun, ",", "forever"]].concat());
    for timeout in [1000, 5000, 20_000] {
        let result = cx.driver().exec(id, &spec.clone().timeout_ms(timeout)).await?;
        expect::that("a result that says timedOut", result.timed_out, &result)?;
        let output = Lines::new(result.stdout.to_text());
        if output.has(begun) {
            return Ok(output);
        }
    }
    Err(Failure::new("processes that begin within 20 s", format!("no line {begun:?}")).into())
}

async fn timeout_kills_the_tree(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let commands = [
        "tree",
        "child",
        "M",
        ",",
        "tree",
        "grandchild",
        "M",
        ",",
        "tree",
        "setsid",
        "M",
        ",",
        "mark",
        "MAIN",
    ];
    time_out(&cx, &id, &commands, "begun").await?;
    await_sleepers(&cx, &id, "M", 0).await?;
    await_process(&cx, &id, "MAIN", false).await?;
    expect::equal(
        "status of the container",
        cx.get(&id).await?.status,
        ContainerStatus::Running,
    )
}

async fn timeout_kills_stubborn(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let commands = [
        "ignore", "SIGTERM", ",", "tree", "ignore", "M", ",", "tree", "held", "M", ",", "mark", "MAIN",
    ];
    time_out(&cx, &id, &commands, "begun").await?;
    await_sleepers(&cx, &id, "M", 0).await?;
    await_process(&cx, &id, "MAIN", false).await
}

async fn timeout_kills_daemons(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    time_out(&cx, &id, &["tree", "daemon", "M"], "begun").await?;
    await_sleepers(&cx, &id, "M", 0).await?;
    expect::equal(
        "status of the container",
        cx.get(&id).await?.status,
        ContainerStatus::Running,
    )
}

async fn timeout_keeps_the_output(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let output = time_out(&cx, &id, &["trap-exit", "SIGTERM", "9"], "begun").await?;
    output.expect_line("begun")?;
    output.expect("trap", "SIGTERM")
}

async fn dropped_future(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let (driver, spec) = (
        cx.shared_driver(),
        cx.exec_spec(["tree", "setsid", "M", ",", "mark", "MAIN", ",", "forever"]),
    );
    let owned = id.clone();
    let running = tokio::spawn(async move { driver.exec(&owned, &spec).await });
    await_sleepers(&cx, &id, "M", 1).await?;
    running.abort();
    await_sleepers(&cx, &id, "M", 0).await?;
    await_process(&cx, &id, "MAIN", false).await?;
    expect::equal(
        "status of the container",
        cx.get(&id).await?.status,
        ContainerStatus::Running,
    )
}

async fn ends_with_the_container(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["mark", "MAIN", ",", "forever"]);
    let stop = async {
        await_process(&cx, &id, "MAIN", true).await?;
        Ok::<_, CaseError>(cx.driver().stop_container(&id, &StopOptions::force()).await?)
    };
    let (result, stopped) = tokio::join!(soon("the end of the exec", cx.driver().exec(&id, &spec)), stop);
    stopped?;
    let result = result??;
    expect::equal(
        "exit code and time-out",
        (result.exit_code, result.timed_out),
        (137, false),
    )
}

async fn many_at_once(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let one = async |number: usize| {
        let text = format!("number {number}");
        let result = cx
            .exec(&id, ["out", &text, ",", "exit", &number.to_string()])
            .await?;
        expect::equal(
            "output and exit code",
            (result.stdout.to_text(), result.exit_code),
            (text + "\n", number as i32),
        )
    };
    try_join_all((0..6).map(one)).await?;
    Ok(())
}
