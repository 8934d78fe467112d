//! A point in local time as a template sees it: like Python's `datetime`. `{{ x }}` prints
//! `2026-11-23 10:00:00`; `strftime` prints what glibc prints in the C locale.

use jiff::civil;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use minijinja::value::{DynObject, Enumerator, Object, Value, from_args};
use minijinja::{Error, ErrorKind, State};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

const FIELDS: &[&str] = &["year", "month", "day", "hour", "minute", "second", "microsecond"];

/// In whole seconds, because a fraction only disturbs the reader of a mail.
#[derive(Debug)]
pub(super) struct LocalTime(Zoned);

impl LocalTime {
    /// `None` for a time beyond the calendar.
    pub(super) fn new(millis: i64, zone: &TimeZone) -> Option<Self> {
        let at = Timestamp::from_second(millis.div_euclid(1000)).ok()?;
        Some(Self(at.to_zoned(zone.clone())))
    }

    fn civil(&self) -> civil::DateTime {
        self.0.datetime()
    }
}

impl Object for LocalTime {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = self.civil();
        match key.as_str()? {
            "year" => Some(at.year().into()),
            "month" => Some(at.month().into()),
            "day" => Some(at.day().into()),
            "hour" => Some(at.hour().into()),
            "minute" => Some(at.minute().into()),
            "second" => Some(at.second().into()),
            "microsecond" => Some(0.into()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(FIELDS)
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let at = self.civil();
        if method == "strftime" {
            let (format,): (&str,) = from_args(args)?;
            return Ok(strftime(&self.0, format).into());
        }
        if method == "isoformat" {
            let (separator,): (Option<&str>,) = from_args(args)?;
            let (date, time) = (strftime(&self.0, "%F"), strftime(&self.0, "%T"));
            return Ok(format!("{date}{}{time}", separator.unwrap_or("T")).into());
        }
        let () = from_args(args)?;
        match method {
            "date" => Ok(strftime(&self.0, "%F").into()),
            "time" => Ok(strftime(&self.0, "%T").into()),
            "timestamp" => Ok(seconds(self.0.timestamp()).into()),
            "weekday" => Ok(at.weekday().to_monday_zero_offset().into()),
            "isoweekday" => Ok(at.weekday().to_monday_one_offset().into()),
            _ => Err(Error::new(
                ErrorKind::UnknownMethod,
                format!("a time has no method named {method}"),
            )),
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Self>()?;
        Some(self.0.timestamp().cmp(&other.0.timestamp()))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&strftime(&self.0, "%F %T"))
    }
}

/// Python's timestamps are floats: `1795428000.0`.
#[expect(clippy::cast_precision_loss, reason = "seconds of the calendar are exact in a float")]
fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}

//----- strftime -----

/// How a number is filled up to its width.
#[derive(Clone, Copy)]
enum Padding {
    Zero,
    Space,
    None,
}

/// As Python on Linux prints it. What is no directive is printed as it stands.
fn strftime(at: &Zoned, format: &str) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some((text, directive)) = rest.split_once('%') {
        out.push_str(text);
        let flags = directive.trim_start_matches(['-', '_', '0', '^', '#']);
        let flag = directive.get(..directive.len() - flags.len()).unwrap_or_default();
        let mut letters = flags.chars();
        let printed = letters.next().and_then(|letter| field(at, letter, flag));
        if let Some(printed) = printed {
            let upper = flag.contains('^');
            out.push_str(&if upper { printed.to_uppercase() } else { printed });
            rest = letters.as_str();
        } else {
            out.push('%');
            rest = directive;
        }
    }
    out.push_str(rest);
    out
}

fn field(at: &Zoned, letter: char, flag: &str) -> Option<String> {
    let padding = |default| match flag.chars().rfind(|flag| matches!(flag, '-' | '_' | '0')) {
        Some('-') => Padding::None,
        Some('_') => Padding::Space,
        Some(_) => Padding::Zero,
        None => default,
    };
    if let Some((value, width, default)) = number(at, letter) {
        return Some(match padding(default) {
            Padding::Zero => format!("{value:0width$}"),
            Padding::Space => format!("{value:width$}"),
            Padding::None => value.to_string(),
        });
    }
    let composed = |format| Some(strftime(at, format));
    match letter {
        'a' | 'A' | 'b' | 'B' | 'h' | 'p' | 'P' | 'z' => {
            strtime::format(format!("%{letter}"), at).ok()
        }
        'Z' => Some(at.time_zone().to_offset_info(at.timestamp()).abbreviation().to_owned()),
        'c' => composed("%a %b %e %H:%M:%S %Y"),
        'D' | 'x' => composed("%m/%d/%y"),
        'F' => composed("%Y-%m-%d"),
        'r' => composed("%I:%M:%S %p"),
        'R' => composed("%H:%M"),
        'T' | 'X' => composed("%H:%M:%S"),
        'n' => Some("\n".to_owned()),
        't' => Some("\t".to_owned()),
        '%' => Some("%".to_owned()),
        _ => None,
    }
}

/// A directive that prints a number, with its width and padding.
fn number(zoned: &Zoned, letter: char) -> Option<(i64, usize, Padding)> {
    let at = zoned.datetime();
    let hour12 = i64::from((at.hour() + 11) % 12 + 1);
    let week = at.date().iso_week_date();
    let day_of_year = i64::from(at.date().day_of_year());
    let weekday = at.weekday();
    let (year, iso_year) = (i64::from(at.year()), i64::from(week.year()));
    // C: weeks begin on this day, and the days before the first one are in week 0
    let week_from = |offset: i8| (day_of_year + 6 - i64::from(offset)) / 7;
    let (value, width) = match letter {
        'C' => (year.div_euclid(100), 2),
        'd' => (i64::from(at.day()), 2),
        'e' => return Some((i64::from(at.day()), 2, Padding::Space)),
        'f' => (0, 6),
        'g' => (iso_year.rem_euclid(100), 2),
        'G' => (iso_year, 1),
        'H' => (i64::from(at.hour()), 2),
        'I' => (hour12, 2),
        'j' => (day_of_year, 3),
        'k' => return Some((i64::from(at.hour()), 2, Padding::Space)),
        'l' => return Some((hour12, 2, Padding::Space)),
        'm' => (i64::from(at.month()), 2),
        'M' => (i64::from(at.minute()), 2),
        's' => (zoned.timestamp().as_second(), 1),
        'S' => (i64::from(at.second()), 2),
        'u' => (i64::from(weekday.to_monday_one_offset()), 1),
        'U' => (week_from(weekday.to_sunday_zero_offset()), 2),
        'V' => (i64::from(week.week()), 2),
        'w' => (i64::from(weekday.to_sunday_zero_offset()), 1),
        'W' => (week_from(weekday.to_monday_zero_offset()), 2),
        'y' => (year.rem_euclid(100), 2),
        'Y' => (year, 1),
        _ => return None,
    };
    Some((value, width, Padding::Zero))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    #[test]
    fn every_directive_prints_what_glibc_prints() {
        let time = at("2026-03-01T09:05:07+01:00[Europe/Berlin]");
        for (format, expected) in [
            ("%Y-%m-%d %H:%M:%S", "2026-03-01 09:05:07"),
            ("%a %A %b %B %h", "Sun Sunday Mar March Mar"),
            (
                "%c|%x|%X|%D|%F|%T|%R",
                "Sun Mar  1 09:05:07 2026|03/01/26|09:05:07|03/01/26|2026-03-01|09:05:07|09:05",
            ),
            ("%I %l %k %p %P %r", "09  9  9 AM am 09:05:07 AM"),
            ("%j %U %W %V %G %g %u %w %C %y", "060 09 08 09 2026 26 7 0 20 26"),
            ("%e|%-d|%_d|%0e|%-H|%^a|%f", " 1|1| 1|01|9|SUN|000000"),
            ("%z %Z %s", "+0100 CET 1772352307"),
            ("100%% %n%t.", "100% \n\t."),
            ("%Q %", "%Q %"),
        ] {
            assert_eq!(strftime(&time, format), expected, "{format}");
        }
        let midnight = at("2025-12-29T00:00:00+00:00[UTC]");
        assert_eq!(strftime(&midnight, "%I %p %G-W%V-%u %U %W"), "12 AM 2026-W01-1 52 52");
    }
}
