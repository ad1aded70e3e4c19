//! Programs that are not the workload: those of the script, and a few that images of the registry have.

use driver_types::{OutputStream, Signal};

use crate::kernel::{Context, End, MIB};
use crate::script::{Behavior, End as ScriptedEnd};

/// Whether a program of the registry's images has a meaning of its own.
pub(crate) fn is_common(name: &str) -> bool {
    matches!(name, "cat" | "echo" | "env" | "false" | "sleep" | "true")
}

/// Does what a rule of the script says.
pub(crate) async fn scripted(context: Context, behavior: Behavior) -> End {
    context.kernel(|kernel, now| {
        kernel.set_busy(now, context.pid, behavior.cores);
        kernel.allocate(now, context.pid, behavior.memory_mib * MIB);
    });
    let start = context.sandbox.world.clock.elapsed();
    let output = async {
        for line in &behavior.output {
            context.sleep(line.after_ms).await;
            context.write(line.stream, format!("{}\n", line.text)).await;
        }
    };
    let health = async {
        for change in &behavior.health {
            context.sleep(change.after_ms).await;
            context.sandbox.set_scripted_health(change.status);
        }
    };
    tokio::join!(output, health);
    match behavior.run_ms {
        Some(ms) => {
            let spent = context.sandbox.world.clock.elapsed().saturating_sub(start);
            let rest = std::time::Duration::from_millis(ms).saturating_sub(spent);
            context.sandbox.world.clock.sleep(rest).await;
        }
        None if behavior.end.is_none() => std::future::pending().await,
        None => {}
    }
    match behavior.end {
        None => End::Code(0),
        Some(ScriptedEnd::ExitCode(code)) => End::Code(code),
        Some(ScriptedEnd::Signal(signal)) => End::Signal(signal),
        Some(ScriptedEnd::Oom) => {
            let more = context.kernel(|kernel, _| (kernel.limits.memory + 1) * MIB);
            context.kernel(|kernel, now| kernel.allocate(now, context.pid, more));
            // The kernel has killed it, unless memory is not limited.
            End::Signal(Signal::KILL)
        }
    }
}

/// Does what the program of this name does everywhere.
pub(crate) async fn common(context: Context, name: String) -> End {
    let argv = context
        .process(|process| process.argv.clone())
        .unwrap_or_default();
    let arguments = argv.get(1..).unwrap_or_default();
    match name.as_str() {
        "echo" => {
            context
                .write(OutputStream::Stdout, format!("{}\n", arguments.join(" ")))
                .await
        }
        "env" => {
            let env = context
                .process(|process| (**process.env).clone())
                .unwrap_or_default();
            let lines: String = env
                .iter()
                .map(|(name, value)| format!("{name}={value}\n"))
                .collect();
            context.write(OutputStream::Stdout, lines).await;
        }
        "cat" if arguments.is_empty() => {
            if let Some(stdin) = context.stdio().stdin {
                while let Some(data) = stdin.read().await {
                    context.write(OutputStream::Stdout, data).await;
                }
            }
        }
        "cat" => return cat(&context, arguments).await,
        "sleep" => {
            let seconds = arguments.first().and_then(|text| text.parse::<f64>().ok());
            match seconds.filter(|seconds| (0.0..1e9).contains(seconds)) {
                Some(seconds) => context.sleep((seconds * 1000.0) as u64).await,
                None => return complain(&context, "sleep: missing or invalid time in seconds\n").await,
            }
        }
        "false" => return End::Code(1),
        _ => {}
    }
    End::Code(0)
}

async fn cat(context: &Context, paths: &[String]) -> End {
    let mut end = End::Code(0);
    for path in paths {
        match context.view(|view| Some(view.read(path))) {
            Some(Ok(content)) => context.write(OutputStream::Stdout, content.to_vec()).await,
            Some(Err(errno)) => end = complain(context, &format!("cat: {path}: {errno}\n")).await,
            None => {}
        }
    }
    end
}

async fn complain(context: &Context, text: &str) -> End {
    context.write(OutputStream::Stderr, text.to_owned()).await;
    End::Code(1)
}
