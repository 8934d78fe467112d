//! The layout's import table: each top-level module and what it may import. A module imports itself
//! freely; `lib.rs` only lists the modules.

/// A module, and the modules it may import.
pub type Table = &'static [(&'static str, &'static [&'static str])];

/// The daemon.
pub const DDNSD: Table = &[
    ("main", &["args", "config", "logging", "app", "demo"]),
    ("lib", &[]),
    // rules: the names of the return codes
    ("demo", &["args", "app", "config", "logging", "model", "rules", "stories"]),
    (
        "app",
        &[
            "args",
            "lifecycle",
            "reload",
            "clock",
            "counters",
            "logging",
            "config",
            "model",
            "rules",
            "passwords",
            "limits",
            "dns",
            "db",
            "mail",
            "stories",
            "serve",
            "http",
            "admin",
            "observe",
            "timers",
        ],
    ),
    ("args", &[]),
    ("lifecycle", &[]),
    // lifecycle: every reload is reported to systemd, by signal or by ddnsctl
    ("reload", &["config", "lifecycle"]),
    ("clock", &["model"]),
    ("counters", &["model"]),
    // clock: counts lines by the time that they are logged at
    ("log_budget", &["clock"]),
    ("logging", &["config"]),
    // template: a broken one is a problem of the configuration
    ("config", &["model", "template"]),
    ("template", &[]),
    ("model", &[]),
    ("rules", &["model"]),
    // clock: times each run of Argon2, on a thread of its own
    ("passwords", &["model", "config", "counters", "clock", "log_budget"]),
    ("limits", &["model", "rules", "config", "counters"]),
    ("dns", &["model", "config", "counters", "clock", "log_budget"]),
    ("db", &["model", "config", "counters", "clock", "log_budget"]),
    ("mail", &["model", "config", "clock", "template"]),
    (
        "stories",
        &[
            "model",
            "rules",
            "config",
            "passwords",
            "limits",
            "dns",
            "db",
            "mail",
            "template",
            "clock",
            "counters",
            "log_budget",
        ],
    ),
    // model: connections are counted by ClientKey, as limits are; clock: deadlines
    ("serve", &["model", "config", "counters", "clock", "log_budget"]),
    ("http", &["model", "config", "rules", "stories", "serve", "clock", "counters", "log_budget"]),
    ("admin", &["model", "config", "stories", "reload", "counters", "log_budget"]),
    // counters: the buckets of a histogram
    ("observe", &["config", "stories", "serve", "clock", "counters"]),
    ("timers", &["config", "stories", "clock", "log_budget"]),
];

/// The control program: output is pure, commands stand above the client.
pub const DDNSCTL: Table = &[
    ("main", &["commands", "exit"]),
    ("commands", &["password", "client", "output", "exit", "snippets"]),
    ("password", &["exit", "output"]),
    ("exit", &["client", "output"]),
    ("client", &[]),
    ("output", &[]),
    ("snippets", &[]),
];

/// The RPC: views below, the service above.
pub const PROTO: Table = &[
    (
        "lib",
        &["user", "host", "mail", "status", "sync", "transfer", "reload", "error", "transport"],
    ),
    ("user", &[]),
    ("host", &["status"]),
    ("mail", &[]),
    ("status", &[]),
    ("sync", &["status"]),
    ("transfer", &[]),
    ("reload", &[]),
    ("error", &[]),
    ("transport", &[]),
];
