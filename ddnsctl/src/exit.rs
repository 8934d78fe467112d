//! How it ends: one sentence on stderr and an exit code.

use crate::client::ClientError;
use crate::output::clean;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Used wrongly.
    #[error("{0}")]
    Usage(String),
    /// The daemon did not do it.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The daemon did a part of it.
    #[error("{0}")]
    Unfinished(String),
    /// The result cannot be printed.
    #[error("cannot write to standard output: {0} (make room there, or send it elsewhere)")]
    Output(#[from] io::Error),
}

impl Failure {
    /// 1 refused, 2 usage, and of `sysexits.h`: 69 unavailable, 77 no permission.
    fn code(&self) -> u8 {
        match self {
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Usage(_) => 2,
            Failure::Unfinished(_) | Failure::Output(_) => 1,
            Failure::Daemon(error) => match error {
                ClientError::Refused(_)
                | ClientError::TurnedAway(_)
                | ClientError::OtherVersion { .. } => 1,
                ClientError::Locked(_) | ClientError::Denied { .. } => 77,
                ClientError::Unreachable { .. }
                | ClientError::Late(_)
                | ClientError::Lost { .. } => 69,
            },
        }
    }
}

/// Says what went wrong, if anything did, and gives the exit code. Whoever closed the pipe has seen
/// enough: that is success.
pub(crate) fn report(outcome: Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    let code = failure.code();
    if code != 0 {
        say(&format!("ddnsctl: {failure}"));
    }
    ExitCode::from(code)
}

/// Prints help, or what is wrong with the command line. Help that cannot be printed was asked for in vain.
pub(crate) fn told(told: &clap::Error) -> ExitCode {
    let printed = told.print().and_then(|()| io::stdout().flush());
    match u8::try_from(told.exit_code()) {
        Ok(0) => report(printed.map_err(Failure::Output)),
        Ok(code) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}

/// One line of talk on stderr. Nobody listening is no failure.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", clean(line));
}

#[cfg(test)]
mod tests {
    use super::*;
    use ddnsd_proto::error::Refusal;

    #[test]
    fn every_failure_has_its_exit_code() {
        let path = || "/run/ddnsd/admin.sock".into();
        let unreachable = ClientError::Unreachable { path: path(), why: String::new() };
        for (failure, code) in [
            (Failure::Daemon(ClientError::Refused(Refusal::default())), 1),
            (Failure::Usage(String::new()), 2),
            (Failure::Daemon(unreachable), 69),
            (Failure::Daemon(ClientError::Locked(path())), 77),
            (Failure::Daemon(ClientError::Denied { path: path(), uid: 7 }), 77),
            (Failure::Output(io::ErrorKind::BrokenPipe.into()), 0),
            (Failure::Output(io::ErrorKind::StorageFull.into()), 1),
        ] {
            assert_eq!(failure.code(), code, "{failure}");
        }
    }
}
