//! Passwords typed on a real terminal: asked for twice, never echoed, and nothing is changed unless
//! both are equal.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::terminal::Terminal;
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;

const SECRET: &str = "pässword: typed";

/// A daemon without users, and `ddnsctl user add alice` at its first prompt.
fn asked() -> (Scene, Terminal) {
    let scene = Scene::without_hosts(|setup| setup);
    let terminal = scene.ctl().on_terminal(&["user", "add", "alice", "alice@example.org"]);
    terminal.prompts(": ");
    (scene, terminal)
}

/// Asserts that nothing was added and the terminal echoes again.
#[track_caller]
fn assert_nothing_changed(scene: &Scene, terminal: &Terminal) {
    assert!(terminal.echoes(), "the terminal is left without echo: {:?}", terminal.shown());
    assert_eq!(scene.ctl().json(&["user", "list"]), serde_json::json!([]));
    assert!(!terminal.shown().contains(SECRET), "{:?}", terminal.shown());
}

#[test]
fn a_password_is_asked_for_twice_without_echo_and_logs_in() {
    let (scene, mut terminal) = asked();
    assert!(!terminal.echoes(), "the first password would be shown");
    terminal.types(&format!("{SECRET}\n"));
    terminal.prompts("again: ");
    assert!(!terminal.echoes(), "the second password would be shown");
    terminal.types(&format!("{SECRET}\n"));
    let status = terminal.ends();
    let shown = terminal.shown();
    assert_eq!(status.code(), Some(0), "{shown:?}");
    assert!(terminal.echoes(), "the terminal is left without echo");
    assert!(!shown.contains("typed") && shown.contains("alice"), "what appeared: {shown:?}");
    let update = scene.daemon.get("/update?hostname=ghost.dyn.example");
    update.user("alice", SECRET).send().is(200, "nohost\n");
}

#[test]
fn passwords_that_differ_change_nothing() {
    let (scene, mut terminal) = asked();
    terminal.types(&format!("{SECRET}\n"));
    terminal.prompts("again: ");
    terminal.types("something else\n");
    assert_eq!(terminal.ends().code(), Some(2), "{:?}", terminal.shown());
    assert!(terminal.shown().contains("differ"), "{:?}", terminal.shown());
    assert_nothing_changed(&scene, &terminal);
}

#[test]
fn ctrl_c_at_either_prompt_changes_nothing_and_leaves_the_echo_on() {
    let (scene, mut terminal) = asked();
    terminal.types("\x03");
    assert!(!terminal.ends().success());
    assert_nothing_changed(&scene, &terminal);

    let (scene, mut terminal) = asked();
    terminal.types(&format!("{SECRET}\n"));
    terminal.prompts("again: ");
    terminal.types("hal\x03");
    assert!(!terminal.ends().success());
    assert_nothing_changed(&scene, &terminal);
}

#[test]
fn a_signal_at_the_prompt_restores_the_terminal() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let (scene, mut terminal) = asked();
        terminal.types("hal");
        assert!(!terminal.echoes());
        terminal.signal(signal);
        assert_eq!(terminal.ends().signal(), Some(signal as i32));
        assert_nothing_changed(&scene, &terminal);
    }
}

#[test]
fn without_a_daemon_there_is_no_prompt() {
    let nothing = ddnsd_tests::setup::Setup::empty();
    let ctl = ddnsd_tests::ctl::Ctl::new(&nothing.socket());
    for words in
        [["user", "add", "alice", "alice@example.org"].as_slice(), &["user", "passwd", "alice"]]
    {
        let mut terminal = ctl.on_terminal(words);
        assert_eq!(terminal.ends().code(), Some(69), "{:?}", terminal.shown());
        assert!(!terminal.shown().contains("Password"), "{:?}", terminal.shown());
    }
}

#[test]
fn an_empty_password_and_the_end_of_input_at_the_prompt_change_nothing() {
    for keys in ["\n", "\x04"] {
        let (scene, mut terminal) = asked();
        terminal.types(keys);
        assert_eq!(terminal.ends().code(), Some(2), "after {keys:?}: {:?}", terminal.shown());
        assert_nothing_changed(&scene, &terminal);
    }
}

#[test]
fn passwd_asks_for_the_password_in_the_same_way() {
    let scene = Scene::new();
    let status = |password| scene.daemon.get("/update").user("alice", password).send().status;
    let mut interrupted = scene.ctl().on_terminal(&["user", "passwd", "alice"]);
    interrupted.prompts(": ");
    interrupted.types("half\x03");
    assert!(!interrupted.ends().success() && interrupted.echoes());
    assert_eq!(status(PASSWORD), 200, "the old password after Ctrl-C");

    let mut terminal = scene.ctl().on_terminal(&["user", "passwd", "alice"]);
    for prompt in [": ", "again: "] {
        terminal.prompts(prompt);
        assert!(!terminal.echoes(), "at the prompt {prompt}");
        terminal.types(&format!("{SECRET}\n"));
    }
    assert_eq!(terminal.ends().code(), Some(0), "{:?}", terminal.shown());
    assert!(terminal.echoes() && !terminal.shown().contains(SECRET), "{:?}", terminal.shown());
    assert_eq!((status(PASSWORD), status(SECRET)), (401, 200), "the old password and the new one");
}

#[test]
fn the_prompt_is_not_on_standard_output() {
    let scene = Scene::without_hosts(|setup| setup);
    let data = scene.daemon.setup().file("data");
    let script = r#"exec "$1" --socket "$2" --json user add alice alice@example.org > "$3""#;
    let program = ddnsd_tests::setup::binary("ddnsctl");
    let socket = scene.daemon.setup().socket();
    let mut words = vec!["sh".as_ref(), "-c".as_ref(), script.as_ref(), "sh".as_ref()];
    words.extend([program.as_os_str(), socket.as_os_str(), data.as_os_str()]);
    let mut terminal = Terminal::start(&words);
    for prompt in [": ", "again: "] {
        terminal.prompts(prompt);
        terminal.types(&format!("{SECRET}\n"));
    }
    assert_eq!(terminal.ends().code(), Some(0), "{:?}", terminal.shown());
    let added: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&data).unwrap()).unwrap();
    assert_eq!(added["name"], "alice");
}
