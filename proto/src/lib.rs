//! The RPC between `ddnsctl` and `ddnsd`: the service, its version, and the views that travel.
//! Compatible within a major version: every struct has defaults for fields that the other end does
//! not know yet, every enum an `Unknown` for values it does not know. Times are milliseconds since
//! 1970-01-01 UTC, TTLs seconds.

#![warn(missing_docs)]

pub mod error;
pub mod host;
pub mod reload;
pub mod status;
pub mod sync;
pub mod transfer;
pub mod transport;
pub mod user;

use error::Refusal;
use host::{
    AddHost, AddedHost, DeleteHost, Deleted, FindHost, HostView, ListHosts, Modified, ModifyHost,
};
use reload::Reloaded;
use serde::{Deserialize, Serialize};
use status::{StatusView, SweptView};
use std::fmt;
use sync::{SyncHosts, SyncedPage};
use transfer::{BeginImport, ImportToken, Imported, StageLines, UserRecord};
use user::{AddUser, AddedUser, DeleteUser, ListUsers, SetEmail, SetPassword, UserView};

/// Version of the RPC. Ends with different majors do not talk; the minor tells what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Rises when something known changes its meaning or goes.
    pub major: u16,
    /// Rises when something is added.
    pub minor: u16,
}

/// What this build speaks.
pub const PROTOCOL: Protocol = Protocol { major: 1, minor: 3 };

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The most rows of a page, whatever the client asks for: the longest rows there can be still fit a
/// frame ([`transport::MAX_FRAME`]), because a reply that does not ends the connection.
pub const MAX_PAGE: u32 = 500;

/// Some rows of a list, in byte order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// What to send as `after` for the rows that follow; `None` when there are none.
    #[serde(default)]
    pub next: Option<String>,
}

/// Carried out, and there is nothing more to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {}

/// What administrators can ask of the daemon.
#[tarpc::service]
pub trait Administration {
    /// Adds a user.
    async fn user_add(user: AddUser) -> Result<AddedUser, Refusal>;
    /// A page of users by name.
    async fn user_list(query: ListUsers) -> Result<Page<UserView>, Refusal>;
    /// Deletes a user who owns no host.
    async fn user_delete(user: DeleteUser) -> Result<Done, Refusal>;
    /// Adds a host.
    async fn host_add(host: AddHost) -> Result<AddedHost, Refusal>;
    /// A page of hosts by FQDN.
    async fn host_list(query: ListHosts) -> Result<Page<HostView>, Refusal>;
    /// One host.
    async fn host_show(host: FindHost) -> Result<HostView, Refusal>;
    /// Takes a host's records down and deletes it.
    async fn host_delete(host: DeleteHost) -> Result<Deleted, Refusal>;
    /// Takes down what has expired, now.
    async fn cleanup() -> Result<SweptView, Refusal>;
    /// How the daemon does.
    async fn status() -> Result<StatusView, Refusal>;

    // since 1.1

    /// Gives a user another password; the old one ends at once.
    async fn user_passwd(user: SetPassword) -> Result<Done, Refusal>;
    /// Gives a user another mail address.
    async fn user_email(user: SetEmail) -> Result<Done, Refusal>;
    /// Gives a host other TTLs, and publishes a new TTL of its records.
    async fn host_modify(host: ModifyHost) -> Result<Modified, Refusal>;
    /// A page of users by name, with their password hashes.
    async fn user_export(query: ListUsers) -> Result<Page<UserRecord>, Refusal>;
    /// Begins an import; nothing is stored before it is committed.
    async fn import_begin(import: BeginImport) -> Result<ImportToken, Refusal>;
    /// Hands over some lines of an import.
    async fn import_stage(lines: StageLines) -> Result<Done, Refusal>;
    /// Stores all lines that were handed over, or none of them.
    async fn import_commit(import: ImportToken) -> Result<Imported, Refusal>;
    /// Forgets an import that will not be committed.
    async fn import_abandon(import: ImportToken) -> Result<Done, Refusal>;

    // since 1.2

    /// Compares a page of hosts with what the name server answers, and repairs what differs.
    async fn sync(hosts: SyncHosts) -> Result<SyncedPage, Refusal>;
    /// Reads the configuration again and puts it in force.
    async fn reload() -> Result<Reloaded, Refusal>;
}
