//! One source file, as far as the layout needs it. In: its text. Out: its tokens and paths without
//! comments, strings and test code, and how many lines of product it has.

use std::fmt;
use std::path::Path as FilePath;

/// A source file.
pub struct Source {
    /// From the crate's `src`, as `dns/tsig.rs`.
    pub path: String,
    product: String,
    tokens: Vec<String>,
}

/// A path in the code, such as `crate::dns::Handle`; the leaves of a `use` tree are one each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Its words.
    pub words: Vec<String>,
    /// The inline modules it stands in.
    pub inside: Vec<String>,
}

impl Path {
    /// Whether it begins with these words.
    pub fn starts_with_words(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len() && self.words.iter().zip(words).all(|(a, b)| a == b)
    }

    /// Whether these words follow one another in it.
    pub fn has_words(&self, words: &[&str]) -> bool {
        self.words.windows(words.len()).any(|some| some == words)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join("::"))
    }
}

impl Source {
    /// Reads every `.rs` file below a folder, sorted by path; `tests.rs` and the files of
    /// `tests/` are no product.
    ///
    /// # Panics
    /// When one cannot be read.
    pub fn read_all(root: &FilePath) -> Vec<Self> {
        let is_test =
            |path: &str| path.split('/').any(|word| word == "tests" || word == "tests.rs");
        let texts = read_texts(root).into_iter().filter(|(path, _)| !is_test(path));
        texts.map(|(path, text)| Self::parse(&path, &text)).collect()
    }

    /// Parses a file's text.
    pub fn parse(path: &str, text: &str) -> Self {
        let product = without_tests(&without_comments(text));
        let tokens = tokens(&product);
        Self { path: path.to_owned(), product, tokens }
    }

    /// Words and signs; `::` is one token, a string is `"`.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Lines that are neither blank nor comment nor test.
    pub fn product_lines(&self) -> usize {
        self.product.lines().filter(|line| !line.trim().is_empty()).count()
    }

    /// Names of the modules that this file declares: `mod tsig;` or `mod tsig { … }`.
    pub fn children(&self) -> Vec<&str> {
        let declared =
            self.tokens.windows(3).filter(|t| t[0] == "mod" && [";", "{"].contains(&&*t[2]));
        declared.map(|three| three[1].as_str()).collect()
    }

    /// Every path of two words or more, `use` trees spread out, and whole names in them.
    pub fn paths(&self) -> Vec<Path> {
        let (mut found, mut inside, mut depth) = (Vec::new(), Vec::new(), 0_usize);
        let mut at = 0;
        while let Some(token) = self.tokens.get(at) {
            match token.as_str() {
                "mod" if self.token(at + 2) == "{" => {
                    inside.push((self.token(at + 1).to_owned(), depth))
                }
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    inside.retain(|(_, opened)| *opened < depth);
                }
                word if is_word(word) && self.token(at + 1) == "::" => {
                    let mut leaves = Vec::new();
                    at = self.spread(at, &[], &mut leaves);
                    let inside: Vec<_> = inside.iter().map(|(name, _)| name.clone()).collect();
                    found.extend(
                        leaves.into_iter().map(|words| Path { words, inside: inside.clone() }),
                    );
                    continue;
                }
                "use" if self.token(at + 1) == "{" => {
                    let mut leaves = Vec::new();
                    at = self.spread(at + 1, &[], &mut leaves);
                    let inside: Vec<_> = inside.iter().map(|(name, _)| name.clone()).collect();
                    found.extend(
                        leaves.into_iter().map(|words| Path { words, inside: inside.clone() }),
                    );
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    fn token(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", String::as_str)
    }

    /// Follows one path from its first word or brace; returns the place behind it.
    fn spread(&self, mut at: usize, before: &[String], leaves: &mut Vec<Vec<String>>) -> usize {
        let mut words = before.to_vec();
        loop {
            if self.token(at) == "{" {
                at += 1;
                while !["}", ""].contains(&self.token(at)) {
                    let next = self.spread(at, &words, leaves);
                    // `as name`, commas and whatever else a macro may put here
                    at = next.max(at + usize::from(next == at));
                }
                return at + 1;
            }
            if !is_word(self.token(at)) {
                // a glob, or the `<` of a turbofish: the path up to here is what is named
                if words.len() > before.len() {
                    leaves.push(words);
                }
                return at;
            }
            words.push(self.token(at).to_owned());
            at += 1;
            if self.token(at) != "::" {
                leaves.push(words);
                return at;
            }
            at += 1;
        }
    }
}

/// Every `.rs` file below a folder, tests too: its path from there and its text, sorted by path.
///
/// # Panics
/// When one cannot be read, or there is none.
pub fn read_texts(root: &FilePath) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(root, &mut files);
    assert!(!files.is_empty(), "no source below {}", root.display());
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap();
        (path.to_owned(), std::fs::read_to_string(file).unwrap())
    };
    files.iter().map(read).collect()
}

fn collect(folder: &FilePath, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("target") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Blanks comments and what stands in strings and characters; lines stay lines, and a line of a
/// string stays a line that is not blank.
fn without_comments(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while at < chars.len() {
        let (end, is_comment) = skipped(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        let filler = if is_comment { ' ' } else { '"' };
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { filler }));
        at = end;
    }
    out
}

/// The end of the comment, string or character that begins here, else `at` itself.
fn skipped(chars: &[char], at: usize) -> (usize, bool) {
    let next = |ahead: usize| chars.get(at + ahead).copied().unwrap_or('\0');
    let follows_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (chars[at], next(1)) {
        ('/', '/') => (find(chars, at, |i| chars[i] == '\n'), true),
        ('/', '*') => (end_of_block_comment(chars, at), true),
        ('"', _) => (end_of_string(chars, at), false),
        ('r', '"' | '#') if !follows_word => (end_of_raw_string(chars, at), false),
        ('b', 'r') if !follows_word && ['"', '#'].contains(&next(2)) => {
            (end_of_raw_string(chars, at + 1), false)
        }
        ('\'', '\\') => (find(chars, at + 3, |i| chars[i] == '\'') + 1, false),
        // 'x' is a character, 'x a lifetime
        ('\'', _) if next(2) == '\'' => (at + 3, false),
        _ => (at, false),
    }
}

fn find(chars: &[char], from: usize, is_end: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|i| is_end(*i)).unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0_usize, at);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// From the `r`; a raw identifier such as `r#type` is no string and ends where it begins.
fn end_of_raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let closes = |i: usize| {
        chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    (find(chars, at + 2 + hashes, closes) + 1 + hashes).min(chars.len())
}

/// Cuts each item that stands under `#[cfg(test)]`, its attributes too.
fn without_tests(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(start) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..start]);
        let item = &rest[start..];
        rest = &item[end_of_item(item)..];
    }
    out + rest
}

/// An item ends with its first `;` or with the brace that closes its first one.
fn end_of_item(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, sign) in item.char_indices() {
        match sign {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    item.len()
}

fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let mut token = c.to_string();
        if c.is_whitespace() {
            continue;
        } else if c.is_alphanumeric() || c == '_' {
            while let Some(more) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                token.push(more);
            }
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            token.push(':');
        }
        found.push(token);
    }
    found
}
