//! What was measured: rows with the samples of each round. Out: a table or JSON.

use crate::Effort;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _};

/// Prints the rows of a scenario as they come, so that a scenario that is ended loses none.
#[derive(Debug)]
pub(crate) struct Report;

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        println!("{}", serde_json::to_string(&row).expect("a row as JSON"));
    }
}

/// One measurement of each round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) ddnsd: Vec<f64>,
    /// What it is compared with, and its samples: one each round, as those of ddnsd.
    pub(crate) floor: Option<(String, Vec<f64>)>,
    pub(crate) target: Option<Target>,
    /// CPU time of the server a request, microseconds: of ddnsd, and of the floor if it has any.
    pub(crate) cpu: Vec<f64>,
    pub(crate) floor_cpu: Vec<f64>,
}

/// What the ratio must be, or the value itself where there is no floor.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    /// Without a floor and a target.
    pub(crate) fn new(what: &str, unit: &str) -> Self {
        Self { what: what.to_owned(), unit: unit.to_owned(), ..Self::default() }
    }

    pub(crate) fn beside(mut self, floor: &str) -> Self {
        self.floor = Some((floor.to_owned(), Vec::new()));
        self
    }

    pub(crate) fn at_least(mut self, value: f64) -> Self {
        self.target = Some(Target::AtLeast(value));
        self
    }

    pub(crate) fn at_most(mut self, value: f64) -> Self {
        self.target = Some(Target::AtMost(value));
        self
    }

    /// With one sample only.
    pub(crate) fn value(mut self, value: f64) -> Self {
        self.ddnsd.push(value);
        self
    }

    pub(crate) fn floor_sample(&mut self, value: f64) {
        self.floor.as_mut().expect("a row with a floor").1.push(value);
    }

    /// The median of the ratios of each round.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (_, floor) = self.floor.as_ref()?;
        let ratios: Vec<_> =
            self.ddnsd.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
        Some(median(&ratios))
    }

    /// `None` without a target.
    pub(crate) fn met(&self) -> Option<bool> {
        let value = self.ratio().unwrap_or_else(|| median(&self.ddnsd));
        self.target.map(|target| match target {
            Target::AtLeast(least) => value >= least,
            Target::AtMost(most) => value <= most,
        })
    }

    fn cells(&self) -> [String; 8] {
        let floor = self.floor.as_ref();
        [
            self.what.clone(),
            self.unit.clone(),
            range(&self.ddnsd),
            floor.map_or_else(String::new, |(_, samples)| range(samples)),
            self.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            self.target.map_or_else(String::new, |target| match target {
                Target::AtLeast(least) => format!(">= {}", short(least)),
                Target::AtMost(most) => format!("<= {}", short(most)),
            }),
            self.met().map_or("", |met| if met { "met" } else { "MISSED" }).to_owned(),
            floor.map_or_else(String::new, |(name, _)| name.clone()) + &self.cpu_text(),
        ]
    }

    fn cpu_text(&self) -> String {
        if self.cpu.is_empty() {
            return String::new();
        }
        let floor = match self.floor_cpu.as_slice() {
            [] => String::new(),
            samples => format!(" / {:.1}", median(samples)),
        };
        format!("  (CPU {:.1}{floor} us)", median(&self.cpu))
    }
}

/// 0 of no samples.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// Median, lowest and highest.
fn range(samples: &[f64]) -> String {
    let lowest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match samples.len() {
        0 => String::new(),
        1 => short(median(samples)),
        _ => format!("{} [{}-{}]", short(median(samples)), short(lowest), short(highest)),
    }
}

/// Three digits at least, thousands parted.
fn short(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// All rows under a header; numbers as `median [lowest-highest]`.
pub(crate) fn table(rows: &[Row]) -> String {
    let header = ["WHAT", "UNIT", "DDNSD", "FLOOR", "RATIO", "TARGET", "", "FLOOR IS"];
    let lines: Vec<_> =
        std::iter::once(header.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let mut widths = [0; 8];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut printed = String::new();
        for (cell, width) in line.iter().zip(widths) {
            write!(printed, "{cell:<width$}  ").expect("text");
        }
        text.push_str(printed.trim_end());
        text.push('\n');
    }
    text
}

/// Everything, with the machine's number of cores.
pub(crate) fn json(rows: &[Row], failed: &[&str], effort: Effort) -> serde_json::Value {
    let row = |row: &Row| {
        let mut value = serde_json::to_value(row).expect("a row as JSON");
        value["median"] = median(&row.ddnsd).into();
        value["ratio"] = row.ratio().into();
        value["met"] = row.met().into();
        value
    };
    serde_json::json!({
        "rounds": effort.rounds,
        "seconds": effort.each.as_secs(),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "failed": failed,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Reads what a scenario has printed.
pub(crate) fn read(out: &mut File) -> Vec<Row> {
    let mut text = String::new();
    let read = out.rewind().and_then(|()| out.read_to_string(&mut text));
    read.expect("the output of a scenario");
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
