//! What all charts have: a frame with axes, a legend, lines, and what the pointer shows.
//!
//! A chart is an SVG picture with a name and a description for those who do not see it. What stands
//! under the pointer is said by titles in the picture, so no script is needed.

use super::axis::Axis;
use super::escape::Escaped;
use std::fmt::Write;

/// Size of the picture, and of the frame within it.
pub(super) const WIDTH: f64 = 960.0;
pub(super) const HEIGHT: f64 = 300.0;
pub(super) const LEFT: f64 = 72.0;
pub(super) const RIGHT: f64 = WIDTH - 12.0;
pub(super) const TOP: f64 = 14.0;
pub(super) const BOTTOM: f64 = HEIGHT - 38.0;

/// A picture that is being drawn.
pub(super) struct Chart {
    body: String,
    legend: String,
}

/// What a chart is of.
pub(super) struct Named<'a> {
    /// The anchor, and the beginning of the ids within the picture.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What it shows, for those who do not see it.
    pub(super) description: &'a str,
}

impl Chart {
    /// A frame with named values at both axes.
    pub(super) fn new(
        x: (&Axis, &[(f64, String)], &str),
        y: (&Axis, &dyn Fn(f64) -> String, &str),
    ) -> Self {
        let mut body = String::new();
        for tick in y.0.ticks(5) {
            let at = y.0.place(tick);
            let _ = write!(
                body,
                "<line class=grid x1={LEFT} x2={RIGHT} y1={at:.1} y2={at:.1} />\
                 <text class=y x={} y={:.1}>{}</text>",
                LEFT - 8.0,
                at + 4.0,
                Escaped(&y.1(tick)),
            );
        }
        for (value, name) in x.1 {
            let at = x.0.place(*value);
            let _ = write!(
                body,
                "<line class=tick x1={at:.1} x2={at:.1} y1={BOTTOM} y2={} />\
                 <text class=x x={at:.1} y={}>{}</text>",
                BOTTOM + 5.0,
                BOTTOM + 19.0,
                Escaped(name),
            );
        }
        let _ = write!(
            body,
            "<line class=axis x1={LEFT} x2={RIGHT} y1={BOTTOM} y2={BOTTOM} />\
             <text class=unit x={RIGHT} y={}>{}</text><text class=unit-y x={} y={}>{}</text>",
            HEIGHT - 4.0,
            Escaped(x.2),
            LEFT + 4.0,
            TOP - 3.0,
            Escaped(y.2),
        );
        Self { body, legend: String::new() }
    }

    /// A line through points; it breaks where there is none.
    pub(super) fn line(&mut self, class: &str, name: &str, points: &[Option<(f64, f64)>]) {
        let mut path = String::new();
        let mut is_down = false;
        for (index, point) in points.iter().enumerate() {
            let Some((x, y)) = point else {
                is_down = false;
                continue;
            };
            let _ = write!(path, "{}{x:.1} {y:.1}", if is_down { 'L' } else { 'M' });
            // A point without neighbours would be a line without length.
            if !is_down && points.get(index + 1).is_none_or(Option::is_none) {
                let dot = format!("<circle class='dot {class}' cx={x:.1} cy={y:.1} r=3.5 />");
                self.body.push_str(&dot);
            }
            is_down = true;
        }
        let _ = write!(self.body, "<path class='line {class}' d='{path}' />");
        self.legend_entry(class, name, true);
    }

    /// Steps from `low` to `high` for every part of the axis from `x[0]` to `x[1]`.
    pub(super) fn area(&mut self, class: &str, name: &str, steps: &[([f64; 2], f64, f64)]) {
        let mut path = String::new();
        let mut run: Vec<&([f64; 2], f64, f64)> = Vec::new();
        for step in steps {
            if step.1 == step.2 {
                outline(&mut path, &run);
                run.clear();
            } else {
                run.push(step);
            }
        }
        outline(&mut path, &run);
        let _ = write!(self.body, "<path class='area {class}' d='{path}' />");
        self.legend_entry(class, name, false);
    }

    /// A part of the axis that counts otherwise.
    pub(super) fn shade(&mut self, x: [f64; 2], name: &str) {
        let _ = write!(
            self.body,
            "<rect class=shade x={:.1} y={TOP} width={:.1} height={} />\
             <text class=shade x={:.1} y={}>{}</text>",
            x[0],
            (x[1] - x[0]).max(0.0),
            BOTTOM - TOP,
            x[0] + 6.0,
            TOP + 14.0,
            Escaped(name),
        );
    }

    /// Says `text` while the pointer is over this part of the axis.
    pub(super) fn tip(&mut self, x: [f64; 2], text: &str) {
        let _ = write!(
            self.body,
            "<rect class=tip x={:.1} y={TOP} width={:.1} height={}><title>{}</title></rect>",
            x[0],
            (x[1] - x[0]).max(0.5),
            BOTTOM - TOP,
            Escaped(text),
        );
    }

    fn legend_entry(&mut self, class: &str, name: &str, is_line: bool) {
        let shape = if is_line { "key-line" } else { "key" };
        let _ = write!(
            self.legend,
            "<li><svg class={shape} viewBox='0 0 18 12' aria-hidden=true>{}</svg>{}</li>",
            match is_line {
                true => format!("<path class='line {class}' d='M0 6h18' />"),
                false => format!("<rect class='area {class}' width=18 height=12 rx=2 />"),
            },
            Escaped(name),
        );
    }

    /// The whole section.
    pub(super) fn finish(self, named: &Named<'_>, table: &str) -> String {
        let Named { id, title, description } = named;
        let (title, description) = (Escaped(title), Escaped(description));
        format!(
            "<section id={id}><h2>{title}</h2><ul class=legend>{}</ul>\
             <svg class=chart viewBox='0 0 {WIDTH} {HEIGHT}' role=img \
             aria-labelledby='{id}-name {id}-text'><title id={id}-name>{title}</title>\
             <desc id={id}-text>{description}</desc>{}</svg>\
             <p class=note>{description}</p>{table}</section>\n",
            self.legend, self.body,
        )
    }
}

/// The outline of steps that follow each other: along their upper ends, and back below.
fn outline(path: &mut String, run: &[&([f64; 2], f64, f64)]) {
    let Some(first) = run.first() else { return };
    let _ = write!(path, "M{:.1} {:.1}", first.0[0], first.2);
    for (x, _, high) in run {
        let _ = write!(path, "V{high:.1}H{:.1}", x[1]);
    }
    for (x, low, _) in run.iter().rev() {
        let _ = write!(path, "V{low:.1}H{:.1}", x[0]);
    }
    path.push('Z');
}
