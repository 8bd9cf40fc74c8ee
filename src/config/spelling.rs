//! What somebody may have meant who wrote a setting that there is none of.

use super::settings::SETTINGS;

/// The setting whose name is nearest to what was written, when one is near.
pub(crate) fn nearest(written: &str) -> Option<&'static str> {
    let written = written.to_ascii_lowercase().replace('_', "-");
    SETTINGS
        .iter()
        .map(|setting| (distance(&written, setting.name), setting.name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace) between two words: Wagner and Fischer, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        fn check(written: &str, expected: Option<&str>) {
            assert_eq!(nearest(written), expected, "{written}");
        }
        check("edge_threads", Some("edge-threads"));
        check("htpp", Some("http"));
        check("partition", Some("partitions"));
        check("segmentsize", Some("segment-size"));
        check("colour", None);
    }
}
