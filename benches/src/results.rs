//! What a run found, on its way out: measurement by measurement, then the one table, and a file of
//! JSON beside them.

use crate::figures::Figures;
use crate::machine;
use crate::options::Options;
use crate::table::Table;
use anyhow::Context;
use std::io::Write;

/// Prints one measurement as soon as it is there, unless JSON is wanted.
pub(crate) fn show(figures: &Figures, options: &Options) -> anyhow::Result<()> {
    if !options.json {
        writeln!(std::io::stdout().lock(), "{figures}")?;
    }
    Ok(())
}

/// Prints the table of the goals, writes the file, and says whether every goal was met.
/// `failed` says what could not be measured, and `load_before` is the load of the machine when the run
/// began: what others did.
pub(crate) fn publish(
    name: &str,
    found: &[Figures],
    failed: &[String],
    options: &Options,
    load_before: f64,
) -> anyhow::Result<bool> {
    let table = Table::new(found);
    let is_met =
        failed.is_empty() && table.is_met() && found.iter().all(Figures::keeps_all_promises);
    let report = serde_json::json!({
        "machine": machine::describe(),
        "loadBefore": load_before,
        "rounds": options.rounds,
        "measurements": found,
        "notMeasured": failed,
        "goalsMet": is_met,
    });
    let file = options.results()?.join(format!("{name}.json"));
    std::fs::write(&file, format!("{report:#}\n"))
        .with_context(|| format!("{} cannot be written (--results DIR)", file.display()))?;
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{report:#}")?;
    } else {
        if found.iter().any(|figures| !figures.verdicts.is_empty()) {
            writeln!(out, "{table}")?;
        }
        writeln!(out, "the machine's load before the run was {load_before:.2}")?;
        if load_before > machine::cpus().len() as f64 / 4.0 {
            writeln!(
                out,
                "! others were at work: what is absolute here means little, and ratios less"
            )?;
        }
        writeln!(out, "as JSON, with every sample: {}", file.display())?;
    }
    Ok(is_met)
}
