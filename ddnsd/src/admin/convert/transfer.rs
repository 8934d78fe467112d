//! Export and import.

use super::bounds::cut;
use crate::model::user::UserRecord;
use crate::stories::import::{Existing, ImportReport, StagedLine};
use ddnsd_proto::transfer::{self, BeginImport, Confidential};

/// A user of an export.
pub(in crate::admin) fn record(user: &UserRecord) -> transfer::UserRecord {
    transfer::UserRecord {
        name: user.name.as_str().to_owned(),
        email: user.email.as_str().to_owned(),
        password_hash: Confidential(user.hash.0.to_string()),
        created_at: user.created_at.0,
        suspended_at: user.suspended_at.map(|at| at.0),
    }
}

pub(in crate::admin) fn existing(import: &BeginImport) -> Existing {
    if import.skip_existing { Existing::Skip } else { Existing::Refuse }
}

pub(in crate::admin) fn line(line: transfer::Line) -> StagedLine {
    let transfer::Line { number, text, fault } = line;
    StagedLine { number, text: text.0, fault }
}

pub(in crate::admin) fn imported(imported: ImportReport) -> transfer::Imported {
    let problem = |(line, problem)| transfer::Problem { line, problem: cut(problem) };
    transfer::Imported {
        users: imported.users,
        hosts: imported.hosts,
        existing_users: imported.existing_users,
        existing_hosts: imported.existing_hosts,
        problems: imported.problems.into_iter().map(problem).collect(),
        problems_total: imported.problems_total,
        warning: imported.warning.map(cut),
    }
}
