//! Matrix products, each operand plain or transposed.
//!
//! With op(A) = A or Aᵀ and C = op(A)·op(B):
//!
//! ```text
//! d op(A) += dC · op(B)ᵀ        d op(B) += op(A)ᵀ · dC
//! ```
//!
//! and where an operand was taken transposed, the transpose of its line.

use super::axes;
use crate::kernels::{Matrix, Term, gemm};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct MatMul {
    name: &'static str,
    transposed: [bool; 2],
    /// C is m×n, the inner dimension is k.
    m: usize,
    k: usize,
    n: usize,
}

impl<T: Real> Op<T> for MatMul {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let taken = |i: usize| -> Result<[usize; 2], String> {
            let [rows, columns] = axes(inputs[i])?;
            Ok(if self.transposed[i] {
                [columns, rows]
            } else {
                [rows, columns]
            })
        };
        let ([m, k], [k_of_b, n]) = (taken(0)?, taken(1)?);
        if k != k_of_b {
            return Err(format!("the inner dimensions differ: {k} and {k_of_b}"));
        }
        (self.m, self.k, self.n) = (m, k, n);
        Ok(Shape::from([m, n]))
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let a = Matrix::new(&x[0], self.transposed[0]);
        let b = Matrix::new(&x[1], self.transposed[1]);
        gemm(self.m, self.k, self.n, a, b, y, Term::First);
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dc: &[T], dx: &mut Gradients<T>) {
        let Self {
            m,
            k,
            n,
            transposed: [ta, tb],
            ..
        } = *self;
        let dc = |transposed| Matrix::new(dc, transposed);
        if let Some(da) = dx.of(0) {
            let b = |transposed| Matrix::new(&x[1], transposed);
            match ta {
                false => da.add_product([m, n, k], dc(false), b(!tb)),
                true => da.add_product([k, n, m], b(tb), dc(true)),
            }
        }
        if let Some(db) = dx.of(1) {
            let a = |transposed| Matrix::new(&x[0], transposed);
            match tb {
                false => db.add_product([k, m, n], a(!ta), dc(false)),
                true => db.add_product([n, m, k], dc(true), a(ta)),
            }
        }
    }
}

impl<T: Real> Var<'_, T> {
    #[track_caller]
    fn product(self, name: &'static str, transposed: [bool; 2], b: Self) -> Self {
        let op = MatMul {
            name,
            transposed,
            m: 0,
            k: 0,
            n: 0,
        };
        self.graph().apply(op, &[self, b])
    }

    /// A·B for A: m×k, B: k×n.
    #[track_caller]
    pub fn matmul(self, b: Self) -> Self {
        self.product("matmul", [false, false], b)
    }

    /// Aᵀ·B for A: k×m, B: k×n.
    #[track_caller]
    pub fn matmul_tn(self, b: Self) -> Self {
        self.product("matmul_tn", [true, false], b)
    }

    /// A·Bᵀ for A: m×k, B: n×k.
    #[track_caller]
    pub fn matmul_nt(self, b: Self) -> Self {
        self.product("matmul_nt", [false, true], b)
    }

    /// Aᵀ·Bᵀ for A: k×m, B: n×k.
    #[track_caller]
    pub fn matmul_tt(self, b: Self) -> Self {
        self.product("matmul_tt", [true, true], b)
    }
}

#[cfg(test)]
mod tests {
    use crate::Var;
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, numbers};

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
        let bt = evaluate(&[b, a], |v| v[0].matmul_tt(v[1]));
        assert_close(&bt, &[5.0, 14.0, -1.0, -1.0], 0.0, "Bᵀ·Aᵀ is the transpose");
    }

    #[test]
    fn gradients_in_all_transpositions() {
        type F = for<'g> fn(Var<'g, f64>, Var<'g, f64>) -> Var<'g, f64>;
        let cases: [([usize; 2], [usize; 2], F); 4] = [
            ([3, 5], [5, 4], |a, b| a.matmul(b)),
            ([5, 3], [5, 4], |a, b| a.matmul_tn(b)),
            ([3, 5], [4, 5], |a, b| a.matmul_nt(b)),
            ([5, 3], [4, 5], |a, b| a.matmul_tt(b)),
        ];
        for (a, b, product) in cases {
            let (x, y) = (numbers(15), numbers(20));
            assert_gradients(&[(&a, &x), (&b, &y)], |v| product(v[0], v[1]));
        }
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
}
