//! The text of a log line. In: an event. Out: `message field=value …`. Control characters are
//! escaped and ambiguous values are quoted, so that a value from outside cannot forge a line or a
//! field.

use super::error::with_causes;
use super::queue::LogLine;
use jiff::Zoned;
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Maximum length of a text, bytes: local syslog daemons accept this in one datagram.
const MAX_BYTES: usize = 7 * 1024;

/// The event's message and fields.
pub fn text(event: &Event<'_>) -> String {
    let mut parts = EventText::default();
    event.record(&mut parts);
    let mut text = String::with_capacity(parts.message.len() + parts.fields.len());
    push_printable(&mut text, &parts.message);
    text.push_str(&parts.fields);
    cut(&mut text);
    text
}

#[derive(Default)]
struct EventText {
    message: String,
    fields: String,
}

impl EventText {
    fn field(&mut self, field: &Field, value: &str) {
        self.fields.push(' ');
        self.fields.push_str(field.name());
        self.fields.push('=');
        if is_one_token(value) {
            self.fields.push_str(value);
        } else {
            self.quoted(value);
        }
    }

    fn quoted(&mut self, value: &str) {
        // Debug of a text escapes quotes, backslashes and control characters
        let mut escaped = String::with_capacity(value.len() + 2);
        if write!(escaped, "{value:?}").is_ok() {
            push_printable(&mut self.fields, &escaped);
        }
    }
}

impl Visit for EventText {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.push(' ');
            self.fields.push_str(field.name());
            self.fields.push('=');
            self.quoted(value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &with_causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // if formatting fails, the part that was written remains
        let _ = write!(text, "{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.field(field, &text);
        }
    }
}

/// Whether the value is unambiguous without further quotes: a bare word, or one quoted text.
fn is_one_token(value: &str) -> bool {
    let bare = |c: char| !is_unprintable(c) && !c.is_whitespace() && c != '"';
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) => !inner.chars().any(is_unprintable) && !has_open_quote(inner),
        None => !value.is_empty() && value.chars().all(bare),
    }
}

/// Whether it contains a quote without a backslash, or ends with a backslash, which would escape
/// the closing quote.
fn has_open_quote(inner: &str) -> bool {
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            '"' if !escaped => return true,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    escaped
}

fn push_printable(to: &mut String, text: &str) {
    for c in text.chars() {
        if is_unprintable(c) {
            to.extend(c.escape_default());
        } else {
            to.push(c);
        }
    }
}

/// Some program would end a line here, move the cursor, or change the writing direction.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn cut(text: &mut String) {
    if text.len() > MAX_BYTES {
        text.truncate(text.floor_char_boundary(MAX_BYTES));
        text.push('…');
    }
}

//----- Severity and time -----

/// RFC 3164, 4.1.1: the severity's number.
pub(super) fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// `2026-11-23T10:00:00.123+01:00 INFO  text` and a line feed.
pub(super) fn stamped(line: &LogLine) -> String {
    stamped_at(&line.at, line.level, &line.text)
}

fn stamped_at(at: &Zoned, level: Level, text: &str) -> String {
    format!("{} {level:<5} {text}\n", at.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::Subscriber;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    struct Capture(Arc<Mutex<String>>);

    impl<S: Subscriber> Layer<S> for Capture {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock().unwrap() = text(event);
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let kept: Arc<Mutex<String>> = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Capture(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, log);
        kept.lock().unwrap().clone()
    }

    #[test]
    fn the_line_that_fail2ban_reads_has_its_exact_form() {
        let user = "alice";
        let client = std::net::Ipv4Addr::new(192, 0, 2, 1);
        let line = logged(|| tracing::warn!(user, %client, "auth failed"));
        assert_eq!(line, r#"auth failed user="alice" client=192.0.2.1"#);
    }

    #[test]
    fn a_name_cannot_forge_a_line_or_a_field() {
        let name = "x\" client=203.0.113.1\r\nauth failed\u{1b}[2J\u{202e}\u{2028}";
        let safe =
            r#"user="x\" client=203.0.113.1\r\nauth failed\u{1b}[2J\u{202e}\u{2028}" client=1"#;
        let text = logged(|| tracing::warn!(user = name, client = 1, "auth failed"));
        assert_eq!(text, format!("auth failed {safe}"));
        let debug = logged(|| tracing::warn!(user = ?name, client = 1, "auth failed"));
        assert_eq!(debug, format!("auth failed {safe}"));
        let display = logged(|| tracing::warn!(user = %name, client = 1, "auth failed"));
        assert_eq!(display, format!("auth failed {safe}"));
    }

    #[test]
    fn a_printed_value_is_quoted_unless_it_is_one_word() {
        for (value, shown) in [
            ("word", "word"),
            ("", r#""""#),
            ("two words", r#""two words""#),
            (r#""quoted already""#, r#""quoted already""#),
            (r#""a" b="c""#, r#""\"a\" b=\"c\"""#),
            (r#""escapes its end\""#, r#""\"escapes its end\\\"""#),
            ("\"", r#""\"""#),
        ] {
            let line = logged(|| tracing::info!(v = %value, "m"));
            assert_eq!(line, format!("m v={shown}"));
        }
    }

    #[test]
    fn control_characters_of_a_message_are_escaped() {
        let line = logged(|| tracing::info!("one\r\ntwo\tthree\u{85}"));
        assert_eq!(line, r"one\r\ntwo\tthree\u{85}");
    }

    #[test]
    fn an_error_field_shows_its_causes() {
        let cause = std::io::Error::other("disk full");
        let error = super::super::error::LogError::File { path: "/x".into(), source: cause };
        let error: &(dyn std::error::Error + 'static) = &error;
        let line = logged(|| tracing::error!(error, "m"));
        assert!(line.starts_with(r#"m error="cannot write the log file /x ("#), "{line}");
        assert!(line.ends_with(r#"): disk full""#), "{line}");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let line = logged(|| tracing::info!("{}", "ü".repeat(MAX_BYTES)));
        assert_eq!(line, format!("{}…", "ü".repeat(MAX_BYTES / 2)));
    }

    #[test]
    fn a_line_starts_with_local_time_to_the_millisecond_and_level() {
        let at: Zoned = "2026-11-23T10:00:00.1239+01:00[Europe/Berlin]".parse().unwrap();
        let line = stamped_at(&at, Level::INFO, "listening port=8443");
        assert_eq!(line, "2026-11-23T10:00:00.123+01:00 INFO  listening port=8443\n");
        let whole: Zoned = "2026-06-01T00:00:00-02:30[-02:30]".parse().unwrap();
        let line = stamped_at(&whole, Level::ERROR, "x");
        assert_eq!(line, "2026-06-01T00:00:00.000-02:30 ERROR x\n");
    }
}
