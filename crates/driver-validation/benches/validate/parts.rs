//! How long the parts of validation take, by criterion.

use std::hint::black_box;

use criterion::Criterion;
use driver_types::ContainerConfig;
use driver_validation::{
    matches_config_schema, validate_config, validate_config_json, validate_config_value,
};
use serde_json::Value;

pub(crate) fn run(criterion: &mut Criterion) {
    let value: Value = serde_json::from_str(crate::DOCUMENT).expect("the document is JSON");
    let text = value.to_string();
    let config: ContainerConfig = serde_json::from_str(&text).expect("the document is a config");
    let bad = text
        .replace("\"memory\":1024", "\"memory\":5")
        .replace("session-7f3a9c", "session 7");

    let mut group = criterion.benchmark_group("config");
    group.bench_function("text to validated", |b| {
        b.iter(|| validate_config_json(black_box(&text)))
    });
    group.bench_function("value to validated", |b| {
        b.iter(|| validate_config_value(black_box(&value)))
    });
    group.bench_function("typed to validated", |b| {
        b.iter(|| validate_config(black_box(&config)))
    });
    group.bench_function("is_valid", |b| {
        b.iter(|| matches_config_schema(black_box(&value)))
    });
    group.bench_function("text with two violations", |b| {
        b.iter(|| validate_config_json(black_box(&bad)))
    });
    group.finish();
}
