//! The update protocol row by row, as bytes over real sockets, so that no client library hides a
//! difference. Behaviour that needs more than one row has a test in the file of its subject.

mod bytes;
mod credentials;
mod order;
mod parameters;
mod proxies;
mod return_codes;

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{Reply, ask, basic, lines};

const JSON: &str = "Accept: application/json";

impl Scene {
    /// The reply to a GET of `/update` by alice, with further header lines.
    #[track_caller]
    fn get(&self, query: &str, headers: &[&str]) -> Reply {
        let alice = basic("alice", PASSWORD);
        let headers = [&[alice.as_str()], headers].concat();
        ask(self.daemon.address(), lines(&format!("GET /update?{query}"), &headers, ""))
    }
}

/// A table of parameters as an endpoint has it: name of the parameter, and the names it accepts.
pub(crate) fn endpoint(path: &str, params: &[(&str, &[&str])]) -> toml::Table {
    let names = |names: &[&str]| names.iter().map(|name| toml::Value::from(*name)).collect();
    let params = params.iter().map(|(name, accepted)| {
        let accepted: Vec<toml::Value> = names(accepted);
        ((*name).to_owned(), toml::Value::from(accepted))
    });
    toml::Table::from_iter([
        ("path".to_owned(), toml::Value::from(path)),
        ("params".to_owned(), toml::Value::from(toml::Table::from_iter(params))),
    ])
}
