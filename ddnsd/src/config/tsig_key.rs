//! In: the text of a BIND key file, as `tsig-keygen` writes it. Out: the TSIG key (RFC 8945), or a
//! problem with its line. Pure. No message holds any part of the secret.

use crate::model::secret::SecretBytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A TSIG key (RFC 8945) as a BIND key file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsigKey {
    /// Lower case, no trailing dot; a DNS name, not necessarily a host name.
    pub name: String,
    pub algorithm: TsigAlgorithm,
    pub secret: SecretBytes,
}

/// RFC 8945, 6: the HMACs in use; MD5 is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProblem {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong and what was expected.
    pub what: String,
}

/// Reads the one `key "name" { algorithm hmac-sha256; secret "base64"; };` of a key file, with
/// BIND's comments, quoting and white space.
///
/// # Errors
/// The first problem.
pub fn parse(text: &str) -> Result<TsigKey, KeyProblem> {
    let mut tokens = Tokens { rest: text, line: 1 };
    let start = tokens.expect_word("key").map_err(|problem| in_another_form(text, problem))?;
    let (line, name) = tokens.word("the key's name")?;
    let name = key_name(name).map_err(|what| KeyProblem { line, what })?;
    tokens.expect_mark('{')?;
    let mut algorithm = None;
    let mut secret = None;
    loop {
        let what = "`algorithm`, `secret` or `}`";
        let (line, clause) = match tokens.next()? {
            Some((_, Token::Mark('}'))) => break,
            Some((line, Token::Word(clause))) => (line, clause.to_ascii_lowercase()),
            other => return Err(tokens.unexpected(what, other.as_ref())),
        };
        let is_repeated = match clause.as_str() {
            "algorithm" => algorithm.replace(tokens.value(&clause, algorithm_of)?).is_some(),
            "secret" => secret.replace(tokens.value(&clause, secret_of)?).is_some(),
            _ => return Err(problem(line, format!("expected {what}"))),
        };
        if is_repeated {
            return Err(problem(line, format!("a second `{clause}` in one key")));
        }
    }
    tokens.expect_mark(';')?;
    if let Some((line, _)) = tokens.next()? {
        return Err(problem(
            line,
            "text after the key: the file must hold one key and nothing else",
        ));
    }
    let missing = |clause| problem(start, format!("the key has no `{clause}`"));
    let algorithm = algorithm.ok_or_else(|| missing("algorithm"))?;
    let secret = secret.ok_or_else(|| missing("secret"))?;
    Ok(TsigKey { name, algorithm, secret })
}

/// The file as another tool writes it, if it is recognised.
fn in_another_form(text: &str, otherwise: KeyProblem) -> KeyProblem {
    let starts = |start| text.trim_start().starts_with(start);
    let has_line = |is: fn(&str) -> bool| text.lines().any(|line| is(line.trim()));
    let words = || text.split_whitespace();
    let form = if starts("Private-key-format:") {
        "the private key of dnssec-keygen; its `Key:` line is the secret"
    } else if has_line(|line| line.contains(" IN KEY ")) {
        "the public part of a key of dnssec-keygen"
    } else if has_line(|line| line == "key:") || starts("- id:") {
        "a key in Knot's form, as `keymgr -t` writes it"
    } else if has_line(|line| line.starts_with("dns_rfc2136_")) {
        "a file of credentials for certbot's dns-rfc2136"
    } else if starts("-----BEGIN ") {
        "a certificate or a private key in PEM, not a TSIG key"
    } else if starts("hmac-") && words().count() == 1 {
        "a key as `dig -y` takes it, ALGORITHM:NAME:SECRET"
    } else if words().count() == 1 && secret_of(text).is_ok() {
        "the bare secret"
    } else {
        return otherwise;
    };
    let wanted = r#"wanted: key "NAME" { algorithm hmac-sha256; secret "BASE64"; };"#;
    let what = format!("this is {form}; {wanted}, as `tsig-keygen NAME` writes it");
    KeyProblem { line: otherwise.line, what }
}

fn problem(line: usize, what: impl Into<String>) -> KeyProblem {
    KeyProblem { line, what: what.into() }
}

//----- The three values -----

/// A DNS name (RFC 1035, 3.1) in lower case; underscores are allowed, because it is not a host
/// name.
fn key_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        let is_legal = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(is_legal)
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(name);
    }
    let rule = "letters, digits, `-` and `_`, 63 to a label, 253 in all";
    Err(format!("the key's name is not a DNS name ({rule})"))
}

fn algorithm_of(text: &str) -> Result<TsigAlgorithm, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    match name.as_str() {
        "hmac-sha1" => Ok(TsigAlgorithm::Sha1),
        "hmac-sha224" => Ok(TsigAlgorithm::Sha224),
        "hmac-sha256" => Ok(TsigAlgorithm::Sha256),
        "hmac-sha384" => Ok(TsigAlgorithm::Sha384),
        "hmac-sha512" => Ok(TsigAlgorithm::Sha512),
        // RFC 8945, 6 forbids it; RFC 6151 gives the reason
        md5 if md5.starts_with("hmac-md5") => {
            Err("hmac-md5 is not supported, because MD5 is broken; use hmac-sha256".to_owned())
        }
        cut if cut.rsplit_once('-').is_some_and(|(full, _)| algorithm_of(full).is_ok()) => {
            Err("truncated MACs are not supported; omit the number of bits, as in hmac-sha256"
                .to_owned())
        }
        _ => {
            let known = "hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512";
            Err(format!("unknown algorithm, must be one of {known}"))
        }
    }
}

fn secret_of(text: &str) -> Result<SecretBytes, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    match STANDARD.decode(Zeroizing::new(digits).as_slice()) {
        Ok(bytes) if bytes.is_empty() => Err("the secret is empty".to_owned()),
        Ok(bytes) => Ok(SecretBytes::new(bytes)),
        Err(_) => Err("the secret is not valid base64".to_owned()),
    }
}

//----- BIND's tokens -----

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    /// A bare or quoted string.
    Word(&'t str),
    /// `{`, `}` or `;`.
    Mark(char),
}

type TokenAt<'t> = (usize, Token<'t>);

struct Tokens<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Tokens<'t> {
    /// The next token and its line; `None` at the end.
    fn next(&mut self) -> Result<Option<TokenAt<'t>>, KeyProblem> {
        self.skip_blank()?;
        let line = self.line;
        let Some(first) = self.rest.chars().next() else {
            return Ok(None);
        };
        let token = match first {
            '{' | '}' | ';' => {
                self.advance(1);
                Token::Mark(first)
            }
            '"' => {
                self.advance(1);
                // as in BIND, a text may go on over the next lines
                let end = self.rest.find('"');
                let end = end.ok_or_else(|| problem(line, "a quote is not closed"))?;
                let word = self.advance(end);
                self.advance(1);
                Token::Word(word)
            }
            _ => {
                let ends = |(at, c): (usize, char)| {
                    let is_end = c.is_whitespace() || "{};\"".contains(c);
                    (is_end || comment(self.rest.get(at..)?).is_some()).then_some(at)
                };
                let end = self.rest.char_indices().find_map(ends);
                Token::Word(self.advance(end.unwrap_or(self.rest.len())))
            }
        };
        Ok(Some((line, token)))
    }

    /// White space, and the comments of C, C++ and the shell.
    fn skip_blank(&mut self) -> Result<(), KeyProblem> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            let Some(end_mark) = comment(self.rest) else {
                return Ok(());
            };
            match self.rest.find(end_mark) {
                Some(end) => self.advance(end + end_mark.len()),
                None if end_mark == "\n" => self.advance(self.rest.len()),
                None => return Err(problem(self.line, "a comment is not closed")),
            };
        }
    }

    /// Skips that many bytes and counts their lines.
    fn advance(&mut self, bytes: usize) -> &'t str {
        let (passed, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += passed.matches('\n').count();
        self.rest = rest;
        passed
    }

    fn word(&mut self, what: &str) -> Result<(usize, &'t str), KeyProblem> {
        match self.next()? {
            Some((line, Token::Word(word))) => Ok((line, word)),
            other => Err(self.unexpected(what, other.as_ref())),
        }
    }

    /// The value of a clause, with the semicolon after it.
    fn value<T>(
        &mut self,
        clause: &str,
        of: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, KeyProblem> {
        let (line, word) = self.word(&format!("the value of `{clause}`"))?;
        let value = of(word).map_err(|what| problem(line, what))?;
        self.expect_mark(';')?;
        Ok(value)
    }

    fn expect_word(&mut self, wanted: &str) -> Result<usize, KeyProblem> {
        match self.next()? {
            Some((line, Token::Word(word))) if word.eq_ignore_ascii_case(wanted) => Ok(line),
            other => Err(self.unexpected(&format!("`{wanted}`"), other.as_ref())),
        }
    }

    fn expect_mark(&mut self, mark: char) -> Result<(), KeyProblem> {
        match self.next()? {
            Some((_, Token::Mark(found))) if found == mark => Ok(()),
            other => Err(self.unexpected(&format!("`{mark}`"), other.as_ref())),
        }
    }

    /// Does not quote a word: in a broken file any of them may be the secret.
    fn unexpected(&self, wanted: &str, found: Option<&TokenAt<'_>>) -> KeyProblem {
        match found {
            None => problem(self.line, format!("expected {wanted}, but the file ends")),
            Some((line, Token::Mark(mark))) => {
                problem(*line, format!("expected {wanted}, got `{mark}`"))
            }
            Some((line, Token::Word(_))) => problem(*line, format!("expected {wanted}")),
        }
    }
}

/// The end mark of the comment that begins here.
fn comment(text: &str) -> Option<&'static str> {
    match text.as_bytes() {
        [b'/', b'*', ..] => Some("*/"),
        [b'/', b'/', ..] | [b'#', ..] => Some("\n"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0cw==";

    fn refused(text: &str) -> String {
        let KeyProblem { line, what } = parse(text).unwrap_err();
        format!("{line}: {what}")
    }

    #[test]
    fn a_file_of_tsig_keygen_is_read() {
        let text = format!(
            "key \"DDNS_Key.Example.\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{SECRET}\";\n}};\n"
        );
        let key = parse(&text).unwrap();
        assert_eq!(key.name, "ddns_key.example");
        assert_eq!(key.algorithm, TsigAlgorithm::Sha256);
        assert_eq!(key.secret.expose(), b"secret of the tests");
    }

    #[test]
    fn comments_quotes_case_order_and_white_space_are_free() {
        let plain = format!("key k {{ algorithm hmac-sha512; secret {SECRET}; }};");
        let key = parse(&plain).unwrap();
        for text in [
            format!("key k{{secret {SECRET};algorithm hmac-sha512;}};"),
            format!("KEY \"K.\" {{ Secret \"{SECRET}\"; Algorithm \"HMAC-SHA512.\"; }} ;"),
            format!(
                "# one\n// two\n/* three\n}} */ key/**/k#\n\r\n{{algorithm hmac-sha512//;\n;\
                 secret\t{SECRET};}};# end"
            ),
            "key k { algorithm hmac-sha512; secret \"c2VjcmV0IG9m\n\tIHRoZSB0ZXN0cw==\"; };"
                .to_owned(),
        ] {
            assert_eq!(parse(&text).as_ref(), Ok(&key), "{text}");
        }
    }

    #[test]
    fn every_sha_is_known() {
        for (word, algorithm) in [
            ("hmac-sha1", TsigAlgorithm::Sha1),
            ("hmac-sha224", TsigAlgorithm::Sha224),
            ("hmac-sha256", TsigAlgorithm::Sha256),
            ("hmac-sha384", TsigAlgorithm::Sha384),
            ("HMAC-SHA512.", TsigAlgorithm::Sha512),
        ] {
            let text = format!("key k {{ algorithm {word}; secret {SECRET}; }};");
            assert_eq!(parse(&text).unwrap().algorithm, algorithm);
        }
    }

    #[test]
    fn a_weak_truncated_or_unknown_algorithm_is_refused_with_the_reason() {
        let md5 = "2: hmac-md5 is not supported, because MD5 is broken; use hmac-sha256";
        let cut = "2: truncated MACs are not supported; omit the number of bits, as in hmac-sha256";
        let unknown = "2: unknown algorithm, must be one of hmac-sha1, hmac-sha224, hmac-sha256, \
                       hmac-sha384, hmac-sha512";
        for (word, why) in [
            ("hmac-md5", md5),
            ("HMAC-MD5.SIG-ALG.REG.INT.", md5),
            ("hmac-sha256-128", cut),
            ("hmac-sha1-80", cut),
            ("sha256", unknown),
            ("hmac-sha3-256", unknown),
            ("gss-tsig", unknown),
            ("\"\"", unknown),
        ] {
            let text = format!("key k {{\nalgorithm {word};\nsecret {SECRET}; }};");
            assert_eq!(refused(&text), why, "{word}");
        }
    }

    #[test]
    fn the_form_of_another_tool_is_named_with_what_is_wanted() {
        let wanted = "; wanted: key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; };, \
                      as `tsig-keygen NAME` writes it";
        for (text, form) in [
            (&*format!("hmac-sha256:ddns-key:{SECRET}\n"), "a key as `dig -y` takes it"),
            ("Private-key-format: v1.3\nAlgorithm: 163 (HMAC_SHA256)\n", "the private key of"),
            ("ddns-key. IN KEY 512 3 163 c2VjcmV0\n", "the public part of a key of dnssec-keygen"),
            ("# hmac-sha256:k:c2Vj\nkey:\n- id: k\n  algorithm: hmac-sha256\n", "a key in Knot's"),
            (
                "dns_rfc2136_server = 192.0.2.1\ndns_rfc2136_secret = c2Vj\n",
                "a file of credentials",
            ),
            ("-----BEGIN PRIVATE KEY-----\nc2Vj\n-----END PRIVATE KEY-----\n", "a certificate or"),
            (SECRET, "the bare secret"),
        ] {
            let why = refused(text);
            let starts = format!(": this is {form}");
            assert!(why.contains(&starts) && why.ends_with(wanted), "{text:?}: {why}");
            assert!(!why.contains("c2Vj"), "it quotes the secret: {why}");
        }
    }

    #[test]
    fn each_syntax_error_is_named_with_its_line() {
        let name = "1: the key's name is not a DNS name (letters, digits, `-` and `_`, 63 to a label, \
                    253 in all)";
        let long = format!("key {} {{", "a".repeat(64));
        let too_long = format!("key {}a {{", "abcdefg.".repeat(32));
        for (text, why) in [
            ("", "1: expected `key`, but the file ends"),
            ("\n\n# nothing\n", "4: expected `key`, but the file ends"),
            ("options { };", "1: expected `key`"),
            ("{", "1: expected `key`, got `{`"),
            ("key {", "1: expected the key's name, got `{`"),
            ("key \"a b\" {", name),
            ("key \"\" {", name),
            ("key a..b {", name),
            ("key ü {", name),
            (&long, name),
            (&too_long, name),
            ("key k\nsecret", "2: expected `{`"),
            ("key k {", "1: expected `algorithm`, `secret` or `}`, but the file ends"),
            ("key k {\n};", "1: the key has no `algorithm`"),
            ("key k { algorithm hmac-sha1; };", "1: the key has no `secret`"),
            ("key k {\n secret c2Vj; };", "1: the key has no `algorithm`"),
            ("key k {\n colour red; };", "2: expected `algorithm`, `secret` or `}`"),
        ] {
            assert_eq!(refused(text), why, "{text:?}");
        }
    }

    #[test]
    fn an_error_in_a_value_is_named_with_its_line() {
        for (text, why) in [
            ("key k { ; };", "1: expected `algorithm`, `secret` or `}`, got `;`"),
            ("key k { secret ; };", "1: expected the value of `secret`, got `;`"),
            ("key k { secret c2Vj\n }", "2: expected `;`, got `}`"),
            ("key k { secret \"\"; };", "1: the secret is empty"),
            ("key k {\n\nsecret c2V; };", "3: the secret is not valid base64"),
            ("key k { secret c2Vj;\nsecret c2Vj; };", "2: a second `secret` in one key"),
            ("key k { secret \"c2Vj;\n\"; };", "1: the secret is not valid base64"),
            ("key k {\nsecret \"c2Vj\n", "2: a quote is not closed"),
            ("\n/* key k {", "2: a comment is not closed"),
        ] {
            assert_eq!(refused(text), why, "{text:?}");
        }
    }

    #[test]
    fn the_file_holds_one_key_and_nothing_else() {
        let one = format!("key k {{ algorithm hmac-sha1; secret {SECRET}; }};\n");
        let why = "2: text after the key: the file must hold one key and nothing else";
        assert_eq!(refused(&one.repeat(2)), why);
        assert_eq!(
            refused(one.trim_end().trim_end_matches(';')),
            "1: expected `;`, but the file ends"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics_the_parser_and_no_error_repeats_a_secret(
            before in "[key{}\";/*# \n]{0,40}",
            after in "\\PC{0,40}",
        ) {
            let text = format!("{before}{SECRET}{after}");
            if let Err(problem) = parse(&text) {
                prop_assert!(!problem.what.contains(SECRET));
                prop_assert!((1..=text.lines().count() + 1).contains(&problem.line));
            }
        }
    }
}
