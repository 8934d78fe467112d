//! Messages on stderr, and the exit code.

use crate::client::ClientError;
use crate::output::clean;
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The daemon executed only a part, or nothing.
    #[error("{0}")]
    Unfinished(String),
    #[error("cannot write to standard output: {0} (free some space, or redirect the output)")]
    Output(#[from] io::Error),
}

impl Failure {
    /// 1 refused, 2 usage, and from `sysexits.h`: 69 unavailable, 77 no permission.
    fn code(&self) -> u8 {
        match self {
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Usage(_) => 2,
            Failure::Unfinished(_) | Failure::Output(_) => 1,
            Failure::Daemon(error) => match error {
                ClientError::Refused(_)
                | ClientError::Rejected(_)
                | ClientError::OtherVersion { .. } => 1,
                ClientError::SocketMode(_) | ClientError::Denied { .. } => 77,
                ClientError::Unreachable { .. }
                | ClientError::Timeout(_)
                | ClientError::Lost { .. } => 69,
            },
        }
    }
}

/// Prints the failure, if any, and returns the exit code. A closed pipe is a success: its reader
/// needs no more.
pub(crate) fn report(outcome: Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    let code = failure.code();
    if code != 0 {
        message(&format!("ddnsctl: {failure}"));
    }
    ExitCode::from(code)
}

/// Prints help, the version, or what is wrong with the command line. Help that cannot be printed is
/// a failure.
pub(crate) fn report_usage(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match u8::try_from(error.exit_code()) {
        Ok(0) => report(printed.map_err(Failure::Output)),
        Ok(code) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints one line on stderr. Ignores errors: there is no other place to report them.
pub(crate) fn message(line: &str) {
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
            (Failure::Daemon(ClientError::SocketMode(path())), 77),
            (Failure::Daemon(ClientError::Denied { path: path(), uid: 7 }), 77),
            (Failure::Output(io::ErrorKind::BrokenPipe.into()), 0),
            (Failure::Output(io::ErrorKind::StorageFull.into()), 1),
        ] {
            assert_eq!(failure.code(), code, "{failure}");
        }
    }
}
