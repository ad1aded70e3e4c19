//! Sizes: `512m`, `1g`.

const UNITS: [(&str, u64); 4] = [("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1 << 40)];

/// Reads a size in MiB: a number and a unit (`b`, `k`, `m`, `g`, `t`, powers of 1024, as in `512m` or `1.5GiB`);
/// bytes without one.
pub(crate) fn size_mib(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim().trim_end_matches('b').trim_end_matches('i');
    let scale = if unit.is_empty() {
        Some(1)
    } else {
        UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, scale)| *scale)
    };
    let number: Option<f64> = number.parse().ok().filter(|number: &f64| number.is_finite());
    let (Some(number), Some(scale)) = (number, scale) else {
        return Err("not a size; write a number and a unit, such as 512m or 1g".to_owned());
    };
    let mib = number * scale as f64 / f64::from(1 << 20);
    if mib > 0.0 && mib < 1.0 {
        let bytes = number * scale as f64;
        return Err(format!("{bytes} bytes are less than one MiB; write {number}m"));
    }
    if mib.fract() != 0.0 {
        return Err("not a whole number of MiB; write for example 512m".to_owned());
    }
    if mib > 8_796_093_022_207.0 {
        return Err("more than any machine has; write for example 1g".to_owned());
    }
    Ok(mib as u64)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("512m", Some(512))]
    #[case("512M", Some(512))]
    #[case("512MB", Some(512))]
    #[case("512MiB", Some(512))]
    #[case("1g", Some(1024))]
    #[case("1.5g", Some(1536))]
    #[case("2048k", Some(2))]
    #[case("1048576", Some(1))]
    #[case("1048576b", Some(1))]
    #[case("1t", Some(1 << 20))]
    #[case("0", Some(0))]
    #[case("512", None)]
    #[case("1.5m", None)]
    #[case("m", None)]
    #[case("", None)]
    #[case("-1m", None)]
    #[case("1x", None)]
    #[case("1e3m", None)]
    #[case("99999999999999t", None)]
    fn sizes(#[case] text: &str, #[case] mib: Option<u64>) {
        assert_eq!(size_mib(text).ok(), mib);
    }

    #[test]
    fn a_size_without_unit_says_what_to_write() {
        insta::assert_snapshot!(size_mib("512").expect_err("too small"), @"512 bytes are less than one MiB; write 512m");
    }
}
