//! Real update clients. In: the daemon, hosts and an address. Out: exit code and output.

use crate::daemon::Daemon;
use crate::named::write_private;
use crate::process::{Finished, Running, program, run};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The path that every client uses.
pub const PATH: &str = "/nic/update";

/// Where clients send their updates, with which login, and a folder for their files.
pub struct Clients {
    server: String,
    ca: Option<PathBuf>,
    user: String,
    password: String,
    folder: TempDir,
}

impl Clients {
    /// Clients of this daemon. With the certificate of an authority they use TLS and trust only
    /// that.
    pub fn of(daemon: &Daemon, ca: Option<&Path>, user: &str, password: &str) -> Self {
        Self {
            server: daemon.address().to_owned(),
            ca: ca.map(Path::to_owned),
            user: user.to_owned(),
            password: password.to_owned(),
            folder: tempfile::Builder::new().prefix("ddnsd-clients-").tempdir().unwrap(),
        }
    }

    /// The same with another password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    /// Runs `ddclient` once, with the cache file of this name.
    #[track_caller]
    pub fn ddclient(&self, hosts: &[&str], address: &str, cache: &str) -> Finished {
        self.ddclient_at(PATH, hosts, address, cache)
    }

    /// As [`Self::ddclient`], with another path, perhaps with parameters of the user's own.
    #[track_caller]
    pub fn ddclient_at(
        &self,
        script: &str,
        hosts: &[&str],
        address: &str,
        cache: &str,
    ) -> Finished {
        let mut lines = format!(
            "script={script}\nsyslog=no\nuse=ip, ip={address}\nprotocol=dyndns2\nserver={}\nlogin={}\npassword={}\n",
            self.server, self.user, self.password
        );
        match &self.ca {
            Some(ca) => lines.push_str(&format!("ssl=yes\nssl_ca_file={}\n", ca.display())),
            None => lines.push_str("ssl=no\n"),
        }
        lines.push_str(&hosts.join(","));
        let config = self.file("ddclient.conf");
        write_private(&config, &(lines + "\n"));
        let mut ddclient = Command::new(program("ddclient"));
        ddclient.arg("-file").arg(config).arg("-cache").arg(self.file(cache));
        run(ddclient.args(["-noquiet", "-verbose"]), "")
    }

    /// Runs `inadyn` once, without a cache. It sends one request for each host.
    #[track_caller]
    pub fn inadyn(&self, hosts: &[&str], addresses: &[&str]) -> Finished {
        let mut inadyn = self.inadyn_command(hosts, addresses);
        let finished = run(inadyn.arg("-1"), "");
        let _ = std::fs::remove_dir_all(self.file("inadyn-cache"));
        finished
    }

    /// Starts `inadyn` as a router runs it; returns the file with its output too.
    #[track_caller]
    pub fn inadyn_daemon(&self, hosts: &[&str], address: &str) -> (Running, PathBuf) {
        let output = self.file("inadyn-output");
        let file = File::create(&output).unwrap();
        let mut inadyn = self.inadyn_command(hosts, &[address]);
        inadyn.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        (Running(inadyn.spawn().expect("inadyn starts")), output)
    }

    fn inadyn_command(&self, hosts: &[&str], addresses: &[&str]) -> Command {
        let mut lines = "verify-address = false\nallow-ipv6 = true\n".to_owned();
        if let Some(ca) = &self.ca {
            lines.push_str(&format!("ca-trust-file = \"{}\"\n", ca.display()));
        }
        let hosts: Vec<_> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
        for (number, address) in addresses.iter().enumerate() {
            lines.push_str(&format!(
                r#"custom provider{number} {{
    username = "{}"
    password = "{}"
    checkip-command = "/bin/echo {address}"
    ssl = {}
    ddns-server = "{}"
    ddns-path = "{PATH}?hostname=%h&myip=%i"
    hostname = {{ {} }}
}}
"#,
                self.user,
                self.password,
                self.ca.is_some(),
                self.server,
                hosts.join(", ")
            ));
        }
        let config = self.file("inadyn.conf");
        write_private(&config, &lines);
        let cache = self.file("inadyn-cache");
        std::fs::create_dir_all(&cache).unwrap();
        let mut inadyn = Command::new(program("inadyn"));
        inadyn.args(["--foreground", "--no-pidfile", "-l", "debug"]);
        inadyn.arg(format!("--cache-dir={}", cache.display())).arg("-f").arg(config);
        inadyn
    }

    /// `curl`, which sends credentials at once; `query` as `hostname=…&myip=…`.
    #[track_caller]
    pub fn curl(&self, query: &str, arguments: &[&str]) -> Finished {
        let mut curl = Command::new(program("curl"));
        curl.args(["-q", "-sS", "-g", "--noproxy", "*", "--max-time", "30"]).args(arguments);
        if let Some(ca) = &self.ca {
            curl.arg("--cacert").arg(ca);
        }
        curl.arg("-u").arg(format!("{}:{}", self.user, self.password));
        run(curl.arg(self.url(query)), "")
    }

    /// `wget`, which sends a request without credentials first.
    #[track_caller]
    pub fn wget(&self, query: &str) -> Finished {
        let mut wget = Command::new(program("wget"));
        wget.args(["--no-config", "--no-proxy", "--no-hsts", "-nv", "-O", "-", "--tries=1"]);
        if let Some(ca) = &self.ca {
            wget.arg("--ca-certificate").arg(ca);
        }
        wget.arg(format!("--user={}", self.user)).arg(format!("--password={}", self.password));
        run(wget.arg(self.url(query)), "")
    }

    /// Python's urllib, which sends a request without credentials first. It prints the status, a
    /// space and the body.
    #[track_caller]
    pub fn urllib(&self, query: &str) -> Finished {
        let ca = self.ca.as_ref().map(|ca| ca.display().to_string()).unwrap_or_default();
        let arguments = [self.url(query), self.user.clone(), self.password.clone(), ca];
        run(Command::new(program("python3")).args(["-c", URLLIB]).args(arguments), "")
    }

    fn url(&self, query: &str) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{PATH}?{query}", self.server)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

const URLLIB: &str = r#"
import ssl, sys, urllib.error, urllib.request as r
url, user, password, ca = sys.argv[1:]
known = r.HTTPPasswordMgrWithDefaultRealm()
known.add_password(None, url, user, password)
handlers = [r.ProxyHandler({}), r.HTTPBasicAuthHandler(known)]
if ca:
    handlers.append(r.HTTPSHandler(context=ssl.create_default_context(cafile=ca)))
try:
    reply = r.build_opener(*handlers).open(url, timeout=30)
except urllib.error.HTTPError as error:
    reply = error
print(reply.status, reply.read().decode(), end="")
"#;
