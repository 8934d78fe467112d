//! What `ddnsctl hostname setup` prints, run by the real clients against a real daemon. Only the
//! password, and where a client learns its address, are replaced.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::named::{ZONE, write_private};
use ddnsd_tests::process::{Finished, program, run};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Two users: one with characters that every file format treats in its own way.
const USERS: [(&str, &str); 2] = [("alice", "pc"), ("o'x \"$y\" \\ü", "odd")];

struct Desk {
    scene: Scene,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let scene = Scene::new();
        let (odd, label) = USERS[1];
        let user = ["user", "add", odd, "odd@example.org", "--password-stdin"];
        scene.ctl().run_with_input(&user, PASSWORD).ok();
        scene.ctl().add_host(odd, label, ZONE, &[]);
        Self { scene, folder: tempfile::tempdir().unwrap() }
    }

    /// The text for a client, with the password in it.
    #[track_caller]
    fn text(&self, client: &str, label: &str) -> String {
        let url = self.scene.daemon.url();
        let arguments = ["hostname", "setup", label, ZONE, "--client", client, "--url", url];
        let snippet = self.scene.ctl().json(&arguments);
        let text = snippet["text"].as_str().unwrap();
        assert!(text.contains("YOUR_PASSWORD"), "{text}");
        text.replace("YOUR_PASSWORD", PASSWORD)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        write_private(&path, text);
        path
    }

    /// Runs a text as a shell script whose home is the folder.
    #[track_caller]
    fn shell(&self, script: &str) -> Finished {
        let mut shell = Command::new("sh");
        shell.args(["-eu", "-c", script]).current_dir(self.folder.path());
        shell.env("HOME", self.folder.path()).env("no_proxy", "*");
        run(&mut shell, "")
    }
}

#[test]
fn the_commands_for_curl_and_wget_publish_the_address_of_the_connection() {
    let desk = Desk::new();
    for (_, label) in USERS {
        let curl = desk.shell(&desk.text("curl", label)).ok();
        assert_eq!(curl.stdout, "good 127.0.0.1\n");
        assert_eq!(desk.scene.a(label), ["127.0.0.1"]);
        let wget = desk.shell(&desk.text("wget", label)).ok();
        assert_eq!(wget.stdout, "nochg 127.0.0.1\n");
    }
    for name in [".ddns.curlrc", ".ddns.wgetrc"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(desk.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name} holds a password");
    }
}

#[test]
fn the_file_for_ddclient_updates_the_host() {
    let desk = Desk::new();
    for (number, (_, label)) in (1..).zip(USERS) {
        let address = format!("192.0.2.{number}");
        let text = desk.text("ddclient", label);
        let once = text.replace("daemon=600\n", "syslog=no\n");
        let config =
            once.replace("usev4=webv4, webv4=ipify-ipv4", &format!("use=ip, ip={address}"));
        assert!(config.contains(&address) && !config.contains("daemon="), "{text}");
        let config = desk.file("ddclient.conf", &config);
        let mut ddclient = Command::new(program("ddclient"));
        ddclient.arg("-file").arg(config).arg("-cache").arg(desk.folder.path().join(label));
        let ran = run(ddclient.args(["-noquiet", "-verbose"]), "").ok().prints(&["SUCCESS"]);
        assert!(!ran.output().contains("WARNING"), "{ran}");
        assert_eq!(desk.scene.a(label), [address]);
    }
}

#[test]
fn the_file_for_inadyn_updates_the_host() {
    let desk = Desk::new();
    for (number, (_, label)) in (1..).zip(USERS) {
        let address = format!("192.0.2.{number}");
        let own = format!("checkip-command = \"/bin/echo {address}\"\n    username");
        let config = desk.text("inadyn", label).replace("username", &own);
        let config = desk.file("inadyn.conf", &format!("verify-address = false\n{config}"));
        let cache = desk.folder.path().join(label);
        std::fs::create_dir(&cache).unwrap();
        let mut inadyn = Command::new(program("inadyn"));
        inadyn.args(["-1", "--foreground", "--no-pidfile", "-l", "debug"]).arg("-f").arg(config);
        run(inadyn.arg(format!("--cache-dir={}", cache.display())), "").ok();
        assert_eq!(desk.scene.a(label), [address]);
    }
}

/// How ddns-scripts read a section and build the URL (`dynamic_dns_updater.sh` and
/// `dynamic_dns_functions.sh`), with wget as the transfer program. A UCI file is valid shell text
/// once `config` and `option` are functions.
const DDNS_SCRIPTS: &str = r#"
config() { section=$2; }
option() { [ "$section" != "$WANTED" ] || eval "$1=\$2"; }
. ./ddns
urlencode() { printf '%s' "$1" | od -An -v -tx1 | tr -d '\n' | sed 's/ /%/g'; }
URL_USER=$(urlencode "$username")
URL_PASS=$(urlencode "$password")
URL=$(echo "$update_url" | sed -e "s#\[USERNAME\]#$URL_USER#g" -e "s#\[PASSWORD\]#$URL_PASS#g" \
    -e "s#\[DOMAIN\]#$domain#g" -e "s#\[IP\]#$IP#g")
[ "$use_https" -eq 0 ] || URL=$(echo "$URL" | sed -e 's#^http:#https:#')
wget --no-hsts -nv -t 1 -O answer -o errors "$URL"
cat answer
"#;

#[test]
fn the_sections_for_openwrt_update_one_family_each() {
    let desk = Desk::new();
    for (_, label) in USERS {
        desk.file("ddns", &desk.text("openwrt", label));
        for (section, ip) in [("ddnsd_ipv4", "192.0.2.1"), ("ddnsd_ipv6", "2001:db8::1")] {
            let ran = desk.shell(&format!("WANTED={section} IP={ip}\n{DDNS_SCRIPTS}")).ok();
            assert_eq!(ran.stdout, format!("good {ip}\n"));
        }
        assert_eq!(
            (desk.scene.a(label), desk.scene.aaaa(label)),
            (vec!["192.0.2.1".to_owned()], vec!["2001:db8::1".to_owned()])
        );
    }
}

#[test]
fn the_units_for_a_systemd_timer_are_valid_and_their_command_updates_the_host() {
    let desk = Desk::new();
    for (_, label) in USERS {
        let folder = desk.folder.path().display().to_string();
        let commands =
            desk.text("systemd-timer", label).replace("/etc/", &format!("{folder}/etc/"));
        let script = format!(
            "systemctl() {{ echo \"systemctl $*\"; }}\nmkdir -p etc/systemd/system\n{commands}"
        );
        let ran = desk.shell(&script).ok();
        let enabled = "systemctl daemon-reload\nsystemctl enable --now ddns-update.timer\n";
        assert_eq!(ran.stdout, enabled);
        let verified = desk.shell(
            "cd etc/systemd/system && systemd-analyze verify ./ddns-update.service ./ddns-update.timer",
        );
        assert_eq!(verified.ok().output(), "");
        let command = "export CREDENTIALS_DIRECTORY=$PWD/credentials
            mkdir -p credentials && cp etc/ddns-update.curlrc credentials/curlrc
            eval \"$(sed -n 's/^ExecStart=//p' etc/systemd/system/ddns-update.service)\"";
        let updated = desk.shell(command).ok().stdout;
        assert_eq!(updated, "good 127.0.0.1\n");
        assert_eq!(desk.scene.a(label), ["127.0.0.1"]);
    }
}

#[test]
fn the_command_in_the_compose_file_updates_the_host() {
    let desk = Desk::new();
    for (_, label) in USERS {
        desk.file("compose.yaml", &desk.text("docker", label));
        // what Compose makes of the file: variables are not used, and `$$` is `$`
        let script = r#"
import subprocess, yaml
service = yaml.safe_load(open("compose.yaml"))["services"]["ddns-update"]
plain = lambda text: text.replace("$$", "$")
command = plain(service["command"][0]).replace("sleep 600", "exit")
environment = {name: plain(value) for name, value in service["environment"].items()}
subprocess.run(service["entrypoint"] + [command], env=environment | {"PATH": "/usr/bin:/bin"}, check=True)
"#;
        let mut python = Command::new(program("python3"));
        python.args(["-c", script]).current_dir(desk.folder.path());
        assert_eq!(run(&mut python, "").ok().stdout, "good 127.0.0.1\n");
    }
}
