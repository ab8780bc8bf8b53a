//! Stochastic gradient descent.

use crate::simd::descend;
use crate::{
    Optimizer, Real, Schedule, Segment, Settings, State, StateError, Step, StepError, check_inputs,
};

/// Stochastic gradient descent: `θ ← θ − lr·∇L`.
#[derive(Clone, Debug)]
pub struct Sgd<T> {
    schedule: Schedule<T>,
    step: u64,
}

impl<T: Real> Sgd<T> {
    /// SGD at the rates of `schedule`.
    pub fn new(schedule: Schedule<T>) -> Self {
        Sgd { schedule, step: 0 }
    }
}

impl<T: Real> Optimizer<T> for Sgd<T> {
    fn name(&self) -> &'static str {
        "SGD"
    }

    fn settings(&self) -> Settings {
        self.schedule.add_to(Settings::of("SGD"))
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        check_inputs(loss, segments)?;
        let rate = self.schedule.rate(self.step);
        self.step += 1;
        for (params, grads) in segments {
            descend(rate, params, grads);
        }
        Ok(Step::at_rate(rate))
    }

    fn state(&self) -> State<T> {
        State::new(self.step)
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let reader = state.into_reader()?;
        let step = reader.step();
        reader.finish()?;
        self.step = step;
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }
}
