//! Where gradients live, found before the first backward pass.

use super::Node;
use crate::Real;
use crate::memory::{Buffer, Place, Storage};
use std::ops::Range;

/// How the recording uses the flat parameter vector.
#[derive(Debug)]
pub(super) struct ParamUse {
    /// Range and storage of every view, by range.
    pub(super) views: Vec<(Range<usize>, usize)>,
    /// Whether two views overlap without being the same, so that neither may
    /// overwrite the gradient.
    pub(super) overlap: bool,
}

impl ParamUse {
    pub(super) fn of(storages: &[Storage]) -> Self {
        let view = |(storage, s): (usize, &Storage)| match *s {
            Storage::Param { offset, len, .. } => Some((offset..offset + len, storage)),
            _ => None,
        };
        let mut views: Vec<_> = storages.iter().enumerate().filter_map(view).collect();
        views.sort_unstable_by_key(|(range, _)| (range.start, range.end));
        Self {
            overlap: views.windows(2).any(|w| w[1].0.start < w[0].0.end),
            views,
        }
    }
}

/// Buffers for the gradients of results and of inputs that have one, and which of them is whose.
pub(super) struct Plan {
    /// By storage.
    pub(super) places: Vec<Place>,
    /// By buffer: its length.
    pub(super) lens: Vec<usize>,
}

impl Plan {
    /// Goes through the backward sweep from the storage `root`. Where gradients share
    /// buffers, that of a node's result is free as soon as the node has used it.
    pub(super) fn new<T: Real>(
        nodes: &[Node<T>],
        storages: &[Storage],
        values: &[Buffer<T>],
        root: usize,
        sharing: bool,
    ) -> Self {
        let mut planner = Planner {
            storages,
            values,
            places: vec![Place::default(); storages.len()],
            placed: vec![false; storages.len()],
            lens: Vec::new(),
            free: Vec::new(),
        };
        planner.place(root);
        for node in nodes.iter().rev() {
            if planner.placed[node.output] {
                for &operand in &node.operands {
                    planner.place(operand);
                }
                if sharing {
                    planner.free.push(planner.places[node.output].buffer);
                }
            }
        }
        Self {
            places: planner.places,
            lens: planner.lens,
        }
    }
}

struct Planner<'a, T> {
    storages: &'a [Storage],
    values: &'a [Buffer<T>],
    /// By storage.
    places: Vec<Place>,
    /// By storage: whether it has a place.
    placed: Vec<bool>,
    /// By buffer: its length.
    lens: Vec<usize>,
    /// Buffers whose gradients are no longer needed.
    free: Vec<usize>,
}

impl<T: Real> Planner<'_, T> {
    /// Finds a place for the gradient of `storage`, if it has one and none was found.
    fn place(&mut self, storage: usize) {
        let differentiable = self.storages[storage].differentiable();
        let is_param = matches!(self.storages[storage], Storage::Param { .. });
        if is_param || !differentiable || self.placed[storage] {
            return;
        }
        let len = self.values[storage].len();
        let buffer = self.free_buffer(len).unwrap_or_else(|| {
            self.lens.push(0);
            self.lens.len() - 1
        });
        self.lens[buffer] = self.lens[buffer].max(len);
        self.places[storage] = Place { buffer, len };
        self.placed[storage] = true;
    }

    /// The smallest free buffer that is long enough, or else the longest.
    fn free_buffer(&mut self, len: usize) -> Option<usize> {
        let cost = |&i: &usize| {
            let found = self.lens[self.free[i]];
            (found < len, found.abs_diff(len))
        };
        let best = (0..self.free.len()).min_by_key(cost)?;
        Some(self.free.swap_remove(best))
    }
}
