//! A Galera cluster of three private MariaDB servers on this machine. A node that is killed comes
//! back and catches up.

use crate::mariadb::{AS_MYSQL, Account, Mariadb};
use crate::named::free_port;
use nix::sys::signal::Signal;

/// Nodes of the cluster.
pub const NODES: usize = 3;

/// A running cluster; its nodes are killed when dropped.
pub struct Galera(Vec<Mariadb>);

/// The ports of a node, beside that of its clients.
struct Ports {
    group: u16,
    increments: u16,
    snapshots: u16,
}

impl Galera {
    /// Starts a cluster, node by node.
    ///
    /// # Panics
    /// When MariaDB or its Galera library is not installed, or a node does not start.
    pub fn start() -> Self {
        let port = || Ports { group: free_port(), increments: free_port(), snapshots: free_port() };
        let ports: Vec<_> = (0..NODES).map(|_| port()).collect();
        let members: Vec<_> =
            ports.iter().map(|ports| format!("127.0.0.1:{}", ports.group)).collect();
        let members = format!("gcomm://{}", members.join(","));
        let node = |(number, ports): (usize, &Ports)| {
            let mut options = options(number, ports, &members);
            let first = "--wsrep-new-cluster";
            options.extend((number == 0).then(|| first.to_owned()));
            // root's rsync becomes nobody, who may not write into the folder
            let is_root = nix::unistd::geteuid().is_root();
            options.extend(is_root.then(|| AS_MYSQL.to_owned()));
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            let mut node = Mariadb::start_with(&options);
            node.drop_option(first);
            node
        };
        Self(ports.iter().enumerate().map(node).collect())
    }

    /// A new database, and its account as each node is reached.
    #[track_caller]
    pub fn accounts(&self) -> Vec<Account> {
        let account = self.0.first().expect("a node").account();
        let of = |node: &Mariadb| Account {
            port: node.port(),
            socket: node.socket(),
            ..account.clone()
        };
        self.0.iter().map(of).collect()
    }

    /// Kills a node as a power cut does.
    pub fn kill9(&self, node: usize) {
        self.0.get(node).expect("a node").signal(Signal::SIGKILL);
    }

    /// Starts a node that was killed; it is ready when this returns.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_again(&mut self, node: usize) {
        self.0.get_mut(node).expect("a node").start_again();
    }
}

fn options(number: usize, ports: &Ports, members: &str) -> Vec<String> {
    let Ports { group, increments, snapshots } = ports;
    // a dead node is noticed after 2 s
    let provider = format!(
        "base_port={group};gmcast.listen_addr=tcp://127.0.0.1:{group};\
         ist.recv_addr=127.0.0.1:{increments};gcache.size=32M;evs.keepalive_period=PT0.5S;\
         evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;evs.inactive_check_period=PT0.25S"
    );
    vec![
        "--innodb-autoinc-lock-mode=2".to_owned(),
        "--innodb-flush-log-at-trx-commit=0".to_owned(),
        "--binlog-format=ROW".to_owned(),
        "--wsrep-on=ON".to_owned(),
        "--wsrep-provider=/usr/lib/galera/libgalera_smm.so".to_owned(),
        "--wsrep-cluster-name=ddnsdtest".to_owned(),
        format!("--wsrep-cluster-address={members}"),
        format!("--wsrep-node-name=n{number}"),
        format!("--wsrep-node-address=127.0.0.1:{group}"),
        format!("--wsrep-provider-options={provider}"),
        "--wsrep-sst-method=rsync".to_owned(),
        format!("--wsrep-sst-receive-address=127.0.0.1:{snapshots}"),
    ]
}
