//! Exact decimals and times.

/// Digits before and after the point of decimal(38, 18).
const MAX_WHOLE: usize = 20;
const SCALE: usize = 18;

/// Of ten.
const POWERS: [i128; SCALE + 1] = {
    let mut powers = [1; SCALE + 1];
    let mut at = 1;
    while at <= SCALE {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// 1990-01-01 in ns: before it no event is taken.
const MIN_EVENT_TIME_NS: i64 = 631_152_000_000_000_000;
/// How far an event may lie ahead of the broker's time of its record.
const MAX_AHEAD_NS: i64 = 86_400_000_000_000;
const MS_NS: i64 = 1_000_000;
const US_NS: i64 = 1_000;
const SECOND_NS: i64 = 1_000_000_000;
/// Below, an integer is no time in microseconds or nanoseconds.
const LEAST_US: i64 = 100_000_000_000_000;
const LEAST_NS: i64 = 100_000_000_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

/// A number above zero as the unscaled value of a decimal(38, 18).
///
/// Only digits with or without a point and decimals are taken, and no more than fit: never rounded.
pub fn decimal(text: &[u8]) -> Option<i128> {
    let point = text.iter().position(|&byte| byte == b'.');
    let (whole, decimals) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    let fits = (1..=MAX_WHOLE).contains(&whole.len()) && decimals.len() <= SCALE;
    if !fits || (point.is_some() && decimals.is_empty()) {
        return None;
    }
    let scaled = digits(decimals)? * POWERS[SCALE - decimals.len()];
    let value = digits(whole)? * POWERS[SCALE] + scaled;
    (value > 0).then_some(value)
}

/// The value of at most 20 digits.
fn digits(text: &[u8]) -> Option<i128> {
    let mut value = 0_u64;
    let (first, rest) = text.split_at(text.len().min(SCALE));
    for byte in first {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        value = value * 10 + u64::from(digit);
    }
    rest.iter().try_fold(i128::from(value), |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(value * 10 + i128::from(digit))
    })
}

/// Whether an event can have been at a time, going by the broker's time of its record.
pub fn is_timely(time_ns: i64, append_time_ms: i64) -> bool {
    let latest = append_time_ms.checked_mul(MS_NS).and_then(|ns| ns.checked_add(MAX_AHEAD_NS));
    latest.is_some_and(|latest| (MIN_EVENT_TIME_NS..=latest).contains(&time_ns))
}

/// Days since 1970 of a time that `is_timely`.
pub fn day(time_ns: i64) -> Option<i32> {
    i32::try_from(time_ns.div_euclid(DAY_NS)).ok()
}

/// A time since 1970 in milliseconds, microseconds or nanoseconds, by magnitude, as ns.
pub fn since_1970(time: i64) -> Option<i64> {
    if time <= i64::MAX / MS_NS {
        return Some(time * MS_NS);
    }
    if (LEAST_US..=i64::MAX / US_NS).contains(&time) {
        return Some(time * US_NS);
    }
    (time >= LEAST_NS).then_some(time)
}

/// A time in UTC as RFC 3339 has it, with up to nine decimals, as ns.
pub fn rfc_3339(text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"Z").or_else(|| text.strip_suffix(b"z"))?;
    let (moment, fraction) = match text.get(19) {
        None => (text, &b""[..]),
        Some(b'.') if (21..=29).contains(&text.len()) => (&text[..19], &text[20..]),
        Some(_) => return None,
    };
    let [
        y0,
        y1,
        y2,
        y3,
        b'-',
        m0,
        m1,
        b'-',
        d0,
        d1,
        b'T' | b't',
        h0,
        h1,
        b':',
        n0,
        n1,
        b':',
        s0,
        s1,
    ] = *moment
    else {
        return None;
    };
    let year = number(&[y0, y1, y2, y3])?;
    let (month, day) = (number(&[m0, m1])?, number(&[d0, d1])?);
    let (hour, minute, second) = (number(&[h0, h1])?, number(&[n0, n1])?, number(&[s0, s1])?);
    let is_date = (1970..=2261).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = (days_since_1970(year, month, day) * 24 + hour) * 3_600 + minute * 60 + second;
    let missing = (fraction.len()..9).fold(1, |power, _| power * 10);
    Some(seconds * SECOND_NS + number(fraction)? * missing)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + i64::from(digit))
    })
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of a date of the Gregorian calendar, from 1970 on.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400 - 477;
    let before = BEFORE.get(usize::try_from(month - 1).unwrap_or(0)).copied().unwrap_or(0);
    let this_year = before + i64::from(month > 2 && is_leap(year)) + day - 1;
    (year - 1970) * 365 + leap_days + this_year
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i128 = 1_000_000_000_000_000_000;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(b"1"), Some(ONE));
        assert_eq!(decimal(b"007.50"), Some(7 * ONE + ONE / 2));
        assert_eq!(decimal(b"0.000000000000000001"), Some(1));
        let largest = decimal(b"99999999999999999999.999999999999999999");
        assert_eq!(largest, Some(10_i128.pow(38) - 1));
        assert_eq!(decimal(b"12345678901234567890"), Some(12_345_678_901_234_567_890 * ONE));
    }

    #[test]
    fn what_is_no_plain_number_above_zero_is_not_taken() {
        for text in [
            "",
            "0",
            "0.0",
            "-1",
            "+1",
            "1.",
            ".5",
            "1e3",
            "1 ",
            "1,0",
            "1.0.0",
            "x",
            "NaN",
            ".",
            "123456789012345678901",
            "0.0000000000000000001",
            "1/2",
            "1:0",
        ] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn times_are_read_by_magnitude() {
        assert_eq!(since_1970(1_723_161_255_342), Some(1_723_161_255_342_000_000));
        assert_eq!(since_1970(1_723_161_255_342_001), Some(1_723_161_255_342_001_000));
        assert_eq!(since_1970(1_723_161_255_342_001_002), Some(1_723_161_255_342_001_002));
        assert_eq!(since_1970(10_000_000_000_000), None);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc_3339(b"1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(rfc_3339(b"2024-08-08T23:54:15.342Z"), Some(1_723_161_255_342_000_000));
        assert_eq!(rfc_3339(b"2000-02-29t12:00:00.000000001z"), Some(951_825_600_000_000_001));
        assert_eq!(rfc_3339(b"2024-12-31T23:59:59.5Z"), Some(1_735_689_599_500_000_000));
        for text in [
            "2023-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-32T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "1969-12-31T23:59:59Z",
            "2024-01-01T00:00:00.12x4Z",
            "2024-01-01T00:00:00+00:00",
            "",
        ] {
            assert_eq!(rfc_3339(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_event_lies_between_1990_and_a_day_after_its_append_time() {
        assert!(is_timely(MIN_EVENT_TIME_NS, 1_723_161_255_342));
        assert!(!is_timely(MIN_EVENT_TIME_NS - 1, 1_723_161_255_342));
        assert!(is_timely(1_723_161_255_342_000_000 + MAX_AHEAD_NS, 1_723_161_255_342));
        assert!(!is_timely(1_723_161_255_342_000_001 + MAX_AHEAD_NS, 1_723_161_255_342));
        assert!(!is_timely(MIN_EVENT_TIME_NS, i64::MAX));
    }
}
