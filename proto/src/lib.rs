//! The RPC between `ddnsctl` and `ddnsd`: the service, its version, and the types it transfers.
//! Versions of one major number are compatible: every struct has defaults for missing fields, and
//! every enum decodes an unknown value as `Unknown`. Times are milliseconds since 1970-01-01 UTC,
//! TTLs are seconds.

#![warn(missing_docs)]

pub mod error;
pub mod host;
pub mod mail;
pub mod reload;
pub mod status;
pub mod sync;
pub mod transfer;
pub mod transport;
pub mod user;

use error::Refusal;
use host::{
    AddHost, AddedHost, DeleteHost, Deleted, FindHost, HostView, ListHosts, Modified, ModifyHost,
    SuspendHost,
};
use mail::{FindMail, ListMails, MailView, TestMail, TestedMail};
use reload::Reloaded;
use serde::{Deserialize, Serialize};
use status::{StatusView, SweptView};
use std::fmt;
use sync::{SyncHosts, SyncedPage};
use transfer::{BeginImport, ImportToken, Imported, StageLines, UserRecord};
use user::{AddUser, DeleteUser, FindUser, ListUsers, SetEmail, SetPassword, UserChange, UserView};

/// Version of the RPC. A peer of another major version is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Incremented when something changes its meaning or is removed.
    pub major: u16,
    /// Incremented when something is added.
    pub minor: u16,
}

/// The version that this build implements.
pub const PROTOCOL: Protocol = Protocol { major: 1, minor: 0 };

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Maximum rows of a page. As many of the longest possible rows still fit a frame
/// ([`transport::MAX_FRAME`]), because a longer reply closes the connection.
pub const MAX_PAGE: u32 = 400;

/// A page of a list, in byte order of the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Value of `after` for the next page; `None` on the last page.
    #[serde(default)]
    pub next: Option<String>,
}

/// The reply of a call that returns no data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {}

/// The calls of administrators.
#[tarpc::service]
pub trait Administration {
    /// Adds a user.
    async fn user_add(user: AddUser) -> Result<UserView, Refusal>;
    /// Returns a page of users in order of their names.
    async fn user_list(query: ListUsers) -> Result<Page<UserView>, Refusal>;
    /// Deletes a user who owns no host.
    async fn user_delete(user: DeleteUser) -> Result<Done, Refusal>;
    /// Adds a host.
    async fn host_add(host: AddHost) -> Result<AddedHost, Refusal>;
    /// Returns a page of hosts in order of their FQDNs.
    async fn host_list(query: ListHosts) -> Result<Page<HostView>, Refusal>;
    /// Returns one host with its last request.
    async fn host_show(host: FindHost) -> Result<HostView, Refusal>;
    /// Removes a host's records from DNS, then deletes the host.
    async fn host_delete(host: DeleteHost) -> Result<Deleted, Refusal>;
    /// Removes the records of expired hosts now.
    async fn cleanup() -> Result<SweptView, Refusal>;
    /// Returns the daemon's state.
    async fn status() -> Result<StatusView, Refusal>;
    /// Changes a user's password; the old password is rejected at once.
    async fn user_passwd(user: SetPassword) -> Result<Done, Refusal>;
    /// Changes a user's mail address.
    async fn user_email(user: SetEmail) -> Result<Done, Refusal>;
    /// Changes a host's TTLs and publishes a new TTL of its records.
    async fn host_modify(host: ModifyHost) -> Result<Modified, Refusal>;
    /// Returns a page of users in order of their names, with their password hashes.
    async fn user_export(query: ListUsers) -> Result<Page<UserRecord>, Refusal>;
    /// Begins an import; nothing is stored before the commit.
    async fn import_begin(import: BeginImport) -> Result<ImportToken, Refusal>;
    /// Transfers lines of an import.
    async fn import_stage(lines: StageLines) -> Result<Done, Refusal>;
    /// Stores all transferred lines, or none of them.
    async fn import_commit(import: ImportToken) -> Result<Imported, Refusal>;
    /// Discards an import that will not be committed.
    async fn import_abandon(import: ImportToken) -> Result<Done, Refusal>;
    /// Compares a page of hosts with the answers of the name server and repairs differences.
    async fn sync(hosts: SyncHosts) -> Result<SyncedPage, Refusal>;
    /// Returns a page of the mail queue in the order in which the mails were queued.
    async fn mail_list(query: ListMails) -> Result<Page<MailView>, Refusal>;
    /// Tries a mail now, also one that failed.
    async fn mail_retry(mail: FindMail) -> Result<Done, Refusal>;
    /// Deletes a mail without sending it.
    async fn mail_drop(mail: FindMail) -> Result<Done, Refusal>;
    /// Sends a test mail with the settings in force.
    async fn mail_test(mail: TestMail) -> Result<TestedMail, Refusal>;
    /// Suspends a user: every login is rejected, and nothing of theirs expires.
    async fn user_suspend(user: FindUser) -> Result<UserChange, Refusal>;
    /// Resumes a suspended user.
    async fn user_resume(user: FindUser) -> Result<UserChange, Refusal>;
    /// Suspends a host: its updates are rejected, and it does not expire.
    async fn host_suspend(host: SuspendHost) -> Result<Modified, Refusal>;
    /// Resumes a suspended host.
    async fn host_resume(host: FindHost) -> Result<Modified, Refusal>;
    /// Reloads the configuration.
    async fn reload() -> Result<Reloaded, Refusal>;
}
