//! Matrix products, each operand plain or transposed.
//!
//! With op(A) = A or Aᵀ and C = op(A)·op(B):
//!
//! ```text
//! d op(A) += dC · op(B)ᵀ        d op(B) += op(A)ᵀ · dC
//! ```
//!
//! and where an operand was taken transposed, the transpose of its line.

use crate::kernels::{Matrix, Term, gemm};
use crate::parallel::{MULTIPLY_ADDS, chunks_of, for_each_if};
use crate::{Gradient, Gradients, Inputs, Op, Real, Shape, Var};

struct MatMul {
    transposed: [bool; 2],
    /// Products, and how many each operand has matrices for: as many, or one.
    products: usize,
    matrices: [usize; 2],
    /// C is m×n, the inner dimension is k.
    m: usize,
    k: usize,
    n: usize,
}

/// The axes before the last two, and these, exchanged if the matrix is taken transposed.
fn matrix(shape: &Shape, transposed: bool) -> Result<(&[usize], [usize; 2]), String> {
    let Some((before, &[rows, columns])) = shape.split_last_chunk() else {
        return Err(format!("expected two axes or more, found {}", shape.rank()));
    };
    let taken = if transposed {
        [columns, rows]
    } else {
        [rows, columns]
    };
    Ok((before, taken))
}

impl MatMul {
    /// The i-th matrix of an operand.
    fn part<'a, T>(&self, operand: usize, x: &'a [T], i: usize) -> &'a [T] {
        let len = x.len() / self.matrices[operand].max(1);
        if self.matrices[operand] == 1 {
            return x;
        }
        &x[i * len..][..len]
    }

    /// For each product the part of `gradient` that `product` adds its share to.
    fn accumulate<T: Real>(
        &self,
        operand: usize,
        gradient: Gradient<T>,
        product: impl Fn(usize, &mut [T], Term) + Sync,
    ) {
        if self.products == 0 {
            gradient.zeroed();
            return;
        }
        let (values, term) = gradient.parts();
        if self.matrices[operand] == 1 {
            product(0, values, term);
            (1..self.products).for_each(|i| product(i, values, Term::Further));
            return;
        }
        let len = values.len() / self.products;
        for_each_if(
            self.worth_threads(),
            self.products,
            chunks_of(values, len),
            |i, values| product(i, values, term),
        );
    }

    /// Whether the products are shared out; a large one shares out its rows.
    fn worth_threads(&self) -> bool {
        let sizes = [self.products, self.m, self.k, self.n];
        let multiply_adds = sizes
            .iter()
            .fold(1_usize, |n, &size| n.saturating_mul(size));
        self.products > 1 && multiply_adds >= 2 * MULTIPLY_ADDS
    }
}

impl<T: Real> Op<T> for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (a_axes, [m, k]) = matrix(&inputs[0], self.transposed[0])?;
        let (b_axes, [k_of_b, n]) = matrix(&inputs[1], self.transposed[1])?;
        if k != k_of_b {
            return Err(format!("the inner dimensions differ: {k} and {k_of_b}"));
        }
        if a_axes != b_axes && !a_axes.is_empty() && !b_axes.is_empty() {
            return Err("the axes before the last two differ".to_owned());
        }
        let axes = if a_axes.is_empty() { b_axes } else { a_axes };
        self.matrices = [a_axes, b_axes].map(|axes| axes.iter().product());
        self.products = axes.iter().product();
        (self.m, self.k, self.n) = (m, k, n);
        Shape::new(&[axes, &[m, n]].concat()).ok_or("too many axes".to_owned())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let Self { m, k, n, .. } = *self;
        let (a, b) = (&x[0], &x[1]);
        for_each_if(
            self.worth_threads(),
            self.products,
            chunks_of(y, m * n),
            |i, y| {
                let a = Matrix::new(self.part(0, a, i), self.transposed[0]);
                let b = Matrix::new(self.part(1, b, i), self.transposed[1]);
                gemm(m, k, n, a, b, y, Term::First);
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dc: &[T], dx: &mut Gradients<T>) {
        let Self { m, k, n, .. } = *self;
        let [ta, tb] = self.transposed;
        let dc = |i, transposed| Matrix::new(&dc[i * m * n..][..m * n], transposed);
        let (a, b) = (&x[0], &x[1]);
        if let Some(da) = dx.of(0) {
            self.accumulate(0, da, |i, da, term| {
                let b = |transposed| Matrix::new(self.part(1, b, i), transposed);
                match ta {
                    false => gemm(m, n, k, dc(i, false), b(!tb), da, term),
                    true => gemm(k, n, m, b(tb), dc(i, true), da, term),
                }
            });
        }
        if let Some(db) = dx.of(1) {
            self.accumulate(1, db, |i, db, term| {
                let a = |transposed| Matrix::new(self.part(0, a, i), transposed);
                match tb {
                    false => gemm(k, m, n, a(!ta), dc(i, false), db, term),
                    true => gemm(n, m, k, dc(i, true), a(ta), db, term),
                }
            });
        }
    }
}

impl<T: Real> Var<'_, T> {
    /// A·B for A: m×k, B: k×n, the last two axes. Axes before them are equal, a product for
    /// each index along them, or one operand has none and takes part in all. A [transposed](Var::transpose) operand is
    /// no operation of its own: on the left it is read as it lies, on the right packed by panels, or read as it
    /// lies where the product is small and k long.
    ///
    /// Where half of A or more is 0, as in images of digits or behind a ReLU, zeros of A are skipped, if
    /// it has at least 24 rows and B at least 64 columns, with AVX2 or AVX-512: by pairs of rows, where
    /// both are 0. So an infinity or NaN of B that meets only zeros does not show in the result, and one
    /// that meets a zero beside a number of the other row gives NaN, as 0·∞ is. Without these instruction
    /// sets it always shows. The products of a backward pass skip zeros likewise.
    #[track_caller]
    pub fn matmul(self, b: Self) -> Self {
        let graph = self.graph();
        let lazy = [self, b].map(|operand| graph.deferred_operand(operand));
        let op = MatMul {
            transposed: lazy.map(|operand| operand.is_some()),
            products: 0,
            matrices: [1; 2],
            m: 0,
            k: 0,
            n: 0,
        };
        let [a_lies, b_lies] = lazy;
        graph.apply(op, &[a_lies.unwrap_or(self), b_lies.unwrap_or(b)])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, numbers};
    use crate::{Var, record};

    #[test]
    fn values() {
        let a: (&[usize], &[f64]) = (&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let b: (&[usize], &[f64]) = (&[3, 2], &[1.0, 0.0, 2.0, 1.0, 0.0, -1.0]);
        assert_close(
            &evaluate(&[a, b], |v| v[0].matmul(v[1])),
            &[5.0, -1.0, 14.0, -1.0],
            0.0,
            "A·B",
        );
        let bt = evaluate(&[b, a], |v| v[0].transpose().matmul(v[1].transpose()));
        assert_close(&bt, &[5.0, 14.0, -1.0, -1.0], 0.0, "Bᵀ·Aᵀ is the transpose");
    }

    #[test]
    fn gradients_in_all_transpositions() {
        type F = for<'g> fn(Var<'g, f64>, Var<'g, f64>) -> Var<'g, f64>;
        let cases: [([usize; 2], [usize; 2], F); 4] = [
            ([3, 5], [5, 4], |a, b| a.matmul(b)),
            ([5, 3], [5, 4], |a, b| a.transpose().matmul(b)),
            ([3, 5], [4, 5], |a, b| a.matmul(b.transpose())),
            ([5, 3], [4, 5], |a, b| a.transpose().matmul(b.transpose())),
        ];
        for (a, b, product) in cases {
            let (x, y) = (numbers(15), numbers(20));
            assert_gradients(&[(&a, &x), (&b, &y)], |v| product(v[0], v[1]));
        }
    }

    #[test]
    fn products_in_batches() {
        let (x, y) = (numbers(30), numbers(40));
        let at = |i: usize, x: &[f64], len: usize| x[i * len..][..len].to_vec();
        let batched = evaluate(&[(&[2, 3, 5], &x), (&[2, 5, 4], &y)], |v| v[0].matmul(v[1]));
        for i in 0..2 {
            let (a, b) = (at(i, &x, 15), at(i, &y, 20));
            let alone = evaluate(&[(&[3, 5], &a), (&[5, 4], &b)], |v| v[0].matmul(v[1]));
            assert_eq!(at(i, &batched, 12), alone);
        }
        type Product = for<'g> fn(Var<'g, f64>, Var<'g, f64>) -> Var<'g, f64>;
        let cases: [(&[usize], &[usize], Product); 6] = [
            (&[2, 3, 5], &[2, 5, 4], |a, b| a.matmul(b)),
            (&[1, 2, 5, 3], &[1, 2, 5, 4], |a, b| a.transpose().matmul(b)),
            (&[2, 3, 5], &[2, 4, 5], |a, b| a.matmul(b.transpose())),
            (&[2, 5, 3], &[2, 4, 5], |a, b| {
                a.transpose().matmul(b.transpose())
            }),
            (&[6, 5], &[2, 5, 4], |a, b| a.matmul(b)),
            (&[2, 3, 5], &[5, 8], |a, b| a.matmul(b)),
        ];
        for (a, b, product) in cases {
            assert_gradients(&[(a, &x), (b, &y)], |v| product(v[0], v[1]));
        }
        let nothing = evaluate(&[(&[0, 3, 5], &[]), (&[5, 4], &y[..20])], |v| {
            v[0].matmul(v[1])
        });
        assert!(nothing.is_empty());
    }

    #[test]
    fn a_square_of_one_matrix() {
        assert_gradients(&[(&[3, 3], &numbers(9))], |v| v[0].matmul(v[0]));
    }

    #[test]
    fn wrong_shapes_name_the_operation_and_both_shapes() {
        let message = error_of(|g| {
            let y = g.input([64, 784]).matmul(g.input([300, 100]));
            y.relu().sum()
        });
        assert!(
            message.starts_with("matmul of [64, 784] and [300, 100]"),
            "{message}"
        );
        assert!(message.contains("matmul.rs"), "names the line: {message}");
    }

    /// What the documentation says of zeros that meet what is not finite.
    #[test]
    fn zeros_that_are_skipped_hide_what_is_not_finite() {
        if crate::kernels::simd_level() == "portable" {
            return;
        }
        let hidden = |[m, k, n]: [usize; 3], zeros: usize, b: f64| {
            let a: Vec<f64> = (0..m * k)
                .map(|i| f64::from(u8::from(i % k >= zeros)))
                .collect();
            let mut data = vec![1.0; k * n];
            // In row 0 of B, which meets the first column of A.
            data[5] = b;
            let y = evaluate(&[(&[m, k], &a), (&[k, n], &data)], |v| v[0].matmul(v[1]));
            assert!(
                y.iter()
                    .enumerate()
                    .all(|(i, y)| i % n == 5 || y.is_finite())
            );
            y.iter().skip(5).step_by(n).all(|y| y.is_finite())
        };
        for b in [f64::INFINITY, f64::NAN] {
            assert!(hidden([24, 10, 64], 5, b), "half of A is 0");
            assert!(!hidden([24, 10, 64], 4, b), "less of it");
            assert!(!hidden([23, 10, 64], 9, b), "few rows");
            assert!(!hidden([24, 10, 63], 9, b), "few columns");
        }
    }

    #[test]
    fn a_transpose_may_be_multiplied_and_used_as_well() {
        let (a, b) = (numbers(12), numbers(12));
        assert_gradients(&[(&[3, 4], &a), (&[3, 4], &b)], |v| {
            let at = v[0].transpose();
            let product = at.matmul(v[1]);
            let sum = at + v[1].transpose();
            product.sum() + (sum * at.reshape([4, 3])).sum() + at.transpose().matmul(sum).sum()
        });
    }

    #[test]
    fn a_lazy_transpose_is_no_node() {
        let operations = |tape: crate::Tape<f64>| format!("{tape:?}");
        let (lazy, _) =
            record(|g| Ok([g.input([3, 4]).transpose().matmul(g.input([3, 2]))])).unwrap();
        assert!(!operations(lazy).contains("transpose"));
        let (mut read, [x, y]) = record(|g| {
            let x = g.input([1, 2]);
            Ok([x, x.transpose()])
        })
        .unwrap();
        read.set(x, &[1.0, 2.0]).unwrap();
        let none = crate::Params::new();
        let pass = read.forward(&none).unwrap();
        assert_eq!(pass.value(y).unwrap(), [1.0, 2.0]);
        assert_eq!(*pass.shape(y).unwrap(), [2, 1]);
    }
}
