//! Users into replies.

use crate::model::user::User;
use ddnsd_proto::user::UserView;

pub(in crate::admin) fn user(user: &User) -> UserView {
    UserView {
        name: user.name.as_str().to_owned(),
        email: user.email.as_str().to_owned(),
        hostnames: user.hosts,
        created_at: user.created_at.0,
        suspended_at: user.suspended_at.map(|at| at.0),
    }
}
