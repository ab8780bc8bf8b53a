//! The optimiser step alone, at the sizes of the regression task, the MNIST MLP and the
//! Fashion-MNIST ConvNet: L4Adam against Adam, L4Mom against Momentum, and the rate-free methods.
//! At the last size late in training, too.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use l4::rate_free::{
    AliG, DAdaptAdam, Dog, Mechanic, Momo, MomoAdam, Prodigy, ScheduleFreeAdamW, ScheduleFreePlus,
    SpsMax,
};
use l4::{Adam, L4Adam, L4Mom, Momentum, Optimizer, Schedule};

fn optimizers() -> Vec<Box<dyn Optimizer<f32>>> {
    let schedule = || Schedule::constant(1e-3).expect("a valid rate");
    vec![
        Box::new(Adam::new(schedule())),
        Box::new(L4Adam::new()),
        Box::new(Momentum::new(schedule())),
        Box::new(L4Mom::new()),
        Box::new(SpsMax::new()),
        Box::new(AliG::new()),
        Box::new(Momo::new()),
        Box::new(MomoAdam::new()),
        // The same gradient at every step is one towards which d would grow without bound.
        Box::new(DAdaptAdam::new().growth(1.0).expect("a valid growth")),
        Box::new(Prodigy::new().growth(1.0).expect("a valid growth")),
        Box::new(Dog::new()),
        Box::new(ScheduleFreeAdamW::new()),
        Box::new(ScheduleFreePlus::new()),
        Box::new(Mechanic::new(Adam::new(schedule()))),
    ]
}

/// L4 leaves v in the gradient's place, and the next iteration takes that for its gradient: a copy
/// would be timed too, and the step's cost depends on values as far as they are subnormal only.
fn bench(criterion: &mut Criterion) {
    for parameters in [96, 266_610, 3_274_634] {
        let mut group = criterion.benchmark_group(format!("step/{parameters}"));
        group.throughput(Throughput::Elements(parameters as u64));
        for mut optimizer in optimizers() {
            let mut params: Vec<f32> = (0..parameters).map(|i| (i as f32).sin()).collect();
            let mut grads = params.clone();
            let id = BenchmarkId::from_parameter(optimizer.name());
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    optimizer
                        .step(1.0, &mut params, &mut grads)
                        .expect("finite values")
                });
            });
        }
        group.finish();
    }
}

/// Late in training: half of the gradients have been 0 for 1,000 steps, as those of units that
/// never fire, so that their moments have decayed as far as they can.
fn late(criterion: &mut Criterion) {
    let parameters = 3_274_634;
    let mut group = criterion.benchmark_group(format!("late_step/{parameters}"));
    group.throughput(Throughput::Elements(parameters as u64));
    for mut optimizer in optimizers() {
        let mut params: Vec<f32> = (0..parameters).map(|i| (i as f32).sin()).collect();
        let mut grads = params.clone();
        let mut sparse = params.clone();
        sparse.iter_mut().step_by(2).for_each(|grad| *grad = 0.0);
        let id = BenchmarkId::from_parameter(optimizer.name());
        let mut step = |grads: &mut [f32]| {
            optimizer
                .step(1.0, &mut params, grads)
                .expect("finite values")
        };
        step(&mut grads);
        for _ in 0..1000 {
            grads.copy_from_slice(&sparse);
            step(&mut grads);
        }
        group.bench_function(id, |bencher| bencher.iter(|| step(&mut grads)));
    }
    group.finish();
}

criterion_group!(benches, bench, late);
criterion_main!(benches);
