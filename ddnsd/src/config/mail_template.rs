//! In: the text of a mail template. Out: the template, rendered with samples, because what it does
//! wrong shows only then; and the variables that no such mail has. Pure.

use crate::model::family::PerFamily;
use crate::model::name::{HostNames, Label, NameError, Zone};
use crate::model::notice::{FamilyNotice, Notice, NoticeKind};
use crate::model::time::Millis;
use crate::template::{Template, TemplateError, Variables};
use jiff::tz::TimeZone;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The template, and the variables that it uses although no mail of this kind has them.
///
/// # Errors
/// What is wrong, with its line.
pub(super) fn read(text: &str, kind: NoticeKind) -> Result<(Template, Vec<String>), TemplateError> {
    let template = Template::parse(text)?;
    let samples = samples(kind);
    for sample in &samples {
        template.render(sample, &TimeZone::UTC)?;
    }
    let unknown = samples.first().map(|sample| template.unknown_variables(sample));
    Ok((template, unknown.unwrap_or_default()))
}

/// Mails about both families, one, one of a host that never had the other, and one of a host that
/// went offline. What a mail is about has a time: templates rely on it.
fn samples(kind: NoticeKind) -> Vec<Variables> {
    let v4 = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    let v6 = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let set = |included, address| FamilyNotice {
        included,
        address: Some(address),
        updated_at: Some(Millis(1_795_428_000_123)),
    };
    let none = FamilyNotice { included: false, address: None, updated_at: None };
    let offline = |address| FamilyNotice {
        address: if kind == NoticeKind::Change { None } else { Some(address) },
        ..set(true, address)
    };
    let families = [
        PerFamily { v4: set(true, v4), v6: set(true, v6) },
        PerFamily { v4: set(true, v4), v6: set(false, v6) },
        PerFamily { v4: set(false, v4), v6: set(true, v6) },
        PerFamily { v4: none, v6: set(true, v6) },
        PerFamily { v4: set(true, v4), v6: none },
        PerFamily { v4: offline(v4), v6: offline(v6) },
    ];
    families.iter().filter_map(|families| variables(kind, *families).ok().flatten()).collect()
}

fn variables(
    kind: NoticeKind,
    families: PerFamily<FamilyNotice>,
) -> Result<Option<Variables>, NameError> {
    let names = HostNames::new(Label::parse("büro")?, Zone::parse("dyn.example.org")?)?;
    let notice = Notice { families, expiry_ttl: 3600 };
    let variables = notice.variables(kind, &names);
    Ok(match variables {
        serde_json::Value::Object(variables) => Some(variables),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_have_samples_with_and_without_each_family() {
        for kind in [NoticeKind::Change, NoticeKind::Expiry] {
            let samples = samples(kind);
            assert_eq!(samples.len(), 6);
            assert!(samples.iter().all(|sample| sample.len() == 10), "{samples:?}");
            assert!(samples.iter().any(|sample| sample["last_ipv4_update"].is_null()));
        }
    }

    #[test]
    fn a_template_may_rely_on_the_time_of_what_a_mail_is_about() {
        for (kind, verb) in [(NoticeKind::Change, "changed"), (NoticeKind::Expiry, "expired")] {
            let text = ["ipv4", "ipv6"].map(|family| {
                format!(
                    "{{% if {family}_{verb} %}}{{{{ last_{family}_update.strftime('%Y') }}}}{{% endif %}}"
                )
            });
            assert!(read(&text.concat(), kind).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_template_that_fails_for_a_host_without_ipv6_is_refused_with_its_line() {
        let text = "Subject: {{ fqdn }}\n\n{{ last_ipv6_update.strftime('%Y') }}\n";
        let error = read(text, NoticeKind::Change).unwrap_err();
        assert_eq!(error.line, 3);
    }

    #[test]
    fn variables_of_the_other_kind_are_named() {
        let text = "{% for x in range(2) %}{{ x }}{% endfor %}{{ ipv4 }}{{ last_ipv4 }}{{ typo }}";
        let (_, unknown) = read(text, NoticeKind::Change).unwrap();
        assert_eq!(unknown, ["last_ipv4", "typo"]);
    }
}
