use autodiff::*;
use models::*;
use rand::SeedableRng;
use std::time::Instant;
fn main() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let mut p = Params::<f64>::new();
    let s = TwoLayerShape::PAPER;
    let n = TwoLayerLinear::new(&mut p, s, &mut rng).unwrap();
    let x: Vec<f64> = (0..6000)
        .map(|i| ((i * 37 % 101) as f64) / 50.0 - 1.0)
        .collect();
    let y: Vec<f64> = (0..10000)
        .map(|i| ((i * 31 % 101) as f64) / 50.0 - 1.0)
        .collect();
    let mut r = Regression::new(n, s, 1000, &x, &y).unwrap();
    let mut g = p.zeros_like();
    let mut t = vec![];
    for _ in 0..3000 {
        let a = Instant::now();
        std::hint::black_box(r.loss_and_gradient(p.values(), &mut g).unwrap());
        t.push(a.elapsed().as_secs_f64());
    }
    t.sort_by(f64::total_cmp);
    println!("regression {:.2}us min {:.2}", t[1500] * 1e6, t[0] * 1e6);
    let mut p = Params::<f32>::new();
    let m = Mlp::new(&mut p, &mut rng).unwrap();
    let mut c = Classifier::new([64, 784], |x| m.logits(x)).unwrap();
    let mut g = p.zeros_like();
    for (i, v) in c.inputs_mut().iter_mut().enumerate() {
        *v = (i * 37 % 101) as f32 / 100.0;
    }
    c.set_labels(&(0..64).map(|i| i % 10).collect::<Vec<u8>>())
        .unwrap();
    let mut t = vec![];
    for _ in 0..1000 {
        let a = Instant::now();
        std::hint::black_box(c.loss_and_gradient(&p, &mut g).unwrap());
        t.push(a.elapsed().as_secs_f64());
    }
    t.sort_by(f64::total_cmp);
    println!("mlp {:.2}us min {:.2}", t[500] * 1e6, t[0] * 1e6);
}
