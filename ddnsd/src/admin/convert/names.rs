//! Names: host names into both of their forms, and what administrators type into checked names.

use super::bounds::cut;
use super::invalid;
use crate::model::name::{Email, Fqdn, HostNames, Label, NameError, UserName, Zone};
use crate::model::text::{cannot_take, excerpt};
use ddnsd_proto::error::Refusal;
use ddnsd_proto::status::{Failed, HostName};

pub(super) fn host_name(fqdn: &Fqdn) -> HostName {
    HostName { fqdn: fqdn.as_str().to_owned(), unicode: fqdn.to_unicode() }
}

pub(super) fn failed((fqdn, reason): (Fqdn, String)) -> Failed {
    let HostName { fqdn, unicode } = host_name(&fqdn);
    Failed { fqdn, unicode, reason: cut(reason) }
}

pub(in crate::admin) fn user(text: &str) -> Result<UserName, Refusal> {
    read("the user name", text, UserName::parse)
}

pub(in crate::admin) fn email(text: &str) -> Result<Email, Refusal> {
    read("the mail address", text, Email::parse)
}

pub(in crate::admin) fn zone(text: &str) -> Result<Zone, Refusal> {
    read("the zone", text, Zone::parse)
}

pub(in crate::admin) fn host(label: &str, zone: &str) -> Result<HostNames, Refusal> {
    let parent = self::zone(zone)?;
    let parsed = read("the hostname", label, Label::parse)?;
    HostNames::new(parsed, parent).map_err(|why| {
        let what = format!("the hostname {} in zone", excerpt(label));
        invalid(cannot_take(&what, zone, &why))
    })
}

fn read<T>(
    what: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, NameError>,
) -> Result<T, Refusal> {
    parse(text).map_err(|why| invalid(cannot_take(what, text, &why)))
}
