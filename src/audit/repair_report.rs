//! What a repair did, for eyes and for programs.

use super::repair::Repairs;
use super::repair_plan::Done;
use super::version::Version;
use doorbuster_loadgen::units::number as grouped;
use doorbuster_protocol::PartitionId;
use serde_json::{Value, json};
use std::fmt::Write;

impl Repairs {
    /// For eyes: what was found, what was done about it, and what a second look finds.
    pub(crate) fn text(&self) -> String {
        let mut text = self.found.text();
        if self.refused {
            text.push_str(
                "NOT REPAIRED: the log contradicts itself, so it cannot tell what the store should \
                 hold. Nothing was changed\n",
            );
            return text;
        }
        let Some(after) = &self.after else {
            text.push_str("nothing to repair\n");
            return text;
        };
        let _ = writeln!(text, "\nRepaired {}:", grouped(self.done_count));
        for done in &self.done {
            text.push_str(&done.lines());
        }
        if self.done_count > self.done.len() as u64 {
            let _ = writeln!(text, "  … and {} more", self.done_count - self.done.len() as u64);
        }
        for left in &self.left {
            let _ = writeln!(text, "  left alone: {left}");
        }
        text.push_str("\nA second look:\n");
        text.push_str(&after.text());
        text
    }

    /// For programs: the second audit, and what was done before it.
    pub(crate) fn json(&self) -> Value {
        let mut value = self.after.as_ref().unwrap_or(&self.found).json();
        value["clean"] = json!(self.is_clean());
        value["repair"] = json!({
            "refused": self.refused,
            "found": self.found.json(),
            "repaired": self.done_count,
            "repairs": self.done.iter().map(Done::json).collect::<Vec<_>>(),
            "left": self.left,
        });
        value
    }
}

impl Done {
    fn lines(&self) -> String {
        let what = match (self.order, self.product) {
            (Some(order), _) => format!("order {order}"),
            (_, Some(product)) => format!("product {product}"),
            _ => self.kind.to_owned(),
        };
        let side = |version: &Option<Version>| {
            version.as_ref().map_or("nothing".to_owned(), Version::text)
        };
        format!(
            "  shard {} · partition {} · {what}\n        was: {}\n         is: {}\n",
            self.shard,
            self.partition,
            side(&self.old),
            side(&self.new)
        )
    }

    fn json(&self) -> Value {
        json!({
            "shard": self.shard,
            "partition": PartitionId::get(self.partition),
            "kind": self.kind,
            "order": self.order.map(|it| it.to_string()),
            "product": self.product.map(|it| it.to_string()),
            "old": self.old.as_ref().map(Version::json),
            "new": self.new.as_ref().map(Version::json),
        })
    }
}
