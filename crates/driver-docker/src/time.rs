//! Times: the engine's RFC 3339 texts and the contract's epoch milliseconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in epoch milliseconds.
pub(crate) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Reads `2026-11-23T20:25:39.361928463Z` or with an offset. `None` for anything else, and for times before 1970: the
/// engine writes year 1 for "never".
pub(crate) fn parse_ms(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let clock_end = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at_checked(clock_end)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // A leap second is written as 60. Larger numbers are no time, and would overflow below.
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    let seconds = days_from_epoch(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second
        - offset_seconds(zone)?;
    // Milliseconds are the first three digits, whether the engine wrote one or nine.
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    u64::try_from(seconds.checked_mul(1000)?.checked_add(millis)?)
        .ok()
        .filter(|ms| *ms > 0)
}

fn offset_seconds(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1) {
        None | Some(("Z", "")) => return Some(0),
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        Some(_) => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (hours.parse::<i64>().ok()?, minutes.parse::<i64>().ok()?);
    let is_offset = (0..24).contains(&hours) && (0..60).contains(&minutes);
    is_offset.then(|| sign * (hours * 3600 + minutes * 60))
}

/// Days since 1970-01-01 in the Gregorian calendar. Years are counted from March, so that a leap day is the last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1970-01-01T00:00:01Z", Some(1_000))]
    #[case("2000-02-29T12:00:00.5Z", Some(951_825_600_500))]
    #[case("2026-11-23T20:25:39.361928463Z", Some(1_795_465_539_361))]
    #[case("2026-11-23T22:25:39.361928463+02:00", Some(1_795_465_539_361))]
    #[case("2026-11-23T14:55:39.361-05:30", Some(1_795_465_539_361))]
    #[case("0001-01-01T00:00:00Z", None)]
    #[case("", None)]
    #[case("yesterday", None)]
    #[case("2026-13-01T00:00:00Z", None)]
    #[case("2026-11-23T20:25:39.äZ", None)]
    #[case("2026-11-23T9223372036854775807:00:00Z", None)]
    #[case("2026-11-23T20:25:39+9223372036854775807:00", None)]
    fn times_are_read(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(parse_ms(text), expected);
    }
}
