//! Dates of HTTP, in place of the crate of this name in the registry. hyper makes one for each
//! second in which it answers, with the header Date or without it. The registry's crate panics if
//! the clock shows a time before 1970 or after 9999; here the nearest date stands for it. In: a
//! time, or a date as text. Out: the other one. hyper, headers and lettre use what is here.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// RFC 9110, 5.6.7: the form that is sent, and the two that were sent once.
const FORMS: [&str; 3] =
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// A second from 1970 to 9999, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpDate(Timestamp);

/// It is no date, or one before 1970.
#[derive(Debug)]
pub struct Error(());

impl std::error::Error for Error {}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("string contains no or an invalid date")
    }
}

/// # Errors
/// It is no date, or one before 1970.
pub fn parse_http_date(text: &str) -> Result<SystemTime, Error> {
    text.parse::<HttpDate>().map(SystemTime::from)
}

pub fn fmt_http_date(time: SystemTime) -> String {
    HttpDate::from(time).to_string()
}

impl From<SystemTime> for HttpDate {
    fn from(time: SystemTime) -> Self {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let last = Timestamp::MAX.as_second();
        let second = i64::try_from(since_1970.as_secs()).map_or(last, |second| second.min(last));
        Self(Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

impl From<HttpDate> for SystemTime {
    fn from(HttpDate(date): HttpDate) -> Self {
        let seconds = u64::try_from(date.as_second()).unwrap_or(0);
        Self::UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

impl Display for HttpDate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&self.0);
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

impl FromStr for HttpDate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = |form: &&str| DateTime::strptime(form, text).ok();
        let date = FORMS.iter().find_map(read).ok_or(Error(()))?;
        let date = TimeZone::UTC.to_timestamp(date).map_err(|_| Error(()))?;
        if date < Timestamp::UNIX_EPOCH { Err(Error(())) } else { Ok(Self(date)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> SystemTime {
        let distance = Duration::from_secs(second.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        let time =
            if second < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
        time.unwrap()
    }

    #[test]
    fn the_three_forms_of_rfc_9110_are_one_date() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_http_date(text).unwrap(), at(784_111_777), "{text}");
        }
        for text in [
            "",
            "Sun, 07 Nov 1994 08:49:37 GMT", // it was a Monday
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Wed, 31 Dec 1969 23:59:59 GMT",
        ] {
            assert!(parse_http_date(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_before_1970_or_after_9999_is_the_nearest_date() {
        let first = "Thu, 01 Jan 1970 00:00:00 GMT";
        for second in [i64::MIN / 2, -18_400_000, -1, 0] {
            assert_eq!(fmt_http_date(at(second)), first);
        }
        assert_eq!(fmt_http_date(at(1_475_419_451)), "Sun, 02 Oct 2016 14:44:11 GMT");
        assert!(fmt_http_date(at(i64::MAX / 2)).contains(" Dec 9999 "));
    }

    proptest! {
        #[test]
        fn every_time_is_a_date_of_29_bytes_that_reads_back(second in any::<i64>()) {
            let Some(time) = SystemTime::UNIX_EPOCH.checked_add(
                Duration::from_secs(second.unsigned_abs() % 400_000_000_000)
            ) else { return Ok(()) };
            let text = fmt_http_date(time);
            // hyper reserves that many
            prop_assert_eq!(text.len(), 29);
            let back = parse_http_date(&text).unwrap();
            prop_assert_eq!(HttpDate::from(back), HttpDate::from(time));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = parse_http_date(&text);
        }
    }
}
