//! Host names into both of their forms.

use super::bounds::cut;
use crate::model::name::Fqdn;
use ddnsd_proto::status::{Failed, HostName};

pub(super) fn host_name(fqdn: &Fqdn) -> HostName {
    HostName { fqdn: fqdn.as_str().to_owned(), unicode: fqdn.to_unicode() }
}

pub(super) fn failed((fqdn, reason): (Fqdn, String)) -> Failed {
    let HostName { fqdn, unicode } = host_name(&fqdn);
    Failed { fqdn, unicode, reason: cut(reason) }
}
