//! In: the path of the configuration file. Out: the whole configuration. Reads the file and the
//! files it names, and reports the problems of all of them together.

#[cfg(test)]
mod tests;

use super::check::{Checked, check};
use super::diff::Values;
use super::error::{ConfigError, Location, Problem};
use super::files::{self, KeyFiles, NamedFile, NamedFiles, Privacy, ReadFile};
use super::text::shown;
use super::{
    Config, Database, DnsBackend, TsigKey, ZoneKeys, mail_template, tls, tsig_key, validity,
};
use crate::model::certificate::Certificate;
use crate::model::notice::NoticeKind;
use crate::model::secret::Secret;
use crate::template::Template;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

const MAX_CONFIG_BYTES: u64 = 1 << 20;
const MAX_KEY_BYTES: u64 = 64 << 10;
const MAX_PASSWORD_BYTES: u64 = 4 << 10;
const MAX_PEM_BYTES: u64 = 1 << 20;
const MAX_TEMPLATE_BYTES: u64 = 256 << 10;
/// Unknown variables of a template that are named.
const MAX_UNKNOWN: usize = 10;

const NO_FILE: &str =
    " (files/config.example.toml explains every key; `ddnsd --demo` needs no file)";

#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Each with file, line and key.
    pub warnings: Vec<String>,
}

/// Reads and checks a configuration file and every file it names; relative paths start at the
/// current directory. Uses no network and no database.
///
/// # Errors
/// All problems, by line.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let failed = |problems| ConfigError::new(path, problems);
    let whole = |line, what| {
        failed(vec![Problem { location: Location { line, ..Location::default() }, what }])
    };
    let source = files::read(path, MAX_CONFIG_BYTES, Privacy::Public).map_err(|what| {
        let hint = if path.exists() { "" } else { NO_FILE };
        whole(None, format!("{what}{hint}"))
    })?;
    let text =
        utf8(&source.bytes).map_err(|line| whole(Some(line), "is not UTF-8 text".to_owned()))?;
    let Checked { mut config, files, problems, warnings } =
        check(text).map_err(|problem| failed(vec![problem]))?;

    let values = std::mem::take(&mut config.values);
    let mut reader = Reader { problems, warnings, values, files: Vec::new() };
    if let Some(location) = &files.secret_inside
        && let Err(what) = source.must_be_private(path)
    {
        let what = format!("is a secret, but the file {what}");
        reader.problems.push(Problem { location: location.clone(), what });
    }
    reader.fill(&mut config, files);
    if !reader.problems.is_empty() {
        return Err(failed(reader.problems));
    }
    config.values = reader.values;
    config.files = reader.files;
    let warnings = reader.warnings.iter().map(|warning| warning.in_file(path)).collect();
    Ok(Loaded { config, warnings })
}

/// Reads the files of TSIG keys again. Returns the running configuration with what they hold now.
///
/// # Errors
/// What is wrong with them, each a sentence.
pub fn reread_keys(running: &Config) -> Result<Config, Vec<String>> {
    let mut config = running.clone();
    let values = std::mem::take(&mut config.values);
    let mut reader =
        Reader { problems: Vec::new(), warnings: Vec::new(), values, files: Vec::new() };
    let keys = reader.zone_keys(&config.key_files);
    if !reader.problems.is_empty() {
        return Err(reader.problems.into_iter().map(|problem| problem.what).collect());
    }
    if let DnsBackend::Rfc2136(dns) = &mut config.dns.backend {
        dns.keys = keys;
    }
    config.values = reader.values;
    config.files.retain(|file| !file.is_tsig_key());
    config.files.extend(reader.files);
    Ok(config)
}

/// Reads files and collects their problems and digests.
struct Reader {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    values: Values,
    files: Vec<ReadFile>,
}

impl Reader {
    /// Fills in what the files hold.
    fn fill(&mut self, config: &mut Config, files: NamedFiles) {
        if let Some((cert, key)) = files.tls {
            config.http.tls = self.tls(&cert, &key);
            let first = config.http.tls.as_ref().and_then(|certified| certified.cert.first());
            let validity = first.and_then(|certificate| validity::validity(certificate));
            let file = cert.path;
            config.http.certificate = validity.map(|validity| Certificate { file, validity });
        }
        if let DnsBackend::Rfc2136(dns) = &mut config.dns.backend {
            dns.keys = self.zone_keys(&files.keys);
            config.key_files = files.keys;
        }
        if let Database::Mariadb(mariadb) = &mut config.database
            && let Some(password) = files.database_password.and_then(|file| self.password(&file))
        {
            mariadb.password = password;
        }
        for file in files.authorities {
            self.authorities(&file);
        }
        let login = files.smtp_login;
        let login = login.and_then(|(user, file)| Some((user, self.password(&file)?)));
        let authorities = files.smtp_authorities.and_then(|file| self.authorities(&file));
        let templates = files.templates.into_iter();
        let templates = templates.map(|(kind, file)| (kind, self.template(kind, &file)));
        let templates: Vec<_> = templates.collect();
        let Some(email) = &mut config.email else { return };
        email.login = login;
        email.authorities = authorities.map(Arc::from);
        for (kind, template) in templates {
            match kind {
                NoticeKind::Change => email.change_template = template,
                NoticeKind::Expiry => email.expiry_template = template,
            }
        }
    }

    fn zone_keys(&mut self, files: &KeyFiles) -> ZoneKeys {
        let default = files.default.as_ref().and_then(|file| self.tsig_key(file));
        let zones = files.zones.iter();
        let zones = zones.filter_map(|(zone, file)| Some((zone.clone(), self.tsig_key(file)?)));
        ZoneKeys { default, zones: zones.collect() }
    }

    fn authorities(&mut self, file: &NamedFile) -> Option<Vec<CertificateDer<'static>>> {
        let pem = self.pem(file)?;
        self.accept(file, tls::certificates(&pem))
    }

    fn template(&mut self, kind: NoticeKind, file: &NamedFile) -> Option<Arc<Template>> {
        let bytes = self.bytes(file, MAX_TEMPLATE_BYTES, Privacy::Public)?;
        let text = self.text(file, &bytes)?;
        let is_empty = text.trim().is_empty();
        let what = "is empty, it must hold the text of the mail";
        self.accept(file, if is_empty { Err(what) } else { Ok(()) })?;
        let read = mail_template::read(text, kind);
        let (template, unknown) =
            read.map_err(|wrong| self.at_line(file, wrong.line, &wrong.what)).ok()?;
        for variable in unknown.iter().take(MAX_UNKNOWN) {
            let (file_name, kind) = (file.path.display(), kind.as_str());
            let variable = shown(variable);
            let what = format!("{file_name} uses {variable}, which a mail of kind {kind} has not");
            self.warnings.push(Problem { location: file.location.clone(), what });
        }
        Some(Arc::new(template))
    }

    fn tls(&mut self, cert: &NamedFile, key: &NamedFile) -> Option<Arc<CertifiedKey>> {
        let pem = self.pem(cert);
        let chain = pem.as_ref().and_then(|pem| self.accept(cert, tls::chain(pem)));
        // one file for both is read once, and a wrong mode is one problem
        let signing_key = if key.path == cert.path { pem } else { self.pem(key) };
        let signing_key = signing_key.and_then(|pem| self.accept(key, tls::signing_key(&pem)));
        self.accept(key, tls::certified(chain?, signing_key?)).map(Arc::new)
    }

    /// The bytes of a PEM file. One that holds a private key must be private, whatever key names
    /// it: the two files may be swapped. It is returned all the same, so that its other problems
    /// are found too.
    fn pem(&mut self, file: &NamedFile) -> Option<Zeroizing<Vec<u8>>> {
        let content = files::read(&file.path, MAX_PEM_BYTES, Privacy::Public);
        let content = self.accept(file, content)?;
        self.values.record_content(&file.location.key, &content.bytes);
        self.files.push(ReadFile::new(file, &content));
        if tls::holds_private_key(&content.bytes) {
            self.accept(file, content.must_be_private(&file.path));
        }
        Some(content.bytes)
    }

    fn tsig_key(&mut self, file: &NamedFile) -> Option<Arc<TsigKey>> {
        let bytes = self.bytes(file, MAX_KEY_BYTES, Privacy::Private)?;
        let key = tsig_key::parse(self.text(file, &bytes)?);
        key.map(Arc::new).map_err(|wrong| self.at_line(file, wrong.line, &wrong.what)).ok()
    }

    /// The text of the file without its final newline.
    fn password(&mut self, file: &NamedFile) -> Option<Secret> {
        let bytes = self.bytes(file, MAX_PASSWORD_BYTES, Privacy::Private)?;
        let text = self.text(file, &bytes)?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let is_one_line = match line {
            "" => Err("is empty, it must hold the password"),
            line if line.contains(['\n', '\r']) => {
                Err("has more than one line, it must hold nothing but the password")
            }
            _ => Ok(()),
        };
        self.accept(file, is_one_line)?;
        Some(Secret::new(line.to_owned()))
    }

    fn bytes(
        &mut self,
        file: &NamedFile,
        max_bytes: u64,
        privacy: Privacy,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let content = files::read(&file.path, max_bytes, privacy);
        let content = self.accept(file, content)?;
        self.values.record_content(&file.location.key, &content.bytes);
        self.files.push(ReadFile::new(file, &content));
        Some(content.bytes)
    }

    fn text<'b>(&mut self, file: &NamedFile, bytes: &'b [u8]) -> Option<&'b str> {
        utf8(bytes).map_err(|line| self.at_line(file, line, "is not UTF-8 text")).ok()
    }

    /// The value, or a problem whose sentence begins with the name of the file.
    fn accept<T>(&mut self, file: &NamedFile, result: Result<T, impl Display>) -> Option<T> {
        let problem = |what| format!("{} {what}", file.path.display());
        result.map_err(|what| self.problem(file, problem(what))).ok()
    }

    fn at_line(&mut self, file: &NamedFile, line: usize, what: &str) {
        self.problem(file, format!("{}:{line}: {what}", file.path.display()));
    }

    fn problem(&mut self, file: &NamedFile, what: String) {
        self.problems.push(Problem { location: file.location.clone(), what });
    }
}

/// The text, or the first line that is not UTF-8.
fn utf8(bytes: &[u8]) -> Result<&str, usize> {
    str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        before.split(|byte| *byte == b'\n').count()
    })
}
