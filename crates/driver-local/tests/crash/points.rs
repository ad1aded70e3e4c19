//! Kills at chosen points of scripts.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use crate::Bench;
use crate::app::SCRIPTS;
use crate::story::Story;
use crate::tracer::{self, Call, Point, Traced, Victim};

const VICTIMS: [Victim; 3] = [Victim::Application, Victim::Shims, Victim::Both];

/// Scripts whose shims are not killed: what one has read of a terminal, which cannot be looked at without taking it, and not
/// written yet, is lost with it.
const OF_APPLICATIONS: [&str; 1] = ["terminal"];

/// A point of a script, and its call.
type Candidate<'a> = (&'a str, &'a str, Point);

/// Runs differ by a few calls.
const NEAR: usize = 3;

/// A sample of `DRIVER_CRASH_POINTS` points for each victim, over all scripts and kinds of calls; 0: every point.
pub(crate) fn run(bench: &Bench) -> Vec<String> {
    let mut bench_complaints = Vec::new();
    let wanted = crate::number("DRIVER_CRASH_POINTS", 10);
    let near = std::env::var("DRIVER_CRASH_CALL")
        .ok()
        .and_then(|call| call.parse().ok());
    let only = std::env::var("DRIVER_CRASH_SCRIPT").ok();
    let scripts: Vec<&str> = SCRIPTS
        .iter()
        .copied()
        .filter(|name| only.as_deref().is_none_or(|only| only == *name))
        .collect();
    let mut judge = crate::judge::Judge::new(bench.judge.state.clone());
    let mut clean = Vec::new();
    // Runs without a kill: they tell the points, and what stays in the directory for good.
    for script in scripts {
        match tracer::run(script, &judge.state, None) {
            Ok(traced) => clean.push((script, traced.calls.clone(), traced)),
            Err(error) => return vec![format!("{script}: {error}")],
        }
    }
    bench
        .runtime
        .block_on(crate::judge::clean(&crate::app::open(&judge.state).unwrap()))
        .unwrap();
    judge.learn();
    for (script, _, traced) in &clean {
        let story = Story::of(&traced.said);
        let complaints = bench.runtime.block_on(judge.complaints(&story, false));
        let failures = story.failures.iter().cloned();
        bench_complaints.extend(
            complaints
                .into_iter()
                .chain(failures)
                .map(|what| format!("{script}, not killed: {what}")),
        );
    }
    for victim in VICTIMS {
        let all: Vec<Candidate<'_>> = clean
            .iter()
            .filter(|(script, _, _)| victim == Victim::Application || !OF_APPLICATIONS.contains(script))
            .flat_map(|(script, calls, _)| {
                points(calls, victim).map(|point| (*script, calls[point.call].name.as_str(), point))
            })
            .filter(|(_, _, point)| near.is_none_or(|near| point.call.abs_diff(near) <= NEAR))
            .collect();
        let chosen = sample(&all, wanted);
        let count = chosen.len();
        let mut hits = 0;
        let before = bench_complaints.len();
        for index in chosen {
            let (script, _, point) = all[index];
            let traced = tracer::run(script, &judge.state, Some(point));
            let found = match traced {
                Err(error) => vec![format!("{script}, {point:?}: {error}")],
                Ok(traced) => {
                    hits += usize::from(traced.killed_at.is_some());
                    complaints(bench, &judge, script, point, &traced)
                }
            };
            found.iter().for_each(|what| println!("{what}"));
            bench_complaints.extend(found);
        }
        println!(
            "{victim:?}: {} points in {} scripts, {count} tried, {hits} kills, {} complaints",
            all.len(),
            clean.len(),
            bench_complaints.len() - before
        );
    }
    bench_complaints
}

/// Half of them evenly over all, the other half over the kinds of calls, of which some are rare. 0: all.
fn sample(all: &[Candidate<'_>], wanted: usize) -> BTreeSet<usize> {
    if wanted == 0 || wanted >= all.len() {
        return (0..all.len()).collect();
    }
    let evenly = wanted.div_ceil(2);
    let mut chosen: BTreeSet<usize> = (0..evenly).map(|number| number * all.len() / evenly).collect();
    let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, (_, call, _)) in all.iter().enumerate() {
        kinds.entry(call).or_default().push(index);
    }
    let mut rng = Rng::with_seed(wanted as u64);
    let mut kinds: Vec<Vec<usize>> = kinds.into_values().collect();
    rng.shuffle(&mut kinds);
    kinds.iter_mut().for_each(|kind| rng.shuffle(kind));
    while chosen.len() < wanted {
        for kind in &mut kinds {
            let next = kind.pop().filter(|_| chosen.len() < wanted);
            chosen.extend(next);
        }
    }
    chosen
}

/// Before and after each call, where there is somebody to kill.
fn points(calls: &[Call], victim: Victim) -> impl Iterator<Item = Point> {
    let fits = move |call: &Call| victim == Victim::Application || call.shim;
    let numbers: Vec<usize> = (0..calls.len()).filter(|number| fits(&calls[*number])).collect();
    numbers
        .into_iter()
        .flat_map(move |call| [false, true].map(|after| Point { call, after, victim }))
}

fn complaints(
    bench: &Bench,
    judge: &crate::judge::Judge,
    script: &str,
    point: Point,
    traced: &Traced,
) -> Vec<String> {
    let story = Story::of(&traced.said);
    let shims_killed = point.victim != Victim::Application && traced.killed_at.is_some();
    let found = bench.runtime.block_on(judge.complaints(&story, shims_killed));
    let at = traced
        .killed_at
        .as_ref()
        .map_or("nowhere".to_owned(), |call| call.name.clone());
    let tail = story.tail();
    found
        .into_iter()
        .map(|what| {
            format!(
                "{script}: {:?} killed {at} (call {}): {what}\n    {tail}",
                point.victim, point.call
            )
        })
        .collect()
}
