//! Who may administer. In: a peer's credentials from the kernel. Out: yes or no. Root, the daemon's
//! own user and members of the admin group may, whatever the mode of the socket's file.

use nix::unistd::{Gid, Uid, User, getgrouplist};
use std::ffi::CString;
use std::io::Read;
use tokio::net::unix::UCred;

/// The users that may administer, beside root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) own_uid: u32,
    pub(super) group: u32,
}

/// A peer's process, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerCredentials {
    pub(super) uid: u32,
    /// The primary group.
    pub(super) gid: u32,
    /// `None` or 0 if the process is in a pid namespace that this daemon cannot see.
    pub(super) pid: Option<i32>,
}

impl From<UCred> for PeerCredentials {
    fn from(cred: UCred) -> Self {
        Self { uid: cred.uid(), gid: cred.gid(), pid: cred.pid() }
    }
}

impl Policy {
    /// Whether a peer with these supplementary groups may administer.
    fn admits(self, peer: PeerCredentials, groups: &[u32]) -> bool {
        let by_user = peer.uid == 0 || peer.uid == self.own_uid;
        by_user || peer.gid == self.group || groups.contains(&self.group)
    }
}

/// Whether the peer may administer. Its supplementary groups are looked up only if they matter, and
/// outside the runtime, because the user database may be a slow server.
pub(super) async fn may_administer(policy: Policy, peer: PeerCredentials) -> bool {
    policy.admits(peer, &[]) || {
        let groups = tokio::task::spawn_blocking(move || supplementary_groups(peer)).await;
        policy.admits(peer, &groups.unwrap_or_default())
    }
}

/// The groups of the process, else those of the user in the user database. `SO_PEERGROUPS` would
/// name them exactly, but no crate offers a safe call yet.
fn supplementary_groups(peer: PeerCredentials) -> Vec<u32> {
    groups_of_process(peer).or_else(|| groups_of_user(peer)).unwrap_or_default()
}

fn groups_of_process(peer: PeerCredentials) -> Option<Vec<u32>> {
    let pid = peer.pid.filter(|pid| *pid > 0)?;
    let status = std::fs::File::open(format!("/proc/{pid}/status")).ok()?;
    let mut text = String::new();
    // enough for 65,536 groups, the kernel's maximum for a process
    status.take(1 << 20).read_to_string(&mut text).ok()?;
    groups_in_status(&text, peer.uid)
}

/// The `Groups:` of a `/proc/PID/status`, if all four uids of the process are `uid`. The pid may
/// belong to another process by now, or the process may run a set-uid program. But a process with
/// only the peer's uid could have connected itself.
fn groups_in_status(status: &str, uid: u32) -> Option<Vec<u32>> {
    let numbers = |key: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().map(|number| number.parse().ok()).collect()
    };
    let uids = numbers("Uid:")?;
    let only_this_user = uids.len() == 4 && uids.iter().all(|other| *other == uid);
    if only_this_user { numbers("Groups:") } else { None }
}

fn groups_of_user(peer: PeerCredentials) -> Option<Vec<u32>> {
    let user = User::from_uid(Uid::from_raw(peer.uid)).ok()??;
    let name = CString::new(user.name).ok()?;
    let groups = getgrouplist(&name, Gid::from_raw(peer.gid)).ok()?;
    Some(groups.into_iter().map(Gid::as_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { own_uid: 990, group: 980 };

    fn peer(uid: u32, gid: u32) -> PeerCredentials {
        PeerCredentials { uid, gid, pid: None }
    }

    #[test]
    fn root_the_own_user_and_the_admin_group_may_administer() {
        assert!(POLICY.admits(peer(0, 0), &[]));
        assert!(POLICY.admits(peer(990, 5), &[]));
        assert!(POLICY.admits(peer(1000, 980), &[]));
        assert!(POLICY.admits(peer(1000, 1000), &[27, 980]));
    }

    #[test]
    fn no_other_user_may_administer() {
        assert!(!POLICY.admits(peer(1000, 1000), &[]));
        assert!(!POLICY.admits(peer(980, 990), &[0, 27]));
    }

    #[test]
    fn groups_are_accepted_only_from_a_process_of_the_same_user() {
        let status =
            "Name:\tcat\nUid:\t1000\t1000\t1000\t1000\nGid:\t1\t1\t1\t1\nGroups:\t4 980 \n";
        assert_eq!(groups_in_status(status, 1000), Some(vec![4, 980]));
        assert_eq!(groups_in_status(status, 1001), None);
        let set_uid = status.replace("1000\t1000\t1000\t1000", "1000\t0\t0\t0");
        assert_eq!(groups_in_status(&set_uid, 1000), None);
    }

    #[test]
    fn a_process_without_groups_has_none_and_garbage_is_no_status() {
        let status = "Uid:\t7\t7\t7\t7\nGroups:\t \n";
        assert_eq!(groups_in_status(status, 7), Some(Vec::new()));
        assert_eq!(groups_in_status("", 7), None);
        assert_eq!(groups_in_status("Uid:\t7\t7\t7\t7\nGroups:\tx\n", 7), None);
    }

    #[test]
    fn the_groups_of_this_very_process_are_found() {
        let myself = PeerCredentials {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            pid: i32::try_from(std::process::id()).ok(),
        };
        let mut found = groups_of_process(myself).unwrap();
        let mut expected: Vec<u32> =
            nix::unistd::getgroups().unwrap().into_iter().map(Gid::as_raw).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert!(groups_of_user(peer(0, 0)).unwrap().contains(&0));
    }
}
