//! The harness of the end-to-end tests: the real daemon, its control program and a real name
//! server, each on free ports in a temporary folder, started and stopped by the test that needs
//! them. A failure says what was waited for, what was seen instead, and shows the end of the logs.

pub mod authority;
pub mod chance;
pub mod clients;
pub mod ctl;
pub mod daemon;
pub mod database;
pub mod eventually;
pub mod exim;
pub mod faketime;
pub mod galera;
pub mod http;
pub mod knot;
pub mod load;
pub mod man;
pub mod mariadb;
pub mod named;
pub mod own_server;
pub mod powerdns;
pub mod primary;
pub mod process;
pub mod proxy;
pub mod readme;
pub mod secondary;
pub mod setup;
pub mod smtp;
pub mod terminal;
pub mod transcript;
pub mod update;
