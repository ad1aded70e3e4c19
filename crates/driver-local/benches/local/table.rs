//! What was measured, as a page of Markdown.

use std::time::Duration;

#[derive(Default)]
pub(crate) struct Table {
    text: String,
}

impl Table {
    pub(crate) fn section(&mut self, title: &str) {
        self.line(&format!("\n## {title}\n\n| | | ratio |\n|---|---|---|"));
    }

    /// The median and the first decile of times, and how many times the floor the median is.
    pub(crate) fn times(&mut self, name: &str, samples: &mut [Duration], floor: Option<Duration>) {
        if samples.is_empty() {
            return;
        }
        let median = median(samples);
        let tenth = samples[samples.len() / 10];
        let ratio = floor.map(|floor| median.as_secs_f64() / floor.as_secs_f64());
        self.figure(
            name,
            format!("{} (p10 {}, n = {})", show(median), show(tenth), samples.len()),
            ratio,
        );
    }

    pub(crate) fn figure(&mut self, name: &str, value: String, ratio: Option<f64>) {
        let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        self.line(&format!("| {name} | {value} | {ratio} |"));
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes the page to the file of `DRIVER_BENCH_OUT`.
    pub(crate) fn publish(&self) {
        let Some(file) = std::env::var_os("DRIVER_BENCH_OUT").filter(|_| !self.text.is_empty()) else {
            return;
        };
        let head = "# Benchmarks of driver-local\n\nWritten by `cargo xtask bench local`; what is measured against what stands in\n\
            `crates/driver-local/benches/local`. Times are medians of one interleaved run; a ratio is to the floor, or to the row above\n\
            where it says so. Figures of a machine that did other work meanwhile are higher than those of a quiet one; ratios less so.\n\n";
        let machine = format!("{head}Machine: {}\n", machine());
        std::fs::write(file, format!("{machine}{}", self.text)).unwrap();
    }
}

fn machine() -> String {
    let kernel = rustix::system::uname();
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} x {model}, Linux {}.", kernel.release().to_string_lossy())
}

pub(crate) fn median(samples: &mut [Duration]) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

fn show(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        _ if micros < 1000.0 => format!("{micros:.1} µs"),
        _ => format!("{:.2} ms", micros / 1000.0),
    }
}
