//! The URL of the server, as clients reach it.

use std::fmt;

/// Where clients send updates: scheme, host, perhaps a port, and the path of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    is_tls: bool,
    /// Host and port.
    server: String,
    path: String,
}

/// The path of the endpoint if none is configured.
const DEFAULT_PATH: &str = "/update";
/// Of a host name, RFC 1035.
const MAX_HOST: usize = 253;
const MAX_PATH: usize = 200;

impl ServerUrl {
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let scheme_and_rest = text.split_once("://");
        let (scheme, rest) = scheme_and_rest
            .ok_or("must begin with https:// or http://, like https://ddns.example.com/update")?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("the scheme must be https or http".to_owned()),
        };
        if rest.contains(['?', '#']) {
            return Err("must end with the path: the parameters are added".to_owned());
        }
        let (server, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if server.contains('@') {
            return Err("must hold no user and no password: each client sends its own".to_owned());
        }
        Ok(Self { is_tls, server: checked_server(server)?, path: checked_path(path)? })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    /// Host and port.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.server, self.path)
    }
}

fn checked_server(server: &str) -> Result<String, String> {
    // the colons of an IPv6 address stand in brackets
    let with_port = server.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let (host, port) = with_port.map_or((server, None), |(host, port)| (host, Some(port)));
    if let Some(port) = port {
        let number = port.parse::<u16>().ok().filter(|number| *number > 0);
        number.ok_or_else(|| "the port must be 1 to 65535".to_owned())?;
    }
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = if let Some(address) = address {
        address.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        !host.is_empty() && host.len() <= MAX_HOST && host.chars().all(is_legal)
    };
    if is_host {
        Ok(server.to_ascii_lowercase())
    } else {
        Err("its host must be a name in ASCII or an address (IPv6 in brackets)".to_owned())
    }
}

/// Only characters that need no escape in any client's file.
fn checked_path(path: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
    if path.len() > MAX_PATH || !path.chars().all(is_plain) {
        return Err("its path may hold letters, digits and / - _ . ~ only".to_owned());
    }
    let path = path.trim_end_matches('/');
    Ok(if path.is_empty() { DEFAULT_PATH.to_owned() } else { path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_means_the_default_endpoint() {
        for (given, meant) in [
            ("https://ddns.example.com", "https://ddns.example.com/update"),
            ("HTTPS://DDNS.example.com:8443/", "https://ddns.example.com:8443/update"),
            ("http://[2001:DB8::1]:80/nic/update/", "http://[2001:db8::1]:80/nic/update"),
            ("http://[::1]/a", "http://[::1]/a"),
            ("http://192.0.2.1/a/b", "http://192.0.2.1/a/b"),
        ] {
            assert_eq!(ServerUrl::parse(given).map(|url| url.to_string()), Ok(meant.to_owned()));
        }
    }

    #[test]
    fn what_no_client_could_use_is_refused_with_its_reason() {
        for (given, reason) in [
            ("ddns.example.com/update", "must begin with https://"),
            ("ftp://ddns.example.com", "scheme"),
            ("https://alice:secret@ddns.example.com", "no user and no password"),
            ("https://ddns.example.com/update?hostname=x", "parameters"),
            ("https://ddns.example.com/#x", "parameters"),
            ("https://", "host"),
            ("https://:443", "host"),
            ("https://a b/", "host"),
            ("https://bücher.example", "host"),
            ("https://[::1", "host"),
            ("https://2001:db8::1/", "host"),
            ("https://x.example:0/", "port"),
            ("https://x.example:65536/", "port"),
            ("https://x.example:/", "port"),
            ("https://x.example/$(id)", "path"),
            ("https://x.example/'", "path"),
            ("https://x.example/a b", "path"),
        ] {
            let refused = ServerUrl::parse(given).unwrap_err();
            assert!(refused.contains(reason), "{given}: {refused}");
        }
    }
}
