//! Validation against node's in the same run.
//!
//! Rust and node take turns, so that both see the same machine; the ratio of a row is the median over the rounds.
//! The schema and the document are the same. Needs node and npm; what npm installs is kept in the target directory.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use driver_validation::{Form, matches_config_schema, schemas, validate_config_json};
use serde_json::Value;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 21;
const ITERATIONS: u32 = 20_000;

/// What is measured, node's peer of it, and the greatest ratio that is good enough.
const ROWS: [(&str, &str, f64); 3] = [
    ("text to validated config", "parse+ajv", 1.0),
    ("text to validated config", "parse+zod", 0.5),
    ("is_valid alone", "ajv alone", 1.0),
];

/// Prints the table, and tells whether all figures are reached.
pub(crate) fn run() -> Outcome<bool> {
    let value: Value = serde_json::from_str(crate::DOCUMENT)?;
    let text = value.to_string();
    let mut node = Node::start(&text)?;
    let mut samples = vec![Vec::new(); ROWS.len()];
    for round in 0..=ROUNDS {
        for (row, (ours, peer, _)) in ROWS.into_iter().enumerate() {
            let rust = match ours {
                "is_valid alone" => time(|| matches_config_schema(black_box(&value))),
                _ => time(|| validate_config_json(black_box(&text)).is_ok()),
            };
            let node = node.time(peer)?;
            // The first round warms both up.
            if round > 0 {
                samples[row].push((rust, node));
            }
        }
    }
    drop(node);
    println!(
        "{} bytes of JSON, {ROUNDS} rounds of {ITERATIONS} calls, medians in ns",
        text.len()
    );
    println!(
        "{:<26} {:>9}   {:<10} {:>9} {:>7} {:>7}",
        "rust", "ns", "node", "ns", "ratio", "figure"
    );
    let mut is_good = true;
    for ((ours, peer, figure), samples) in ROWS.into_iter().zip(samples) {
        let rust = median(samples.iter().map(|(rust, _)| *rust));
        let node = median(samples.iter().map(|(_, node)| *node));
        let ratio = median(samples.iter().map(|(rust, node)| rust / node));
        is_good &= ratio <= figure;
        let verdict = if ratio <= figure { "" } else { "  missed" };
        println!("{ours:<26} {rust:>9.0}   {peer:<10} {node:>9.0} {ratio:>6.2}x {figure:>6.2}x{verdict}");
    }
    Ok(is_good)
}

/// Nanoseconds a call. Every call must say yes: a refusal would be quick and wrong.
fn time(call: impl Fn() -> bool) -> f64 {
    let start = Instant::now();
    for _ in 0..ITERATIONS {
        assert!(call(), "the document is valid");
    }
    start.elapsed().as_nanos() as f64 / f64::from(ITERATIONS)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The node process, which measures on request.
struct Node {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Node {
    fn start(text: &str) -> Outcome<Self> {
        let directory = install()?;
        let is_config = |schema: &driver_validation::NamedSchema| schema.name == "ContainerConfig";
        let schema = schemas()
            .into_iter()
            .find(|schema| is_config(schema) && schema.form == Form::Input);
        let schema = schema.ok_or("no schema of the config")?.schema;
        let (schema_file, document_file) = (directory.join("schema.json"), directory.join("document.json"));
        fs::write(&schema_file, schema.to_string())?;
        fs::write(&document_file, text)?;
        let mut child = Command::new("node")
            .arg(directory.join("peer.mjs"))
            .args([schema_file, document_file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("node cannot be started: {error}"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("node has no output")?;
        let output = BufReader::new(output).lines();
        Ok(Self { child, input, output })
    }

    fn time(&mut self, name: &str) -> Outcome<f64> {
        let input = self.input.as_mut().ok_or("node has no input")?;
        writeln!(input, "{name}\t{ITERATIONS}")?;
        Ok(self.output.next().ok_or("node ended early")??.parse()?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        drop(self.child.wait());
    }
}

/// Copies the node program into the target directory and installs what its lock file says.
fn install() -> Outcome<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/node");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("against-node");
    fs::create_dir_all(&directory)?;
    let lock = directory.join("package-lock.json");
    let stamp = directory.join("node_modules/.installed-lock");
    for name in ["package.json", "package-lock.json", "peer.mjs", "zod-schema.mjs"] {
        fs::copy(source.join(name), directory.join(name))?;
    }
    if fs::read(&stamp).ok() != fs::read(&lock).ok() {
        let npm = Command::new("npm")
            .args(["ci", "--silent", "--no-audit", "--no-fund"])
            .current_dir(&directory)
            .status()
            .map_err(|error| format!("npm cannot be started: {error}"))?;
        if !npm.success() {
            return Err(format!("npm ci failed in {}", directory.display()).into());
        }
        fs::copy(&lock, &stamp)?;
    }
    Ok(directory)
}
