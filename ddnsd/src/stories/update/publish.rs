//! Publishing the changes of an update. In: changes that are stored. Out: what became of each.

use super::results::{log_published, published_result};
use super::{StoredChange, Update};
use crate::db::Store;
use crate::dns::Lane;
use crate::model::host::HostId;
use crate::stories::last_requests::HostResult;
use futures::future::join_all;
use std::sync::Arc;

impl Update {
    /// Publishes all changes together, so that the hosts of a zone travel in one message. Each
    /// result is stored, and its host unlocked, as soon as it is there; of the only daemon after
    /// the reply, if no mail is due. A kill before that leaves the host unpublished, so that it is
    /// sent once more; but the next change would replace its mail.
    pub(super) async fn publish(&self, stored: Vec<StoredChange>) -> Vec<(HostId, HostResult)> {
        let hosts = stored.iter().map(|change| Arc::clone(&change.host)).collect();
        let sent = self.0.publisher.publish_all(hosts, Lane::Interactive);
        let results = stored.into_iter().zip(sent).map(|(change, sent)| async move {
            let StoredChange { guard, old, .. } = change;
            let sent = sent.await;
            let result = sent.result();
            let of_host = (guard.host(), published_result(sent.host(), &result));
            let has_mail = sent.host().notices.is_some();
            let publisher = self.0.publisher.clone();
            let settle = async move |when| {
                log_published(sent.host(), old, result);
                publisher.settle(sent, when).await;
                drop(guard);
            };
            // the client's next request may reach another daemon, which waits for the lease
            if has_mail || self.0.db.may_have_others() {
                settle(Store::Now).await;
            } else {
                self.0.tasks.spawn(settle(Store::Soon));
            }
            of_host
        });
        join_all(results).await
    }
}
