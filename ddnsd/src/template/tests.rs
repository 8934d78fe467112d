//! Compared with Python's Jinja2, and attacked.

use super::*;
use serde_json::{Value as Json, json};
use std::process::{Command, Stdio};

const CHANGE: &str = include_str!("../../../files/change_notification.j2");
const EXPIRY: &str = include_str!("../../../files/expiry_notification.j2");

/// Reads a list of templates and a list of variables, prints what Jinja2 renders of each pair.
const JINJA2: &str = "
import datetime, jinja2, json, sys
templates, samples = json.load(sys.stdin)
def value(name, value):
    if not name.endswith('_update') or value is None:
        return value
    at = datetime.datetime.fromtimestamp(value // 1000, datetime.timezone.utc)
    return at.replace(tzinfo=None)
environment = jinja2.Environment()
for sample in samples:
    sample.update({name: value(name, it) for name, it in sample.items()})
json.dump([[environment.from_string(text).render(sample) for sample in samples] for text in templates], sys.stdout)
";

fn variables(value: Json) -> Variables {
    match value {
        Json::Object(variables) => variables,
        _ => panic!("no object"),
    }
}

/// The variables of both kinds of mail: all set, nothing known, and in between.
fn samples() -> Vec<Variables> {
    let common = json!({
        "hostname": "büro", "zone": "dyn.example.org", "fqdn": "büro.dyn.example.org",
        "ipv4_changed": true, "ipv4": "192.0.2.1", "last_ipv4_update": 1_795_428_000_123_i64,
        "ipv6_changed": true, "ipv6": "2001:db8::1", "last_ipv6_update": 1_772_352_307_000_i64,
        "ipv4_expired": true, "last_ipv4": "192.0.2.1",
        "ipv6_expired": true, "last_ipv6": "2001:db8::1", "expiry_ttl": 3600,
    });
    let with = |changes: Json| {
        let mut sample = variables(common.clone());
        sample.extend(variables(changes));
        sample
    };
    vec![
        with(json!({})),
        with(
            json!({"hostname": "@", "ipv6_changed": false, "ipv6": null, "last_ipv6_update": null,
            "ipv6_expired": false, "last_ipv6": null}),
        ),
        with(json!({"ipv4": null, "ipv6": null, "ipv4_changed": false, "ipv4_expired": false,
            "last_ipv4": null, "last_ipv4_update": null, "expiry_ttl": 0})),
    ]
}

/// What a template for Python may do with these variables.
const TEMPLATES: &[&str] = &[
    CHANGE,
    EXPIRY,
    "{{ hostname }}|{{ zone }}|{{ fqdn }}|{{ ipv4_changed }}|{{ ipv4 }}|{{ last_ipv4_update }}\n",
    "{{ ipv6_changed }}|{{ ipv6 }}|{{ last_ipv6_update }}|{{ expiry_ttl }}|{{ undefined_name }}\n\n",
    "{{ ipv4_expired }}|{{ last_ipv4 }}|{{ ipv6_expired }}|{{ last_ipv6 }}",
    "Subject: x\r\n\r\n{% if ipv4 %}\r\n{{ ipv4 }}\r\n{% endif %}\r\n",
    "{% if last_ipv4_update %}{{ last_ipv4_update.strftime('%Y-%m-%d %H:%M') }}\n{% endif %}.",
    "{% if last_ipv6_update is not none %}{{ last_ipv6_update.strftime('%a, %d %b %Y %H:%M:%S %j %U %W %V %p %I %y %e %%') }}{% endif %}",
    "{% if last_ipv4_update %}{{ last_ipv4_update.isoformat() }} {{ last_ipv4_update.isoformat(' ') }} {{ last_ipv4_update.year }}-{{ last_ipv4_update.month }}-{{ last_ipv4_update.day }} {{ last_ipv4_update.hour }}:{{ last_ipv4_update.minute }}:{{ last_ipv4_update.second }}.{{ last_ipv4_update.microsecond }} {{ last_ipv4_update.date() }} {{ last_ipv4_update.time() }} {{ last_ipv4_update.weekday() }} {{ last_ipv4_update.isoweekday() }}{% endif %}",
    "{% if last_ipv4_update and last_ipv6_update %}{{ last_ipv4_update > last_ipv6_update }} {{ last_ipv4_update == last_ipv4_update }} {{ [last_ipv4_update, last_ipv6_update]|max }}{% endif %}",
    "{%- for address in [ipv4, ipv6] if address -%}\n  {{ loop.index }}/{{ loop.length }}: {{ address }}{{ ', ' if not loop.last }}\n{%- else %}none{% endfor %}",
    "{% set hours = expiry_ttl // 3600 %}{{ hours }} h {{ expiry_ttl % 3600 }} s {{ expiry_ttl / 7 }} {{ 2 ** 3 }} {{ hours ~ 'h' }}",
    "{{ fqdn|upper }} {{ fqdn|lower }} {{ fqdn|title }} {{ fqdn|capitalize }} {{ fqdn|length }} {{ fqdn|replace('.', '-') }} {{ fqdn.split('.')|join('/') }} {{ fqdn.upper() }} {{ fqdn.startswith('b') }} {{ fqdn[:4] }} {{ fqdn[-3:] }}",
    "{{ ipv4|default('none', true) }} {{ ipv4 or 'none' }} {{ 'yes' if ipv4 else 'no' }} {{ missing|default('x') }} {{ missing is defined }} {{ ipv4 is none }} {{ ipv4 is string }}",
    "{% macro line(name, value) %}{{ name }}: {{ value or '-' }}{% endmacro %}{{ line('A', ipv4) }}\n{{ line('AAAA', ipv6) }}",
    "{# a comment #}{% raw %}{{ raw }}{% endraw %} & < > \" ' {{ '<' ~ ipv6 ~ '>' }} {{ ipv4|e }} {{ '<b>'|e }}",
    "{{ '%s of %s'|format(hostname, zone) }} {{ '{} {}'.format(hostname, expiry_ttl) }} {{ [1, 2, 3]|sum }} {{ range(3)|list }} {{ {'a': none}['a'] }} {{ (1, 'x') }} {{ ['ü', true, none, 1.5] }}",
    "{% with x = hostname %}{{ x }}{% endwith %}{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }} {{ ' a '|trim }} {{ 'a\nb'|indent(2) }} {{ 'abc'|reverse }} {{ '3'|int + 1 }} {{ 3.7|round }} {{ 'a,b'.split(',')|first }}",
    "{% filter upper %}{{ hostname }}{% endfilter %}{% if ipv4_changed and not ipv6_changed %}only v4{% elif ipv6_changed %}v6{% else %}-{% endif %} {{ ipv4 in ['192.0.2.1'] }} {{ '2' in (ipv4 or '') }}",
    "\n\n  leading\n{{- ' x' }}\n\n",
];

#[test]
fn templates_render_byte_for_byte_as_in_pythons_jinja2() {
    let samples = samples();
    let input = json!([TEMPLATES, samples]).to_string();
    // Debian's, which has Debian's Jinja2
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", JINJA2])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    python.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "python3-jinja2 is installed: tests/run installs it");
    let expected: Vec<Vec<String>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(expected.len(), TEMPLATES.len());
    for (text, expected) in TEMPLATES.iter().zip(expected) {
        let template = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for (sample, expected) in samples.iter().zip(expected) {
            let ours = template.text(sample, &TimeZone::UTC);
            assert_eq!(ours.as_deref(), Ok(expected.as_str()), "{text}");
        }
    }
}

fn rendered(text: &str) -> Result<Rendered, TemplateError> {
    Template::parse(text)?.render(&samples()[0], &TimeZone::UTC)
}

#[test]
fn the_line_at_the_top_is_the_subject() {
    let subject = |text| {
        let Rendered { subject, body } = rendered(text).unwrap();
        (subject, body)
    };
    let some = |subject: &str, body: &str| (Some(subject.to_owned()), body.to_owned());
    assert_eq!(subject("Subject: {{ fqdn }}\n\nA\n"), some("büro.dyn.example.org", "A"));
    assert_eq!(subject("{# x #}\nsubject:\tB \nC"), some("B", "C"));
    assert_eq!(subject("Subject:\n\n\nC"), some("", "\nC"));
    assert_eq!(subject("C\nSubject: x"), (None, "C\nSubject: x".to_owned()));
    // what a value puts into it is one line
    let injected = subject("Subject: {{ 'x\\r\\nBcc: a@b.example' }}\n\nC");
    assert_eq!(injected, some("x", "Bcc: a@b.example\n\nC"));
    assert_eq!(subject("Subject: {{ 'x\\ry\0z\x7f' }}\nC"), some("x y z", "C"));
}

#[test]
fn an_error_of_syntax_names_its_line() {
    for (text, line) in [
        ("one\n{% if %}", 2),
        ("\n{% if x %}\n\n", 2),
        ("a\nb\n{{ x", 3),
        ("{% include 'x' %}", 1),
        ("\n{% endfor %}", 2),
    ] {
        assert_eq!(Template::parse(text).unwrap_err().line, line, "{text:?}");
    }
    assert_eq!(rendered("a\n{{ fqdn|nofilter }}").unwrap_err().line, 2);
    assert_eq!(rendered("a\n\n{{ fqdn.strftime('%Y') }}").unwrap_err().line, 3);
    assert_eq!(rendered("{{ last_ipv4_update.strptime('%Y') }}").unwrap_err().line, 1);
}

#[test]
fn a_long_chain_is_refused_with_its_line_instead_of_overflowing_the_stack() {
    for chain in [".a".repeat(30_000), "~1".repeat(30_000), " - 1".repeat(2_000)] {
        let error =
            Template::parse(&format!("text {{{{ b }}}}\n{{{{ a{chain} }}}}\n")).unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.what.contains("more than 2000 bytes"), "{error}");
    }
    let many = "{{ fqdn }} {% if a %}b{% endif %}".repeat(5_000);
    assert!(Template::parse(&many).is_ok());
    // the longest that passes fits the stack of a thread
    let longest = format!("{{{{ a{} }}}}", ".a".repeat(990));
    assert!(std::thread::spawn(move || Template::parse(&longest).is_ok()).join().unwrap());
}

#[test]
fn a_template_that_never_ends_or_writes_too_much_is_stopped() {
    for text in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for a in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ 'x' * 300000 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for a in range(1000000000) %}{% endfor %}",
        "{{ '%999999999d'|format(1) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ 'x'|indent(999999999, true) }}",
        "{{ 'a'|center(999999999) }}",
        "{{ 2 ** 999999999 }}",
    ] {
        assert!(rendered(text).is_err(), "{text}");
    }
    let deep = format!("{}x{}", "{% if true %}".repeat(100_000), "{% endif %}".repeat(100_000));
    let _ = Template::parse(&deep);
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(Template::parse(&deep).is_err());
}

#[test]
fn a_template_reaches_no_file_and_no_environment() {
    for text in [
        "{% include '/etc/passwd' %}",
        "{% extends '/etc/passwd' %}",
        "{% import '/etc/passwd' as x %}",
        "{{ lipsum.__globals__['os'].environ }}",
        "{{ ''.__class__.__mro__ }}",
    ] {
        assert!(rendered(text).is_err(), "{text}");
    }
}
