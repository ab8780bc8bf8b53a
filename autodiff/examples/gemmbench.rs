use autodiff::kernels::*;
use std::time::Instant;
fn bench(name: &str, flops: f64, mut f: impl FnMut(), mut g: impl FnMut()) {
    let (mut v, mut w) = (vec![], vec![]);
    for _ in 0..300 {
        let t = Instant::now();
        f();
        v.push(t.elapsed().as_secs_f64());
        let t = Instant::now();
        g();
        w.push(t.elapsed().as_secs_f64());
    }
    v.sort_by(|a, b| a.partial_cmp(b).unwrap());
    w.sort_by(|a, b| a.partial_cmp(b).unwrap());
    println!(
        "{name}: ours {:.2}us ({:.1} GF/s, best {:.1})  matrixmultiply {:.2}us ({:.1})",
        v[150] * 1e6,
        flops / v[150] / 1e9,
        flops / v[0] / 1e9,
        w[150] * 1e6,
        flops / w[150] / 1e9
    );
}
fn run<T: autodiff::Real>(ta: bool, tb: bool, m: usize, k: usize, n: usize) {
    let a = vec![T::of(0.5); m * k];
    let b = vec![T::of(0.25); k * n];
    let mut c = vec![T::zero(); m * n];
    let mut d = c.clone();
    let (rsa, csa) = if ta { (1, m as isize) } else { (k as isize, 1) };
    let (rsb, csb) = if tb { (1, k as isize) } else { (n as isize, 1) };
    bench(
        &format!("{} ta{} tb{} {m}x{k}x{n}", T::NAME, ta as u8, tb as u8),
        (2 * m * k * n) as f64,
        || {
            gemm(
                m,
                k,
                n,
                Matrix::new(&a, ta),
                Matrix::new(&b, tb),
                &mut c,
                Into::Overwrite,
            )
        },
        || unsafe {
            T::matrixmultiply(
                m,
                k,
                n,
                (a.as_ptr(), rsa, csa),
                (b.as_ptr(), rsb, csb),
                T::zero(),
                (d.as_mut_ptr(), n as isize, 1),
            )
        },
    );
    assert_eq!(c, d);
}
fn main() {
    println!("{}", simd_level());
    run::<f32>(false, false, 512, 512, 512);
    println!("mlp fwd");
    run::<f32>(false, false, 64, 784, 300);
    run::<f32>(false, false, 64, 300, 100);
    run::<f32>(false, false, 64, 100, 10);
    println!("dW");
    run::<f32>(true, false, 784, 64, 300);
    run::<f32>(true, false, 300, 64, 100);
    run::<f32>(true, false, 100, 64, 10);
    println!("dx");
    run::<f32>(false, true, 64, 10, 100);
    run::<f32>(false, true, 64, 100, 300);
    println!("regression");
    run::<f64>(false, false, 6, 6, 1000);
    run::<f64>(false, false, 10, 6, 1000);
    run::<f64>(false, true, 10, 1000, 6);
    run::<f64>(true, false, 6, 10, 1000);
    run::<f64>(false, true, 6, 1000, 6);
}
