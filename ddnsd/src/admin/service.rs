//! The calls of `ddnsctl`. Each runs its story in a tracked task of its own: if the client hangs up
//! or its deadline passes, the story still runs to its end, and a panic becomes an error reply.

use super::connection::CallHandler;
use super::convert::{self, names};
use crate::model::mail::MailId;
use crate::model::secret::Secret;
use crate::reload::ReloadRequests;
use crate::stories::error::AdminError;
use crate::stories::expire::Expire;
use crate::stories::export::Export;
use crate::stories::hosts::Hosts;
use crate::stories::hosts::sync::SyncRequest;
use crate::stories::import::Imports;
use crate::stories::mail_queue::MailQueue;
use crate::stories::status::Status;
use crate::stories::users::Users;
use ddnsd_proto::error::{Refusal, RefusalKind};
use ddnsd_proto::host::{
    AddHost, AddedHost, DeleteHost, Deleted, FindHost, HostView, ListHosts, Modified, ModifyHost,
    SuspendHost,
};
use ddnsd_proto::mail::{FindMail, ListMails, MailView, TestMail, TestedMail};
use ddnsd_proto::reload::Reloaded;
use ddnsd_proto::status::{StatusView, SweptView};
use ddnsd_proto::sync::{SyncHosts, SyncedPage};
use ddnsd_proto::transfer::{BeginImport, ImportToken, Imported, StageLines, UserRecord};
use ddnsd_proto::user::{
    AddUser, DeleteUser, FindUser, ListUsers, SetEmail, SetPassword, UserChange, UserView,
};
use ddnsd_proto::{Administration, Done, Page};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;
use tarpc::context::Context;
use tarpc::server::Serve;
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tracing::error;

/// The stories that administrators can call.
#[derive(Clone)]
pub struct AdminStories {
    pub users: Users,
    pub hosts: Hosts,
    pub status: Status,
    pub expire: Expire,
    pub export: Export,
    pub imports: Imports,
    pub mails: MailQueue,
    pub reload: ReloadRequests,
}

/// Executes calls. Clones share the stories.
#[derive(Clone)]
pub(super) struct AdminService {
    stories: Arc<AdminStories>,
    tasks: TaskTracker,
}

impl AdminService {
    /// Runs stories as tasks of `tasks`.
    pub(super) fn new(stories: AdminStories, tasks: TaskTracker) -> Self {
        Self { stories: Arc::new(stories), tasks }
    }

    pub(super) fn into_handler(self) -> CallHandler {
        Arc::new(move |ctx, call| self.clone().serve().serve(ctx, call).boxed())
    }

    async fn run<T, S>(self, story: impl FnOnce(Arc<AdminStories>) -> S) -> Result<T, Refusal>
    where
        T: Send + 'static,
        S: Future<Output = Result<T, AdminError>> + Send + 'static,
    {
        run_to_end(&self.tasks, story(self.stories)).await
    }
}

/// Runs a story to its end, even if this future is dropped.
async fn run_to_end<T: Send + 'static>(
    tasks: &TaskTracker,
    story: impl Future<Output = Result<T, AdminError>> + Send + 'static,
) -> Result<T, Refusal> {
    let (done, end) = oneshot::channel();
    let task = async move {
        // the caller may have gone away
        let _ = done.send(story.await);
    };
    // boxed: the machinery of a task is large, and would be compiled for each story
    let task: BoxFuture<'static, ()> = task.boxed();
    let ended = tasks.spawn(task).await;
    match end.await {
        Ok(end) => end.map_err(convert::refusal),
        Err(_) => Err(panicked(&ended)),
    }
}

fn panicked(ended: &Result<(), JoinError>) -> Refusal {
    error!(?ended, "an admin call panicked");
    let message = "the daemon failed because of a defect (see its log)".to_owned();
    Refusal { kind: RefusalKind::Internal, message }
}

impl Administration for AdminService {
    async fn user_add(self, _: Context, user: AddUser) -> Result<UserView, Refusal> {
        let name = names::user(&user.name)?;
        let email = names::email(&user.email)?;
        let password = Secret::new(user.password.into_text());
        self.run(|stories| async move { stories.users.add(name, email, password).await })
            .await
            .map(|user| convert::users::user(&user))
    }

    async fn user_list(self, _: Context, query: ListUsers) -> Result<Page<UserView>, Refusal> {
        let limit = convert::bounds::page_size(query.limit);
        self.run(
            move |stories| async move { stories.users.list(query.after.as_deref(), limit).await },
        )
        .await
        .map(|users| {
            convert::bounds::page(users.iter().map(convert::users::user), limit, |user| &user.name)
        })
    }

    async fn user_delete(self, _: Context, user: DeleteUser) -> Result<Done, Refusal> {
        let name = names::user(&user.name)?;
        self.run(|stories| async move { stories.users.delete(name).await }).await.map(|()| Done {})
    }

    async fn host_add(self, _: Context, host: AddHost) -> Result<AddedHost, Refusal> {
        let defaults = self.stories.hosts.defaults();
        let new = convert::hosts::new_host(&host)?;
        self.run(|stories| async move { stories.hosts.add(new).await })
            .await
            .map(|(added, warnings)| convert::hosts::added(&added, warnings, defaults))
    }

    async fn host_list(self, _: Context, query: ListHosts) -> Result<Page<HostView>, Refusal> {
        let defaults = self.stories.hosts.defaults();
        let page = convert::hosts::page(query)?;
        let limit = page.limit;
        let hosts = self.run(|stories| async move { stories.hosts.list(page).await }).await?;
        let views = hosts.iter().map(|host| convert::hosts::host(host, defaults));
        Ok(convert::bounds::page(views, limit, |host| &host.fqdn))
    }

    async fn host_show(self, _: Context, host: FindHost) -> Result<HostView, Refusal> {
        let defaults = self.stories.hosts.defaults();
        let names = names::host(&host.hostname, &host.zone)?;
        self.run(|stories| async move { stories.hosts.show(&names).await })
            .await
            .map(|shown| convert::hosts::shown(shown, defaults))
    }

    async fn host_delete(self, _: Context, host: DeleteHost) -> Result<Deleted, Refusal> {
        let names = names::host(&host.hostname, &host.zone)?;
        self.run(move |stories| async move { stories.hosts.delete(&names, host.force).await })
            .await
            .map(|deleted| convert::hosts::deleted(&deleted))
    }

    async fn cleanup(self, _: Context) -> Result<SweptView, Refusal> {
        self.run(|stories| async move { stories.expire.clean_up().await })
            .await
            .map(convert::status::swept)
    }

    async fn status(self, _: Context) -> Result<StatusView, Refusal> {
        self.run(|stories| async move { Ok(stories.status.snapshot().await) })
            .await
            .map(convert::status::status)
    }

    async fn user_passwd(self, _: Context, user: SetPassword) -> Result<Done, Refusal> {
        let name = names::user(&user.name)?;
        let password = Secret::new(user.password.into_text());
        self.run(|stories| async move { stories.users.passwd(name, password).await })
            .await
            .map(|()| Done {})
    }

    async fn user_email(self, _: Context, user: SetEmail) -> Result<Done, Refusal> {
        let name = names::user(&user.name)?;
        let email = names::email(&user.email)?;
        self.run(|stories| async move { stories.users.email(name, email).await })
            .await
            .map(|()| Done {})
    }

    async fn user_suspend(self, _: Context, user: FindUser) -> Result<UserChange, Refusal> {
        let name = names::user(&user.name)?;
        self.run(|stories| async move { stories.users.suspend(name).await })
            .await
            .map(|changed| UserChange { changed })
    }

    async fn user_resume(self, _: Context, user: FindUser) -> Result<UserChange, Refusal> {
        let name = names::user(&user.name)?;
        self.run(|stories| async move { stories.users.resume(name).await })
            .await
            .map(|changed| UserChange { changed })
    }

    async fn host_suspend(self, _: Context, host: SuspendHost) -> Result<Modified, Refusal> {
        let defaults = self.stories.hosts.defaults();
        let names = names::host(&host.hostname, &host.zone)?;
        self.run(move |stories| async move { stories.hosts.suspend(&names, host.take_down).await })
            .await
            .map(|(host, modified)| convert::hosts::modified(&host, modified, defaults))
    }

    async fn host_resume(self, _: Context, host: FindHost) -> Result<Modified, Refusal> {
        let defaults = self.stories.hosts.defaults();
        let names = names::host(&host.hostname, &host.zone)?;
        self.run(|stories| async move { stories.hosts.resume(&names).await })
            .await
            .map(|(host, modified)| convert::hosts::modified(&host, modified, defaults))
    }

    async fn host_modify(self, _: Context, host: ModifyHost) -> Result<Modified, Refusal> {
        let defaults = self.stories.hosts.defaults();
        let modify = convert::hosts::modify(&host)?;
        self.run(|stories| async move { stories.hosts.modify(modify).await })
            .await
            .map(|(host, modified)| convert::hosts::modified(&host, modified, defaults))
    }

    async fn user_export(self, _: Context, query: ListUsers) -> Result<Page<UserRecord>, Refusal> {
        let limit = convert::bounds::page_size(query.limit);
        self.run(
            move |stories| async move { stories.export.users(query.after.as_deref(), limit).await },
        )
        .await
        .map(|users| {
            convert::bounds::page(users.iter().map(convert::transfer::record), limit, |user| {
                &user.name
            })
        })
    }

    async fn import_begin(self, _: Context, import: BeginImport) -> Result<ImportToken, Refusal> {
        let existing = convert::transfer::existing(&import);
        self.run(move |stories| async move { stories.imports.begin(existing) })
            .await
            .map(|token| ImportToken { token })
    }

    async fn import_stage(self, _: Context, lines: StageLines) -> Result<Done, Refusal> {
        let StageLines { token, lines } = lines;
        let lines = lines.into_iter().map(convert::transfer::line).collect();
        self.run(move |stories| async move { stories.imports.stage(&token, lines) })
            .await
            .map(|()| Done {})
    }

    async fn import_commit(self, _: Context, import: ImportToken) -> Result<Imported, Refusal> {
        self.run(|stories| async move { stories.imports.commit(&import.token).await })
            .await
            .map(convert::transfer::imported)
    }

    async fn import_abandon(self, _: Context, import: ImportToken) -> Result<Done, Refusal> {
        self.run(|stories| async move {
            stories.imports.abandon(&import.token);
            Ok(())
        })
        .await
        .map(|()| Done {})
    }

    async fn sync(self, _: Context, hosts: SyncHosts) -> Result<SyncedPage, Refusal> {
        let SyncHosts { zone, after, repair } = hosts;
        let zone = zone.as_deref().map(names::zone).transpose()?;
        let request = SyncRequest { zone, after, repair };
        self.run(|stories| async move { stories.hosts.sync(request).await })
            .await
            .map(convert::status::synced)
    }

    async fn mail_list(self, _: Context, query: ListMails) -> Result<Page<MailView>, Refusal> {
        let limit = convert::bounds::page_size(query.limit);
        let after = convert::mail::after(query.after.as_deref());
        self.run(move |stories| async move { stories.mails.list(after, limit).await })
            .await
            .map(|mails| convert::mail::page(mails, limit))
    }

    async fn mail_retry(self, _: Context, mail: FindMail) -> Result<Done, Refusal> {
        self.run(move |stories| async move { stories.mails.retry(MailId(mail.id)).await })
            .await
            .map(|()| Done {})
    }

    async fn mail_drop(self, _: Context, mail: FindMail) -> Result<Done, Refusal> {
        self.run(move |stories| async move { stories.mails.drop(MailId(mail.id)).await })
            .await
            .map(|()| Done {})
    }

    async fn mail_test(self, _: Context, mail: TestMail) -> Result<TestedMail, Refusal> {
        let to = names::email(&mail.address)?;
        self.run(|stories| async move { stories.mails.test(to).await })
            .await
            .map(|reply| TestedMail { reply })
    }

    async fn reload(self, _: Context) -> Result<Reloaded, Refusal> {
        self.run(|stories| async move { Ok(stories.reload.run().await) })
            .await
            .map(convert::status::reloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_story_that_panics_is_an_error_reply() {
        let story = async { if true { panic!("broken") } else { Ok(()) } };
        let refusal = run_to_end(&TaskTracker::new(), story).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Internal);
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_does_not_interrupt_its_story() {
        let tasks = TaskTracker::new();
        let (go, gone) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let story = async move {
            let _ = gone.await;
            let _ = done.send("whole");
            Ok(())
        };
        let mut call = Box::pin(run_to_end(&tasks, story));
        assert!(futures::poll!(&mut call).is_pending());
        drop(call);
        go.send(()).unwrap();
        assert_eq!(finished.await, Ok("whole"));
    }
}
