//! `[[endpoints]]`: the paths that take updates, and the names of their parameters.

use super::section::Section;
use crate::config::error::{Location, Problem};
use crate::config::text::shown;
use crate::config::{Endpoint, Params, normal_path, param_name};
use std::collections::{BTreeMap, BTreeSet};

/// Of `endpoints.params`, in the order of [`Params`].
const KEYS: [&str; 7] =
    ["hostname", "ipv4", "ipv6", "prefix6", "username", "password", "notify_change"];

/// One at least: without any in the file, the default one.
pub(super) fn read(file: &mut Section<'_>) -> Vec<Endpoint> {
    let located = file.each("endpoints", |section| {
        let path = path(section);
        let params = section.within("params", params);
        (section.location("path"), Endpoint { path, params })
    });
    let endpoints = match located {
        Some(located) => unique(file, located),
        None => vec![Endpoint { path: "/update".to_owned(), params: Params::default() }],
    };
    for Endpoint { path, params } in &endpoints {
        for (key, names) in lists(params) {
            let key = format!("endpoints.{path:?}.{key}");
            file.findings.values.record(key, names.join(", "));
        }
    }
    endpoints
}

fn unique(file: &mut Section<'_>, located: Vec<(Location, Endpoint)>) -> Vec<Endpoint> {
    let mut taken = BTreeSet::new();
    let mut endpoints = Vec::new();
    for (location, endpoint) in located {
        let is_new = taken.insert(endpoint.path.clone());
        if !is_new && !endpoint.path.is_empty() {
            file.findings.problems.push(repeated(location, &endpoint.path));
        }
        endpoints.push(endpoint);
    }
    endpoints
}

fn repeated(location: Location, path: &str) -> Problem {
    let what = format!("must be unique, {} is another endpoint's too", shown(path));
    Problem { location, what }
}

fn path(section: &mut Section<'_>) -> String {
    let path = section.required("path", Some("in every [[endpoints]]"));
    let is_legal = path.starts_with('/') && !path.contains(['?', '#', ' ']);
    if is_legal {
        return normal_path(&path);
    }
    if !path.is_empty() {
        let got = shown(&path);
        section.problem("path", format!(r#"must be a path like "/nic/update", got {got}"#));
    }
    String::new()
}

fn params(section: &mut Section<'_>) -> Params {
    let Params { hostname, ipv4, ipv6, prefix6, username, password, notify_change } =
        Params::default();
    let params = Params {
        hostname: section.list("hostname", hostname, param),
        ipv4: section.list("ipv4", ipv4, param),
        ipv6: section.list("ipv6", ipv6, param),
        prefix6: section.list("prefix6", prefix6, param),
        username: section.list("username", username, param),
        password: section.list("password", password, param),
        notify_change: section.list("notify_change", notify_change, param),
    };
    let params = without_defaults_given_elsewhere(section, params);
    for (key, name, other) in shared(&params) {
        let what = format!("has the name {}, which `{other}` has too", shown(name));
        section.problem(key, what);
    }
    params
}

/// A name that the file gives to one parameter is no default name of another.
fn without_defaults_given_elsewhere(section: &Section<'_>, mut params: Params) -> Params {
    let given = lists(&params).filter(|(key, _)| section.is_given(key));
    let given: Vec<String> = given.flat_map(|(_, names)| names.iter().cloned()).collect();
    let Params { hostname, ipv4, ipv6, prefix6, username, password, notify_change } = &mut params;
    let all = [hostname, ipv4, ipv6, prefix6, username, password, notify_change];
    for (key, names) in KEYS.into_iter().zip(all) {
        if !section.is_given(key) {
            names.retain(|name| {
                !given.iter().any(|given| param_name(given).eq_ignore_ascii_case(name))
            });
        }
    }
    params
}

fn param(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("must not hold an empty name".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Names that two parameters share: the later key, the name, the earlier key. `ipv4` and `ipv6` may
/// share a name, because each takes both families.
fn shared(params: &Params) -> Vec<(&'static str, &str, &'static str)> {
    let mut owners = BTreeMap::new();
    let mut shared = Vec::new();
    for (key, names) in lists(params) {
        for name in names {
            let owner = *owners.entry(name.to_ascii_lowercase()).or_insert(key);
            if owner != key && (owner, key) != ("ipv4", "ipv6") {
                shared.push((key, name.as_str(), owner));
            }
        }
    }
    shared
}

fn lists(params: &Params) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
    let Params { hostname, ipv4, ipv6, prefix6, username, password, notify_change } = params;
    KEYS.into_iter().zip([hostname, ipv4, ipv6, prefix6, username, password, notify_change])
}
