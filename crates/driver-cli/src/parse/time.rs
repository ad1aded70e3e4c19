//! Durations (`10s`, `1h30m`) and points in time (RFC 3339, epoch seconds, or a duration before now).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const WAY_OUT: &str = "write a number and a unit, such as 10s, 500ms or 1h30m";

/// Reads a duration in milliseconds: numbers with units (`ms`, `s`, `m`, `h`, `d`), seconds without one.
pub(crate) fn duration(text: &str) -> Result<u64, String> {
    if let Some(seconds) = text
        .parse::<f64>()
        .ok()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
    {
        return Ok((seconds * 1000.0).ceil() as u64);
    }
    let duration = humantime::parse_duration(text).map_err(|_| format!("not a duration; {WAY_OUT}"))?;
    milliseconds(duration)
}

/// Reads a point in time in epoch milliseconds: RFC 3339 (`2026-01-31T12:00:00Z`, or without the `Z`, in UTC), epoch
/// seconds (`1769860800.5`), or a duration before now (`10m`).
pub(crate) fn instant(text: &str) -> Result<u64, String> {
    instant_at(text, SystemTime::now())
}

fn instant_at(text: &str, now: SystemTime) -> Result<u64, String> {
    if let Some(seconds) = text
        .parse::<f64>()
        .ok()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
    {
        return Ok((seconds * 1000.0).round() as u64);
    }
    let time = match humantime::parse_duration(text) {
        Ok(before) => now.checked_sub(before).unwrap_or(UNIX_EPOCH),
        Err(_) => date(text)
            .ok_or("not a time; write 2026-01-31T12:00:00Z, seconds since 1970, or a duration before now such as 10m")?,
    };
    milliseconds(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn date(text: &str) -> Option<SystemTime> {
    let full = if text.len() == 10 {
        format!("{text}T00:00:00")
    } else {
        text.to_owned()
    };
    humantime::parse_rfc3339_weak(&full).ok()
}

fn milliseconds(duration: Duration) -> Result<u64, String> {
    u64::try_from(duration.as_micros().div_ceil(1000)).map_err(|_| format!("too long; {WAY_OUT}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10s", Some(10_000))]
    #[case("500ms", Some(500))]
    #[case("1h30m", Some(5_400_000))]
    #[case("10", Some(10_000))]
    #[case("0.5", Some(500))]
    #[case("0", Some(0))]
    #[case("1us", Some(1))]
    #[case("-1", None)]
    #[case("soon", None)]
    #[case("", None)]
    #[case("NaN", None)]
    fn durations(#[case] text: &str, #[case] ms: Option<u64>) {
        assert_eq!(duration(text).ok(), ms);
    }

    #[rstest]
    #[case("10m", Some(1_000_000_000_000 - 600_000))]
    #[case("1600000000", Some(1_600_000_000_000))]
    #[case("1600000000.25", Some(1_600_000_000_250))]
    #[case("1970-01-02T00:00:00Z", Some(86_400_000))]
    #[case("1970-01-02T00:00:00.5", Some(86_400_500))]
    #[case("1970-01-02", Some(86_400_000))]
    #[case("yesterday", None)]
    #[case("", None)]
    fn instants(#[case] text: &str, #[case] ms: Option<u64>) {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(instant_at(text, now).ok(), ms);
    }
}
