//! A private exim4 in a temporary folder: a real mail server with STARTTLS and a login, which
//! delivers into a maildir.

use crate::eventually::eventually;
use crate::primary::on_a_free_port;
use crate::process::{Running, program, run};
use crate::smtp::Received;
use std::fs::Permissions;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The user of its login.
pub const USER: &str = "relay";
/// The password of its login.
pub const PASSWORD: &str = "s3cret relay";

const START: Duration = Duration::from_secs(20);

/// A running exim4; killed when dropped. It takes mail only after the login. It rejects the
/// recipients `nobody@…` with 550 and `later@…` with 451.
pub struct Exim {
    folder: TempDir,
    port: u16,
    process: Option<Running>,
}

impl Exim {
    /// Whether it can be started: it changes its user.
    pub fn is_possible() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// A server with a certificate for `localhost`.
    ///
    /// # Panics
    /// When exim4 is not installed or does not start.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("ddnsd-exim-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let mut server = Self { folder, port: 0, process: None };
        server.make_files();
        let (port, process) = on_a_free_port(|port| server.launch(port));
        (server.port, server.process) = (port, Some(process));
        server
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_files(&self) {
        let (key, cert) = (self.file("key.pem"), self.file("ca.pem"));
        let mut openssl = Command::new(program("openssl"));
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-nodes", "-days", "30", "-subj", "/CN=ddnsd test mail server"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert), "").ok();
        let user = nix::unistd::User::from_name("Debian-exim").unwrap().expect("exim's user");
        let own = |path: &Path| {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        };
        for name in ["spool", "log", "mail"] {
            std::fs::create_dir(self.file(name)).unwrap();
            own(&self.file(name));
        }
        own(&key);
        own(&cert);
    }

    fn configure(&self, port: u16) {
        let folder = self.folder.path().display();
        let text = format!(
            r#"
primary_hostname = mail.test
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/log/pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = {folder}/ca.pem
tls_privatekey = {folder}/key.pem
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = rcpt
rfc1413_hosts =
hosts_treat_as_local =
host_lookup =
never_users =
begin acl
rcpt:
  deny !authenticated = *
       message = relay not permitted
  deny local_parts = nobody
       message = no such user here
  defer local_parts = later
       message = greylisted
  accept
begin routers
all:
  driver = accept
  transport = folder
begin transports
folder:
  driver = appendfile
  maildir_format
  directory = {folder}/mail
  create_directory
  user = Debian-exim
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{USER}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
"#
        );
        std::fs::write(self.file("exim.conf"), text).unwrap();
    }

    fn launch(&self, port: u16) -> Result<Running, String> {
        self.configure(port);
        let output = std::fs::File::create(self.file("output")).unwrap();
        let mut command = Command::new(program("exim4"));
        command.arg("-C").arg(self.file("exim.conf")).args(["-bdf", "-q30s"]);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut process = Running(command.spawn().expect("exim4 starts"));
        eventually(START, "exim4 to listen", || {
            if process.ended().is_some() {
                return Ok(Err(std::fs::read_to_string(self.file("output")).unwrap_or_default()));
            }
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(_) => Ok(Ok(())),
                Err(error) => Err(error.to_string()),
            }
        })?;
        Ok(process)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the CA, which is its own.
    pub fn ca_file(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again on its port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.process = Some(self.launch(self.port).expect("exim4 starts again"));
    }

    /// The delivered mails, with the recipient of the envelope.
    pub fn mails(&self) -> Vec<Received> {
        let Ok(files) = std::fs::read_dir(self.file("mail/new")) else { return Vec::new() };
        let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
        files.sort();
        let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default());
        texts.map(|text| Received { from: String::new(), to: Vec::new(), text }).collect()
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log/mainlog")).unwrap_or_default()
    }
}
