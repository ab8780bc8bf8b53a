//! Sizes of the parts of a DNC, and where they lie.

use super::DncConfig;
use super::pack::LANES;
use autodiff::Shape;

/// The numbers that shapes are made of, with the letters of the paper. What is computed from
/// them saturates: sizes beyond any memory are refused as such, and wrap around nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Sequences in a batch.
    pub batch: usize,
    /// N, slots of the memory.
    pub n: usize,
    /// W, numbers in a slot.
    pub w: usize,
    /// R, read heads.
    pub reads: usize,
    /// Write heads.
    pub writes: usize,
}

impl Sizes {
    pub fn new(config: DncConfig, batch: usize) -> Self {
        Self {
            batch,
            n: config.slots,
            w: config.word,
            reads: config.read_heads,
            writes: config.write_heads,
        }
    }

    /// Blocks of 16 sequences that the batch is cut into: the first axis of the tensors
    /// below, whose last is the sequence in the block.
    pub fn blocks(self) -> usize {
        self.batch.div_ceil(LANES)
    }

    /// Of the controller's state: the h and the c of an LSTM with so many units.
    pub fn controller(self, hidden: usize) -> Shape {
        Shape::from([self.blocks(), 2, hidden, LANES])
    }

    /// Of the memory, M.
    pub fn memory(self) -> Shape {
        Shape::from([self.blocks(), self.n, self.w, LANES])
    }

    /// Of the usage, u.
    pub fn usage(self) -> Shape {
        Shape::from([self.blocks(), self.n, LANES])
    }

    /// Of the weightings of the write heads.
    pub fn write_weights(self) -> Shape {
        Shape::from([self.blocks(), self.writes, self.n, LANES])
    }

    /// Of the weightings of the read heads.
    pub fn read_weights(self) -> Shape {
        Shape::from([self.blocks(), self.reads, self.n, LANES])
    }

    /// Of the linkage: for each write head the N rows of the link matrix L and, as one
    /// row more, the precedence weighting p.
    pub fn linkage(self) -> Shape {
        Shape::from([
            self.blocks(),
            self.writes,
            self.n.saturating_add(1),
            self.n,
            LANES,
        ])
    }

    /// Of the words read, r.
    pub fn words(self) -> Shape {
        Shape::from([self.blocks(), self.reads, self.w, LANES])
    }

    /// Of the interface vector, ξ.
    pub fn interface(self) -> Shape {
        Shape::from([self.blocks(), Interface::new(self).len, LANES])
    }
}

/// A part of a row, or of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub start: usize,
    pub len: usize,
}

impl Segment {
    #[inline(always)]
    pub fn of<T>(self, row: &[T]) -> &[T] {
        &row[self.start..][..self.len]
    }

    #[inline(always)]
    pub fn of_mut<T>(self, row: &mut [T]) -> &mut [T] {
        &mut row[self.start..][..self.len]
    }
}

/// The segments of an interface vector ξ, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    /// v, for each write head.
    pub write_vectors: Segment,
    /// k^w, for each write head.
    pub write_keys: Segment,
    /// k^r, for each read head.
    pub read_keys: Segment,
    /// e ∈ (0, 1), for each write head.
    pub erase_vectors: Segment,
    /// f ∈ (0, 1), for each read head.
    pub free_gates: Segment,
    /// g^a ∈ (0, 1), for each write head.
    pub allocation_gates: Segment,
    /// g^w ∈ (0, 1), for each write head.
    pub write_gates: Segment,
    /// β^w > 0, for each write head.
    pub write_strengths: Segment,
    /// β^r > 0, for each read head.
    pub read_strengths: Segment,
    /// π, for each read head: backward by each write head's links, forward by each
    /// write head's links, content; they sum to 1.
    pub read_modes: Segment,
    /// Length of ξ.
    pub len: usize,
}

impl Interface {
    pub fn new(sizes: Sizes) -> Self {
        let Sizes {
            w, reads, writes, ..
        } = sizes;
        let mut end = 0_usize;
        let mut next = |heads: usize, len: usize| {
            let start = end;
            end = end.saturating_add(heads.saturating_mul(len));
            Segment {
                start,
                len: end - start,
            }
        };
        // Segments with the same activation are neighbours.
        Self {
            write_vectors: next(writes, w),
            write_keys: next(writes, w),
            read_keys: next(reads, w),
            erase_vectors: next(writes, w),
            free_gates: next(reads, 1),
            allocation_gates: next(writes, 1),
            write_gates: next(writes, 1),
            write_strengths: next(writes, 1),
            read_strengths: next(reads, 1),
            read_modes: next(reads, writes.saturating_mul(2).saturating_add(1)),
            len: end,
        }
    }

    /// What passes through σ.
    pub fn gates(&self) -> Segment {
        span(self.erase_vectors, self.write_gates)
    }

    /// What passes through softplus.
    pub fn strengths(&self) -> Segment {
        span(self.write_strengths, self.read_strengths)
    }
}

/// From the start of one segment to the end of a later one.
fn span(first: Segment, last: Segment) -> Segment {
    Segment {
        start: first.start,
        len: last.start + last.len - first.start,
    }
}

/// Fails unless the operands of an operation have these shapes, none of them empty.
pub(super) fn expect(found: &[Shape], expected: &[Shape]) -> Result<(), String> {
    if expected.iter().any(|shape| shape.elements() == 0) {
        return Err("expected a DNC, a batch and sequences of no size 0".to_owned());
    }
    if found == expected {
        return Ok(());
    }
    Err(format!("expected the shapes {expected:?}"))
}
