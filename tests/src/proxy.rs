//! Reverse proxies as people put them in front: nginx, haproxy, Caddy. In: the daemon's address and
//! the header that shall name the client. Out: a running proxy on a free port, with a configuration
//! of its own.

use crate::eventually::eventually;
use crate::named::{free_port, tail};
use crate::process::{Running, program};
use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A program that forwards requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends HTTP/1.0 unless configured otherwise; appends to the header's line.
    Nginx,
    /// Adds a line of its own below the client's.
    Haproxy,
    /// Drops what the client sent.
    Caddy,
}

/// A running proxy.
pub struct Proxy {
    process: Running,
    address: String,
    folder: TempDir,
}

impl Proxy {
    /// Starts it on an address of this machine, `127.0.0.1` or `[::1]`.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[track_caller]
    pub fn start(kind: Kind, listen: &str, upstream: &str, header: &str) -> Self {
        let address = format!("{listen}:{}", free_port());
        let text = match kind {
            Kind::Nginx => nginx(&address, upstream, header),
            Kind::Haproxy => haproxy(&address, upstream, header),
            Kind::Caddy => caddy(&address, upstream, header),
        };
        Self::configured(kind, address, &text)
    }

    /// Starts it with the part of its configuration that matters: a server for nginx, sites for
    /// Caddy, all but the `global` section for haproxy.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[track_caller]
    pub fn configured(kind: Kind, address: String, text: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("ddnsd-proxy-").tempdir().unwrap();
        let mut command = command(kind, folder.path(), text);
        let output = File::create(folder.path().join("output")).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let process = Running(command.spawn().expect("the proxy starts"));
        let mut proxy = Self { process, address, folder };
        eventually(Duration::from_secs(20), &format!("{kind:?} to take connections"), || {
            let ended = proxy.process.ended().map(|status| status.to_string());
            TcpStream::connect(&proxy.address)
                .map(drop)
                .map_err(|error| format!("{error}; {ended:?}; {}", proxy.output()))
        });
        proxy
    }

    /// As `127.0.0.1:34567`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The end of its output, for failures.
    pub fn output(&self) -> String {
        tail(&self.folder.path().join("output"), 15)
    }
}

/// The program with a whole configuration in the folder.
fn command(kind: Kind, folder: &Path, text: &str) -> Command {
    let config = folder.join("config");
    let text = match kind {
        Kind::Nginx => {
            let folder = folder.display();
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|part| format!("{part}_temp_path {folder}/{part};\n"))
                .concat();
            format!(
                "user root; daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;\n\
                 events {{}}\nhttp {{ access_log off;\n{temporary}{text}}}\n"
            )
        }
        Kind::Haproxy => format!("global\n  nbthread 1\n{text}"),
        Kind::Caddy => format!("{{\n  admin off\n  auto_https off\n}}\n{text}"),
    };
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(program(match kind {
        Kind::Nginx => "nginx",
        Kind::Haproxy => "haproxy",
        Kind::Caddy => "caddy",
    }));
    match kind {
        Kind::Nginx => command.args(["-e", "stderr", "-c"]).arg(config),
        Kind::Haproxy => command.args(["-db", "-f"]).arg(config),
        Kind::Caddy => {
            command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config)
        }
    };
    command
}

fn nginx(address: &str, upstream: &str, header: &str) -> String {
    let value = match header {
        "X-Real-IP" => "$remote_addr",
        "Forwarded" => r#""$http_forwarded, for=\"[$remote_addr]\"""#,
        _ => "$proxy_add_x_forwarded_for",
    };
    format!(
        "server {{ listen {address}; location / {{\n\
         proxy_pass http://{upstream}; proxy_set_header {header} {value};\n}} }}\n"
    )
}

fn haproxy(address: &str, upstream: &str, header: &str) -> String {
    let named = match header {
        "X-Forwarded-For" => "option forwardfor".to_owned(),
        "Forwarded" => "http-request add-header Forwarded for=%[src]".to_owned(),
        header => format!("http-request set-header {header} %[src]"),
    };
    format!(
        "defaults\n  mode http\n  timeout connect 10s\n  timeout client 30s\n  \
         timeout server 30s\nfrontend in\n  bind {address}\n  default_backend out\nbackend out\n  \
         {named}\n  server ddnsd {upstream}\n"
    )
}

fn caddy(address: &str, upstream: &str, header: &str) -> String {
    let named = match header {
        "X-Forwarded-For" => String::new(),
        "Forwarded" => "header_up Forwarded for={remote_host}".to_owned(),
        header => format!("header_up {header} {{remote_host}}"),
    };
    format!("http://{address} {{\n  reverse_proxy {upstream} {{\n    {named}\n  }}\n}}\n")
}
