//! Mail templates. In: the text of a Jinja2 file, and the variables of a notice. Out: subject and
//! body. Pure: a template reads no file, no clock and no environment, and its work, its memory and
//! its output are bounded. It stands below `config/`, so that a broken template is a problem of the
//! configuration like any other, with its line.

mod datetime;

use datetime::LocalTime;
use jiff::tz::TimeZone;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use std::fmt;
use std::io::{self, Write};

/// Bytes of a mail.
const MAX_OUTPUT: usize = 256 << 10;

/// Bytes of one expression or statement.
const MAX_TAG: usize = 2_000;

/// Steps of a rendering, by minijinja's count: some milliseconds, and 64 bytes of memory each.
const MAX_FUEL: u64 = 100_000;

/// Characters of a subject.
const MAX_SUBJECT: usize = 500;

/// A template without an error of syntax.
pub struct Template {
    environment: Environment<'static>,
}

/// Subject and body of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line; `None` if the template has none.
    pub subject: Option<String>,
    /// Lines end in LF.
    pub body: String,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TemplateError {
    /// Counted from 1.
    pub line: usize,
    pub what: String,
}

/// The variables of a mail by name.
pub type Variables = serde_json::Map<String, serde_json::Value>;

/// Any name would do.
const NAME: &str = "mail";

impl Template {
    /// # Errors
    /// The first error of syntax.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.set_fuel(Some(MAX_FUEL));
        // as Jinja2 reads a file
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        check_tags(&text)?;
        environment.add_template_owned(NAME, text).map_err(|error| problem(&error))?;
        Ok(Self { environment })
    }

    /// Renders a mail. Times among the variables are milliseconds since 1970 and are shown in
    /// `zone`.
    ///
    /// # Errors
    /// The template does something that it cannot, or too much.
    pub fn render(
        &self,
        variables: &Variables,
        zone: &TimeZone,
    ) -> Result<Rendered, TemplateError> {
        Ok(split(&self.text(variables, zone)?))
    }

    fn text(&self, variables: &Variables, zone: &TimeZone) -> Result<String, TemplateError> {
        let values =
            variables.iter().map(|(name, value)| (name.as_str(), jinja(name, value, zone)));
        let values = Value::from_pairs(values);
        let template = self.environment.get_template(NAME).map_err(|error| problem(&error))?;
        let mut output = Output::default();
        let rendered = template.render_captured_to(values, &mut output);
        if output.is_full {
            let what = format!("renders more than {MAX_OUTPUT} bytes");
            return Err(TemplateError { line: 1, what });
        }
        rendered.map_err(|error| problem(&error))?;
        // minijinja writes UTF-8 only
        Ok(String::from_utf8_lossy(&output.bytes).into_owned())
    }

    /// The variables that it uses and nothing sets, other than these; sorted.
    pub fn unknown_variables(&self, known: &Variables) -> Vec<String> {
        let Ok(template) = self.environment.get_template(NAME) else { return Vec::new() };
        let is_known = |name: &String| {
            known.contains_key(name) || self.environment.globals().any(|(global, _)| global == name)
        };
        let names = template.undeclared_variables(false).into_iter();
        let mut names: Vec<_> = names.filter(|name| !is_known(name)).collect();
        names.sort();
        names
    }
}

/// minijinja's compiler calls itself for each step of a chain such as `a.b.c` or `1 - 1 - 1`, and a
/// chain of thousands would overflow the stack.
fn check_tags(text: &str) -> Result<(), TemplateError> {
    let mut start = None;
    let mut end = None;
    for (at, mark) in text.as_bytes().windows(2).enumerate() {
        match mark {
            b"{{" | b"{%" => {
                check_tag(text, start, end.unwrap_or(at))?;
                start = Some(at);
                end = None;
            }
            b"}}" | b"%}" => end = Some(at),
            _ => {}
        }
    }
    check_tag(text, start, end.unwrap_or(text.len()))
}

fn check_tag(text: &str, start: Option<usize>, end: usize) -> Result<(), TemplateError> {
    let Some(start) = start.filter(|start| end.saturating_sub(*start) > MAX_TAG) else {
        return Ok(());
    };
    let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    let what = format!("an expression or statement has more than {MAX_TAG} bytes");
    Err(TemplateError { line, what })
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

/// A variable as templates see it: a time is a datetime, and what is not known is `None`.
fn jinja(name: &str, value: &serde_json::Value, zone: &TimeZone) -> Value {
    match value {
        serde_json::Value::Bool(flag) => (*flag).into(),
        serde_json::Value::Number(number) => {
            let number = number.as_i64().unwrap_or_default();
            let time = Some(number).filter(|_| name.ends_with("_update"));
            let time = time.and_then(|millis| LocalTime::new(millis, zone));
            time.map_or(number.into(), Value::from_object)
        }
        serde_json::Value::String(text) => text.as_str().into(),
        // no variable is a list or a map
        _ => ().into(),
    }
}

fn problem(error: &Error) -> TemplateError {
    let kind = error.kind();
    let what =
        error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}"));
    TemplateError { line: error.line().unwrap_or(1), what }
}

/// Takes the subject off the top: a line `Subject: …`, which an empty line may follow.
fn split(text: &str) -> Rendered {
    let start = text.trim_start_matches('\n');
    let line = start.lines().next().unwrap_or_default();
    let subject = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("subject"));
    let Some((_, subject)) = subject else {
        return Rendered { subject: None, body: text.to_owned() };
    };
    let body = start.split_once('\n').map_or("", |(_, body)| body);
    let body = body.strip_prefix('\n').unwrap_or(body);
    // a value may hold any character; in a header each is one of a single line
    let subject = subject.chars().map(|c| if c.is_control() { ' ' } else { c });
    let subject: String = subject.take(MAX_SUBJECT).collect();
    Rendered { subject: Some(subject.trim().to_owned()), body: body.to_owned() }
}

/// Takes a bounded number of bytes.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_OUTPUT {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
