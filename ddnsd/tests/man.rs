//! The manual pages of the daemon and of its configuration are up to date.

use clap::CommandFactory;
use ddnsd::args::Args;
use ddnsd_tests::man;

const DAEMON: &str = include_str!("man/ddnsd.roff");
const CONFIGURATION: &str = include_str!("man/ddnsd.toml.roff");
const EXAMPLE: &str = include_str!("../../files/config.example.toml");

#[test]
fn the_page_of_the_daemon_is_up_to_date() {
    man::check("ddnsd.8", &man::of_program(Args::command(), "8", DAEMON));
}

#[test]
fn the_page_of_the_configuration_is_up_to_date() {
    let version = env!("CARGO_PKG_VERSION");
    man::check("ddnsd.toml.5", &man::of_configuration(EXAMPLE, version, CONFIGURATION));
}
