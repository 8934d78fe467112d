//! A scripted mail server: replies that a real one does not give on demand, and counts of what it
//! was asked. Mails are kept as they came.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// How it treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As RFC 5321 says, apart from scripted replies.
    Normal,
    /// Accepts connections and never says anything.
    Silent,
    /// Sends a line that never ends.
    Endless,
    /// Sends lines of a greeting that never ends.
    EndlessLines,
    /// Takes a whole mail and closes the connection instead of a reply.
    CloseAfterData,
    /// Greets with 421 and closes.
    Busy,
}

/// A mail as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// Headers and body; lines end in LF, dots are unstuffed.
    pub text: String,
}

impl Received {
    /// The value of a header, its continuation lines joined.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[track_caller]
    pub fn header(&self, name: &str) -> String {
        let mut found = self.headers().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        let (_, value) = found.next().unwrap_or_else(|| panic!("no {name} in {}", self.text));
        assert!(found.next().is_none(), "two {name} in {}", self.text);
        value
    }

    /// Names and values of all headers.
    pub fn headers(&self) -> impl Iterator<Item = (String, String)> {
        let (head, _) = self.text.split_once("\n\n").unwrap_or((&self.text, ""));
        let head = head.replace("\n ", " ").replace("\n\t", " ");
        let pairs: Vec<_> = head
            .lines()
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or((line, ""));
                (name.to_owned(), value.to_owned())
            })
            .collect();
        pairs.into_iter()
    }

    /// The body as it was encoded.
    pub fn body(&self) -> &str {
        self.text.split_once("\n\n").map_or("", |(_, body)| body)
    }
}

struct State {
    behaviour: Behaviour,
    mails: Vec<Received>,
    connections: usize,
    open: Vec<TcpStream>,
    /// Replies to the next commands of a kind, by its first word; `.` is the end of a mail.
    once: HashMap<String, VecDeque<String>>,
    always: HashMap<String, String>,
    /// Mails of a connection before it is closed with 421.
    limit: usize,
    /// From a mail to its reply.
    delay: Duration,
}

/// A running server; stopped when dropped.
pub struct SmtpServer {
    port: u16,
    state: Arc<Mutex<State>>,
    running: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl SmtpServer {
    /// On a free port.
    ///
    /// # Panics
    /// When there is none.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            behaviour: Behaviour::Normal,
            mails: Vec::new(),
            connections: 0,
            open: Vec::new(),
            once: HashMap::new(),
            always: HashMap::new(),
            limit: usize::MAX,
            delay: Duration::ZERO,
        };
        let mut server = Self { port, state: Arc::new(Mutex::new(state)), running: None };
        server.run(listener);
        server
    }

    fn run(&mut self, listener: TcpListener) {
        let stop = Arc::new(AtomicBool::new(false));
        let (state, stopping) = (Arc::clone(&self.state), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&state);
                std::thread::spawn(move || {
                    // a client that goes away ends its connection
                    let _ = serve(stream, &state);
                });
            }
        });
        self.running = Some((stop, thread));
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The mails that it accepted, in their order.
    pub fn mails(&self) -> Vec<Received> {
        self.state().mails.clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// Treats new connections this way.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// The reply to the next command that begins with this word; `.` is the end of a mail.
    pub fn reply_once(&self, command: &str, reply: &str) {
        self.state().once.entry(command.to_owned()).or_default().push_back(reply.to_owned());
    }

    /// The reply to all commands that begin with this word.
    pub fn reply_always(&self, command: &str, reply: &str) {
        self.state().always.insert(command.to_owned(), reply.to_owned());
    }

    /// Takes so many mails on a connection.
    pub fn limit(&self, mails: usize) {
        self.state().limit = mails;
    }

    /// Waits so long between a mail and its reply to it.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Connections are refused, and open ones end.
    ///
    /// # Panics
    /// When it is stopped already.
    pub fn stop(&mut self) {
        let (stop, thread) = self.running.take().expect("a running server");
        stop.store(true, Ordering::SeqCst);
        // wakes the thread, which then drops its listener
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        thread.join().unwrap();
        for stream in self.state().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Serves its port again.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn start_again(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("its port");
        self.run(listener);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.stop();
        }
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> Result<()> {
    let behaviour = {
        let mut state = state.lock().unwrap();
        state.connections += 1;
        state.open.push(stream.try_clone()?);
        state.behaviour
    };
    match behaviour {
        Behaviour::Normal | Behaviour::CloseAfterData => {}
        Behaviour::Busy => return stream.write_all(b"421 too busy\r\n"),
        // until the client closes
        Behaviour::Silent => {
            std::io::copy(&mut stream, &mut std::io::sink())?;
            return Ok(());
        }
        Behaviour::Endless => loop {
            stream.write_all(&[b'2'; 4096])?;
        },
        Behaviour::EndlessLines => loop {
            stream.write_all(b"220-and so on\r\n")?;
        },
    }
    stream.write_all(b"220 test ESMTP\r\n")?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut from, mut to, mut taken) = (String::new(), Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let usual = match word.as_str() {
            "EHLO" => "250-test\r\n250 8BITMIME",
            "MAIL" if taken >= state.lock().unwrap().limit => "421 enough for one connection",
            "MAIL" | "RCPT" | "RSET" => "250 OK",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "502 unknown",
        };
        let reply = reply(state, &word, usual);
        stream.write_all(format!("{reply}\r\n").as_bytes())?;
        if reply.starts_with("221") || reply.starts_with("421") {
            return Ok(());
        }
        if !reply.starts_with(['2', '3']) {
            continue;
        }
        match word.as_str() {
            "MAIL" => (from, to) = (address(line), Vec::new()),
            "RCPT" => to.push(address(line)),
            "DATA" => {
                let text = data(&mut reader)?;
                if behaviour == Behaviour::CloseAfterData {
                    return stream.shutdown(Shutdown::Both);
                }
                let reply = self::reply(state, ".", "250 OK id=1");
                if reply.starts_with('2') {
                    let mail = Received { from: from.clone(), to: to.clone(), text };
                    state.lock().unwrap().mails.push(mail);
                }
                let delay = state.lock().unwrap().delay;
                std::thread::sleep(delay);
                stream.write_all(format!("{reply}\r\n").as_bytes())?;
                taken += 1;
            }
            _ => {}
        }
    }
}

fn reply(state: &Mutex<State>, word: &str, usual: &str) -> String {
    let mut state = state.lock().unwrap();
    let once = state.once.get_mut(word).and_then(VecDeque::pop_front);
    once.or_else(|| state.always.get(word).cloned()).unwrap_or_else(|| usual.to_owned())
}

/// The address in `MAIL FROM:<a@b>`.
fn address(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}

/// The mail up to the line with a single dot. A bare CR or LF is kept as `\u{fffd}`.
fn data(reader: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if line == ".\r\n" {
            return Ok(text);
        }
        let line = line.strip_prefix('.').unwrap_or(&line);
        match line.strip_suffix("\r\n") {
            Some(line) => text.push_str(&line.replace('\r', "\u{fffd}")),
            None => text.push_str(&line.replace(['\r', '\n'], "\u{fffd}")),
        }
        text.push('\n');
    }
}
