//! Two results beside each other, as a page.

use super::document;
use super::escape::Escaped;
use crate::compare::{Comparison, Judgement};
use doorbuster_loadgen::units;
use std::fmt::Write;

/// The page of a comparison.
pub(crate) fn page(comparison: &Comparison) -> String {
    let tolerance = units::share(comparison.tolerance);
    let badge = match comparison.is_worse() {
        true => format!("<p class='badge bad'>worse by more than {tolerance}</p>"),
        false => format!("<p class='badge good'>not worse by more than {tolerance}</p>"),
    };
    let [before, after] = comparison.names.each_ref().map(|name| Escaped(name));
    let mut main = String::new();
    if !comparison.differences.is_empty() {
        main.push_str("<section id=warnings><h2>Beware</h2><ul class=warnings>");
        for difference in &comparison.differences {
            let _ = write!(main, "<li>{}</li>", Escaped(difference));
        }
        main.push_str("</ul></section>\n");
    }
    let _ = write!(
        main,
        "<section id=figures-compared><h2>Figures</h2><div class=scroll><table><thead><tr>\
         <th scope=col></th><th scope=col>{before}</th><th scope=col>{after}</th>\
         <th scope=col>change</th><th scope=col></th></tr></thead><tbody>"
    );
    for figure in &comparison.figures {
        let class = match figure.judgement {
            Judgement::Better => " class=better",
            Judgement::Worse => " class=worse",
            Judgement::Same | Judgement::None => "",
        };
        let [before, after] = figure.shown.each_ref().map(|value| value.as_deref().unwrap_or("–"));
        let _ = write!(
            main,
            "<tr><th scope=row>{}</th><td>{}</td><td>{}</td><td{class}>{}</td>\
             <td{class}>{}</td></tr>",
            Escaped(&figure.name),
            Escaped(before),
            Escaped(after),
            figure.shown_change(),
            figure.shown_judgement(),
        );
    }
    main.push_str("</tbody></table></div></section>\n");
    let header = format!("<h1>Load comparison</h1><p class=what>{before} → {after}</p>{badge}");
    document("Load comparison", &header, &main)
}
