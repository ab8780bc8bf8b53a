//! Pictures of a tape: its values as boxes, its operations as what joins them.

use super::{Pass, Tape};
use crate::Real;
use crate::memory::Storage;
use std::fmt::Write;

/// A tape drawn by [`Tape::draw`] or [`Pass::draw`], as Graphviz DOT or as SVG.
#[derive(Clone, Debug)]
pub struct Drawing {
    boxes: Vec<DrawnBox>,
    /// From a box to one that is computed from it.
    arrows: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct DrawnBox {
    /// What it is, its shape, and what it holds.
    lines: Vec<String>,
    kind: Kind,
    /// Operations on the longest way to it.
    column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Data,
    Param,
    Result,
}

/// Elements that are written out; of more the first of them.
const SHOWN: usize = 4;

fn elements<T: Real>(name: &str, values: &[T]) -> String {
    let shown: Vec<String> = values
        .iter()
        .take(SHOWN)
        .map(|x| format!("{:.4}", x.in_f64()))
        .collect();
    let more = if values.len() > SHOWN { ", …" } else { "" };
    format!("{name} = {}{more}", shown.join(", "))
}

impl<T: Real> Tape<T> {
    /// Draws what was recorded. [`Pass::draw`] adds the numbers.
    pub fn draw(&self) -> Drawing {
        self.drawing(|_, _| {})
    }

    /// A box for each storage, with what `describe` adds to it.
    fn drawing(&self, describe: impl Fn(usize, &mut Vec<String>)) -> Drawing {
        let mut boxes = Vec::new();
        let mut arrows = Vec::new();
        for (storage, kept) in self.storages.iter().enumerate() {
            let of_storage = self.vars.iter().find(|v| v.storage == storage);
            let shape = of_storage.map(|v| v.shape).unwrap_or_default();
            let node = self.nodes.iter().find(|n| n.output == storage);
            let (what, kind) = match (kept, node) {
                (Storage::Input { .. }, _) => ("input", Kind::Data),
                (Storage::Constant, _) => ("constant", Kind::Data),
                (Storage::Indices { .. }, _) => ("indices", Kind::Data),
                (Storage::Param { .. }, _) => ("parameter", Kind::Param),
                (Storage::Result { .. }, Some(node)) => (node.op.name(), Kind::Result),
                (Storage::Result { .. }, None) => ("result", Kind::Result),
            };
            let operands = node.map_or(&[][..], |node| &node.operands);
            let before = |&operand: &usize| {
                let operand: &DrawnBox = &boxes[operand];
                operand.column + 1
            };
            let column = operands.iter().map(before).max().unwrap_or(0);
            arrows.extend(operands.iter().map(|&operand| (operand, storage)));
            let mut lines = vec![format!("{what} {shape}")];
            describe(storage, &mut lines);
            boxes.push(DrawnBox {
                lines,
                kind,
                column,
            });
        }
        Drawing { boxes, arrows }
    }
}

impl<T: Real> Pass<'_, T> {
    /// Draws the tape with the names of the parameters, the values of this pass, and the
    /// gradients of the backward pass that followed it, where they are kept.
    pub fn draw(&self) -> Drawing {
        let tape = &*self.tape;
        tape.drawing(|storage, lines| {
            if let Storage::Param { offset, len, .. } = tape.storages[storage] {
                let range = offset..offset + len;
                let named = self.params.iter().find(|(_, p)| p.range() == range);
                if let Some((name, param)) = named {
                    lines[0] = format!("{name} {}", param.shape());
                }
            }
            let values = tape.elements(storage, self.params.values());
            lines.push(elements("value", values));
            if let Some(gradient) = self.gradient_of(storage) {
                lines.push(elements("gradient", gradient));
            }
        })
    }
}

/// Extents of a box in an SVG, and the room around it.
const WIDTH: usize = 250;
const LINE: usize = 16;
const HEIGHT: usize = 3 * LINE + 10;
const GAP: [usize; 2] = [50, 18];

impl Drawing {
    /// The drawing in Graphviz's language: `dot -Tsvg`.
    pub fn dot(&self) -> String {
        let mut dot = String::from("digraph tape {\n  rankdir=LR;\n  node [shape=box];\n");
        for (i, drawn) in self.boxes.iter().enumerate() {
            let style = match drawn.kind {
                Kind::Data => "style=rounded",
                Kind::Param => "style=bold",
                Kind::Result => "style=solid",
            };
            let escaped = |line: &String| line.replace('\\', "\\\\").replace('"', "\\\"");
            let label = drawn.lines.iter().map(escaped).collect::<Vec<_>>();
            let label = label.join("\\n");
            let _ = writeln!(dot, "  n{i} [label=\"{label}\", {style}];");
        }
        for (from, to) in &self.arrows {
            let _ = writeln!(dot, "  n{from} -> n{to};");
        }
        dot.push_str("}\n");
        dot
    }

    /// The drawing as an image: a column for each step of the longest way.
    pub fn svg(&self) -> String {
        let columns = self.boxes.iter().map(|b| b.column + 1).max().unwrap_or(0);
        let mut filled = vec![0; columns];
        let corner = |drawn: &DrawnBox| {
            let row = filled[drawn.column];
            filled[drawn.column] += 1;
            let x = GAP[0] / 2 + drawn.column * (WIDTH + GAP[0]);
            [x, GAP[1] / 2 + row * (HEIGHT + GAP[1])]
        };
        let corners: Vec<[usize; 2]> = self.boxes.iter().map(corner).collect();
        let rows = filled.into_iter().max().unwrap_or(0);
        let (width, height) = (columns * (WIDTH + GAP[0]), rows * (HEIGHT + GAP[1]));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n"
        );
        for &(from, to) in &self.arrows {
            let [[x1, y1], [x2, y2]] = [corners[from], corners[to]];
            let (x1, y1, y2) = (x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2);
            let _ = writeln!(
                svg,
                "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"#888\"/>"
            );
        }
        for (drawn, [x, y]) in self.boxes.iter().zip(&corners) {
            let fill = match drawn.kind {
                Kind::Data => "#eef3fb",
                Kind::Param => "#fbf1e3",
                Kind::Result => "#ffffff",
            };
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"4\" \
                 fill=\"{fill}\" stroke=\"#444\"/>"
            );
            for (i, line) in drawn.lines.iter().enumerate() {
                let (x, y) = (x + 8, y + (i + 1) * LINE);
                let line = line.replace('&', "&amp;").replace('<', "&lt;");
                let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\">{line}</text>");
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}

#[cfg(test)]
mod tests {
    use crate::{Params, record};

    #[test]
    fn a_drawing_has_every_value_and_gradient() {
        let mut params = Params::<f64>::new();
        let w = params.add("w<1>", [2], || 3.0).unwrap();
        let (mut tape, [x, _]) = record(|g| {
            let x = g.input([2]);
            Ok([x, (x * g.param(w)).sum()])
        })
        .unwrap();
        let dot = tape.draw().dot();
        assert!(dot.contains("n0 [label=\"input [2]\""), "{dot}");
        assert!(
            dot.contains("n1 -> n2;") && dot.contains("n2 -> n3;"),
            "{dot}"
        );
        tape.set(x, &[1.0, 0.5]).unwrap();
        let mut pass = tape.forward(&params).unwrap();
        let without = pass.draw().dot();
        assert!(!without.contains("gradient"), "{without}");
        pass.backward(&mut params.zeros_like()).unwrap();
        let dot = pass.draw().dot();
        assert!(dot.contains("w<1> [2]\\nvalue = 3.0000, 3.0000"), "{dot}");
        assert!(
            dot.contains("mul [2]\\nvalue = 3.0000, 1.5000\\ngradient = 1.0000, 1.0000"),
            "{dot}"
        );
        let svg = pass.draw().svg();
        assert!(
            svg.contains("w&lt;1> [2]") && svg.contains("<line"),
            "{svg}"
        );
        assert_eq!(svg.matches("<rect").count(), 4);
    }
}
