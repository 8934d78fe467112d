//! The calls of `ddnsctl`, a few lines each. In: what was typed. Out: what the story says. Each story
//! runs in a tracked task of its own: a client that leaves, or whose deadline passes, cuts nothing in
//! half, and a story that panics is an answer rather than silence.

use super::connection::CallHandler;
use super::{AdminStories, convert};
use crate::model::secret::Secret;
use crate::stories::error::AdminError;
use crate::stories::hosts::sync::SyncRequest;
use ddnsd_proto::error::{Refusal, RefusalKind};
use ddnsd_proto::host::{
    AddHost, AddedHost, DeleteHost, Deleted, FindHost, HostView, ListHosts, Modified, ModifyHost,
};
use ddnsd_proto::reload::Reloaded;
use ddnsd_proto::status::{StatusView, SweptView};
use ddnsd_proto::sync::{SyncHosts, SyncedPage};
use ddnsd_proto::transfer::{BeginImport, ImportToken, Imported, StageLines, UserRecord};
use ddnsd_proto::user::{
    AddUser, AddedUser, DeleteUser, ListUsers, SetEmail, SetPassword, UserView,
};
use ddnsd_proto::{Administration, Done, Page};
use futures::FutureExt;
use std::sync::Arc;
use tarpc::context::Context;
use tarpc::server::Serve;
use tokio_util::task::TaskTracker;
use tracing::error;

/// Carries calls out.
#[derive(Clone)]
pub(super) struct AdminService {
    admin: Arc<AdminStories>,
    tasks: TaskTracker,
}

impl AdminService {
    /// Calls `admin`'s stories in `tasks`.
    pub(super) fn new(admin: AdminStories, tasks: TaskTracker) -> Self {
        Self { admin: Arc::new(admin), tasks }
    }

    /// This service as connections call it.
    pub(super) fn into_answer(self) -> CallHandler {
        Arc::new(move |ctx, call| self.clone().serve().serve(ctx, call).boxed())
    }

    async fn run<T, S>(self, story: impl FnOnce(Arc<AdminStories>) -> S) -> Result<T, Refusal>
    where
        T: Send + 'static,
        S: Future<Output = Result<T, AdminError>> + Send + 'static,
    {
        to_the_end(&self.tasks, story(self.admin)).await
    }
}

/// Runs a story to its end, whatever becomes of the call that waits for it here.
async fn to_the_end<T: Send + 'static>(
    tasks: &TaskTracker,
    story: impl Future<Output = Result<T, AdminError>> + Send + 'static,
) -> Result<T, Refusal> {
    match tasks.spawn(story).await {
        Ok(end) => end.map_err(convert::refusal),
        Err(failure) => {
            error!(%failure, "an administrator's request made the daemon panic");
            let message = "the daemon failed at it (its log says more)".to_owned();
            Err(Refusal { kind: RefusalKind::Internal, message })
        }
    }
}

impl Administration for AdminService {
    async fn user_add(self, _: Context, user: AddUser) -> Result<AddedUser, Refusal> {
        let password = Secret::new(user.password.into_text());
        self.run(|admin| async move { admin.users.add(&user.name, &user.email, password).await })
            .await
            .map(|user| AddedUser { user: Some(convert::user(&user)) })
    }

    async fn user_list(self, _: Context, query: ListUsers) -> Result<Page<UserView>, Refusal> {
        let limit = convert::limit(query.limit);
        self.run(move |admin| async move { admin.users.list(query.after.as_deref(), limit).await })
            .await
            .map(|users| convert::page(users.iter().map(convert::user), limit, |user| &user.name))
    }

    async fn user_delete(self, _: Context, user: DeleteUser) -> Result<Done, Refusal> {
        self.run(|admin| async move { admin.users.delete(&user.name).await })
            .await
            .map(|()| Done {})
    }

    async fn host_add(self, _: Context, host: AddHost) -> Result<AddedHost, Refusal> {
        let defaults = self.admin.hosts.defaults();
        let new = convert::new_host(host);
        self.run(|admin| async move { admin.hosts.add(new).await })
            .await
            .map(|added| convert::added(&added, defaults))
    }

    async fn host_list(self, _: Context, query: ListHosts) -> Result<Page<HostView>, Refusal> {
        let defaults = self.admin.hosts.defaults();
        let filter = convert::host_filter(query);
        let limit = filter.limit;
        let hosts = self.run(|admin| async move { admin.hosts.list(filter).await }).await?;
        let views = hosts.iter().map(|host| convert::host(host, defaults));
        Ok(convert::page(views, limit, |host| &host.fqdn))
    }

    async fn host_show(self, _: Context, host: FindHost) -> Result<HostView, Refusal> {
        let defaults = self.admin.hosts.defaults();
        self.run(|admin| async move { admin.hosts.show(&host.hostname, &host.zone).await })
            .await
            .map(|shown| convert::shown(shown, defaults))
    }

    async fn host_delete(self, _: Context, host: DeleteHost) -> Result<Deleted, Refusal> {
        let DeleteHost { hostname, zone, force } = host;
        self.run(move |admin| async move { admin.hosts.delete(&hostname, &zone, force).await })
            .await
            .map(|deleted| convert::deleted(&deleted))
    }

    async fn cleanup(self, _: Context) -> Result<SweptView, Refusal> {
        self.run(|admin| async move { admin.expire.clean_up().await }).await.map(convert::swept)
    }

    async fn status(self, _: Context) -> Result<StatusView, Refusal> {
        self.run(|admin| async move { Ok(admin.status.snapshot().await) })
            .await
            .map(convert::status)
    }

    async fn user_passwd(self, _: Context, user: SetPassword) -> Result<Done, Refusal> {
        let password = Secret::new(user.password.into_text());
        self.run(|admin| async move { admin.users.passwd(&user.name, password).await })
            .await
            .map(|()| Done {})
    }

    async fn user_email(self, _: Context, user: SetEmail) -> Result<Done, Refusal> {
        self.run(|admin| async move { admin.users.email(&user.name, &user.email).await })
            .await
            .map(|()| Done {})
    }

    async fn host_modify(self, _: Context, host: ModifyHost) -> Result<Modified, Refusal> {
        let defaults = self.admin.hosts.defaults();
        let modify = convert::modify(host);
        self.run(|admin| async move { admin.hosts.modify(modify).await })
            .await
            .map(|modified| convert::modified(modified, defaults))
    }

    async fn user_export(self, _: Context, query: ListUsers) -> Result<Page<UserRecord>, Refusal> {
        let limit = convert::limit(query.limit);
        self.run(
            move |admin| async move { admin.transfer.users(query.after.as_deref(), limit).await },
        )
        .await
        .map(|users| convert::page(users.iter().map(convert::record), limit, |user| &user.name))
    }

    async fn import_begin(self, _: Context, import: BeginImport) -> Result<ImportToken, Refusal> {
        let existing = convert::existing(&import);
        self.run(move |admin| async move { admin.transfer.begin(existing) })
            .await
            .map(|token| ImportToken { token })
    }

    async fn import_stage(self, _: Context, lines: StageLines) -> Result<Done, Refusal> {
        let StageLines { token, lines } = lines;
        let lines = lines.into_iter().map(convert::line).collect();
        self.run(move |admin| async move { admin.transfer.stage(&token, lines) })
            .await
            .map(|()| Done {})
    }

    async fn import_commit(self, _: Context, import: ImportToken) -> Result<Imported, Refusal> {
        self.run(|admin| async move { admin.transfer.commit(&import.token).await })
            .await
            .map(convert::imported)
    }

    async fn import_abandon(self, _: Context, import: ImportToken) -> Result<Done, Refusal> {
        self.run(|admin| async move {
            admin.transfer.abandon(&import.token);
            Ok(())
        })
        .await
        .map(|()| Done {})
    }

    async fn sync(self, _: Context, hosts: SyncHosts) -> Result<SyncedPage, Refusal> {
        let SyncHosts { zone, after, repair } = hosts;
        let ask = SyncRequest { zone, after, repair };
        self.run(|admin| async move { admin.hosts.sync(ask).await }).await.map(convert::synced)
    }

    async fn reload(self, _: Context) -> Result<Reloaded, Refusal> {
        self.run(|admin| async move { Ok(admin.reload.run().await) }).await.map(convert::reloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_story_that_panics_is_an_answer() {
        let story = async { if true { panic!("broken") } else { Ok(()) } };
        let refusal = to_the_end(&TaskTracker::new(), story).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Internal);
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_does_not_cut_its_story() {
        let tasks = TaskTracker::new();
        let (go, gone) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let story = async move {
            let _ = gone.await;
            let _ = done.send("whole");
            Ok(())
        };
        let mut call = Box::pin(to_the_end(&tasks, story));
        assert!(futures::poll!(&mut call).is_pending());
        drop(call);
        go.send(()).unwrap();
        assert_eq!(finished.await, Ok("whole"));
    }
}
