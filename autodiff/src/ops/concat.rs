//! Variables side by side along one axis.
//!
//! Each operand's gradient is its part of dy.

use crate::{Gradients, Graph, Inputs, Op, Real, Shape, Var};

struct Concat {
    axis: usize,
    /// Elements of each operand for one step along the axes before `axis`.
    blocks: Vec<usize>,
}

impl Concat {
    /// The i-th operand's part of every block of y: (start, length) and the
    /// length of a block of y.
    fn part(&self, i: usize) -> (usize, usize, usize) {
        let start = self.blocks[..i].iter().sum();
        (start, self.blocks[i], self.blocks.iter().sum())
    }
}

impl<T: Real> Op<T> for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let first = *inputs.first().ok_or("there is nothing to concatenate")?;
        if self.axis >= first.rank() {
            return Err(format!("there is no axis {}", self.axis));
        }
        let mut extent = 0_usize;
        for shape in inputs {
            if shape.rank() != first.rank() || shape.with(self.axis, 0) != first.with(self.axis, 0)
            {
                return Err(format!(
                    "the shapes may differ along axis {} only",
                    self.axis
                ));
            }
            extent = shape[self.axis].saturating_add(extent);
            self.blocks.push(shape[self.axis..].iter().product());
        }
        Ok(first.with(self.axis, extent))
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        for i in 0..x.len() {
            let (start, len, block) = self.part(i);
            if len == 0 {
                continue;
            }
            for (y, x) in y.chunks_exact_mut(block).zip(x[i].chunks_exact(len)) {
                y[start..][..len].copy_from_slice(x);
            }
        }
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        for i in 0..x.len() {
            let (start, len, block) = self.part(i);
            let Some(dx) = dx.of(i) else { continue };
            let dx = dx.zeroed();
            if len == 0 {
                continue;
            }
            for (dx, dy) in dx.chunks_exact_mut(len).zip(dy.chunks_exact(block)) {
                dx.iter_mut()
                    .zip(&dy[start..])
                    .for_each(|(dx, &dy)| *dx += dy);
            }
        }
    }
}

impl<T: Real> Graph<T> {
    /// The variables one after the other along `axis`; their other extents agree.
    #[track_caller]
    pub fn concat<'g>(&'g self, axis: usize, parts: &[Var<'g, T>]) -> Var<'g, T> {
        self.apply(
            Concat {
                axis,
                blocks: Vec::new(),
            },
            parts,
        )
    }
}

impl<T: Real> Graph<T> {
    /// The variables, all of one shape, along a new axis before `axis`.
    #[track_caller]
    pub fn stack<'g>(&'g self, axis: usize, parts: &[Var<'g, T>]) -> Var<'g, T> {
        let mut apart = Vec::with_capacity(parts.len());
        for part in parts {
            let shape = part.recorded_shape();
            let at = axis.min(shape.rank());
            let longer = [&shape[..at], &[1], &shape[at..]].concat();
            let Some(longer) = Shape::new(&longer) else {
                let why = format!("{} axes are more than a tensor can have", longer.len());
                return self.fail("stack", vec![shape], why);
            };
            apart.push(part.reshape(longer));
        }
        self.concat(axis, &apart)
    }
}

impl<'g, T: Real> Var<'g, T> {
    /// The parts of these lengths along `axis`, one after the other: what
    /// [`Graph::concat`] puts together.
    #[track_caller]
    pub fn split(self, axis: usize, lengths: &[usize]) -> Vec<Var<'g, T>> {
        let mut start = 0_usize;
        let part = |&len: &usize| {
            let range = start..start.saturating_add(len);
            start = range.end;
            self.slice(axis, range)
        };
        lengths.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::MAX_RANK;
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, numbers};

    #[test]
    fn values() {
        let a: (&[usize], &[f64]) = (&[2, 1], &[1.0, 2.0]);
        let b: (&[usize], &[f64]) = (&[2, 2], &[3.0, 4.0, 5.0, 6.0]);
        let y = evaluate(&[a, b], |v| v[0].graph().concat(1, &[v[0], v[1], v[0]]));
        assert_close(&y, &[1.0, 3.0, 4.0, 1.0, 2.0, 5.0, 6.0, 2.0], 0.0, "concat");
    }

    #[test]
    fn gradients() {
        let (a, b) = (numbers(12), numbers(18));
        let along = |axis, shape_a: [usize; 3], shape_b: [usize; 3]| {
            assert_gradients(&[(&shape_a, &a), (&shape_b, &b)], |v| {
                v[0].graph().concat(axis, &[v[0], v[1], v[0]])
            });
        };
        along(0, [2, 2, 3], [3, 2, 3]);
        along(1, [3, 2, 2], [3, 3, 2]);
        along(2, [3, 2, 2], [3, 2, 3]);
    }

    #[test]
    fn stacks_and_splits() {
        let (a, b) = (numbers(6), numbers(12).split_off(6));
        let operands: [(&[usize], &[f64]); 2] = [(&[2, 3], &a), (&[2, 3], &b)];
        let rows = evaluate(&operands, |v| v[0].graph().stack(0, v));
        assert_eq!(rows, [&a[..], &b].concat());
        for axis in [0, 1, 2] {
            assert_gradients(&operands, |v| v[0].graph().stack(axis, v));
        }
        assert_gradients(&operands[..1], |v| {
            let parts = v[0].split(1, &[1, 2]);
            parts[0] * parts[1]
        });
        let error = error_of(|g| g.input([2, 3]).split(1, &[1, 3])[1]);
        assert!(error.contains("1..4 is not inside 0..3"), "{error}");
        let error = error_of(|g| g.stack(0, &[g.input([1; MAX_RANK])]));
        assert!(error.contains("more than a tensor can have"), "{error}");
    }

    #[test]
    fn other_extents_must_agree() {
        let error = error_of(|g| g.concat(0, &[g.input([2, 3]), g.input([2, 4])]));
        assert!(error.contains("may differ along axis 0 only"), "{error}");
        let error = error_of(|g| g.concat(0, &[]));
        assert!(error.contains("nothing to concatenate"), "{error}");
    }
}
