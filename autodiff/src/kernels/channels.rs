//! Loops over rows × channels: sums by channel, and lines y = (x − mean)·slope + shift.

use super::simd::dispatched;
use super::{Real, Term};

/// Channels that are worked on side by side; four registers of the widest vectors.
pub(crate) const LANES: usize = 64;

/// Elements whose sums stay in the type of x before they are added to one in f64. They
/// fit into the first or second level of cache, for what goes through them twice.
pub(crate) const BLOCK: usize = 8192;

/// Elements of a chunk of work for a thread.
pub(crate) const CHUNK: usize = 8 * BLOCK;

/// How x, rows × channels, is cut up.
///
/// Where several rows fit into [`LANES`], as many as fit are taken together: the
/// channels of 4 rows of 16 fill them all. Where one does not, it is cut into panels.
#[derive(Clone, Copy, Default)]
pub(crate) struct Layout {
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    /// Elements from one group of rows to the next.
    pub(crate) stride: usize,
    /// Elements of a block; a multiple of `stride`.
    pub(crate) block: usize,
    /// Rows of a chunk; their elements are a multiple of `block`.
    pub(crate) chunk_rows: usize,
}

/// Lanes of every group of rows: elements start..start + width of each `stride`.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub(crate) start: usize,
    pub(crate) width: usize,
    pub(crate) stride: usize,
}

/// y = (x − mean)·slope + shift, by lane.
pub(crate) struct Lines<T> {
    pub(crate) mean: [T; LANES],
    pub(crate) slope: [T; LANES],
    pub(crate) shift: [T; LANES],
}

/// One lane of [`Lines`].
pub(crate) struct Line<T> {
    pub(crate) mean: T,
    pub(crate) slope: T,
    pub(crate) shift: T,
}

impl<T: Real> Lines<T> {
    #[inline(always)]
    pub(crate) fn lanes(&self) -> impl Iterator<Item = Line<T>> {
        let slopes = self.mean.iter().zip(&self.slope);
        slopes.zip(&self.shift).map(
            #[inline(always)]
            |((&mean, &slope), &shift)| Line { mean, slope, shift },
        )
    }
}

impl<T: Real> Line<T> {
    #[inline(always)]
    pub(crate) fn at(&self, x: T) -> T {
        (x - self.mean) * self.slope + self.shift
    }

    /// What of dy the ReLU lets through.
    #[inline(always)]
    pub(crate) fn passed(&self, x: T, dy: T, relu: bool) -> T {
        if !relu || self.at(x) > T::zero() {
            dy
        } else {
            T::zero()
        }
    }
}

impl Layout {
    pub(crate) fn new(rows: usize, channels: usize) -> Self {
        let group = (LANES / channels).max(1);
        let stride = group * channels;
        let block = (BLOCK / stride).max(1) * stride;
        let chunk = (CHUNK / block).max(1) * block;
        Self {
            rows,
            channels,
            stride,
            block,
            chunk_rows: chunk / channels,
        }
    }

    pub(crate) fn chunk(&self) -> usize {
        self.chunk_rows * self.channels
    }

    pub(crate) fn chunks(&self) -> usize {
        self.rows.div_ceil(self.chunk_rows)
    }

    pub(crate) fn range(&self, chunk: usize) -> std::ops::Range<usize> {
        let end = (chunk + 1) * self.chunk_rows;
        chunk * self.chunk()..end.min(self.rows) * self.channels
    }

    pub(crate) fn panels(&self) -> impl Iterator<Item = Panel> + use<> {
        let stride = self.stride;
        (0..stride).step_by(LANES).map(move |start| Panel {
            start,
            width: LANES.min(stride - start),
            stride,
        })
    }

    /// Gives each lane the value of its channel.
    pub(crate) fn spread<T: Real>(
        &self,
        panel: Panel,
        of_channel: impl Fn(usize) -> T,
    ) -> [T; LANES] {
        let lane = |lane| match lane < panel.width {
            true => of_channel((panel.start + lane) % self.channels),
            false => T::zero(),
        };
        std::array::from_fn(lane)
    }

    /// Adds each lane to the sum of its channel.
    pub(crate) fn fold<T: Real>(&self, panel: Panel, lanes: &[T; LANES], by_channel: &mut [f64]) {
        let end = self.channels.min(panel.start + panel.width);
        let sums = &mut by_channel[panel.start..end];
        for lanes in lanes[..panel.width].chunks(sums.len()) {
            sums.iter_mut()
                .zip(lanes)
                .for_each(|(sum, lane)| *sum += lane.in_f64());
        }
    }

    /// Means and Σ(x − mean)² of the rows of x, to `merged`. `block` holds the same of
    /// one block.
    ///
    /// The mean of a block is rounded to T before its squares are summed around it. That
    /// costs an error of n·(mean's rounding)², far below that of the sum.
    pub(crate) fn moments<T: Real>(&self, x: &[T], merged: &mut [f64], block: &mut [f64]) {
        let (mean, squares) = merged.split_at_mut(self.channels);
        mean.fill(0.0);
        squares.fill(0.0);
        let mut before = 0;
        for x in x.chunks(self.block) {
            let rows = x.len() / self.channels;
            block.fill(0.0);
            let (block_mean, block_squares) = block.split_at_mut(self.channels);
            for panel in self.panels() {
                self.fold(panel, &panel.sum(x), block_mean);
            }
            block_mean.iter_mut().for_each(|mean| *mean /= rows as f64);
            for panel in self.panels() {
                let mean = self.spread(panel, |c| T::nearest(block_mean[c]));
                self.fold(panel, &panel.squares(x, &mean), block_squares);
            }
            merge(before, (mean, squares), rows, (block_mean, block_squares));
            before += rows;
        }
    }
}

/// Merges the means and Σ(x − mean)² of other rows into those of the `before` rows
/// before them.
pub(crate) fn merge(
    before: usize,
    (mean, squares): (&mut [f64], &mut [f64]),
    rows: usize,
    (other_mean, other_squares): (&[f64], &[f64]),
) {
    let share = rows as f64 / (before + rows) as f64;
    let others = other_mean.iter().zip(other_squares);
    for ((mean, squares), (other_mean, other_squares)) in mean.iter_mut().zip(squares).zip(others) {
        let difference = other_mean - *mean;
        *mean += difference * share;
        *squares += other_squares + difference * difference * share * before as f64;
    }
}

impl Panel {
    /// Compiles `f`, which is given the panel's width, once for the full width, where
    /// the sums of all lanes stay in registers, and once for any other.
    #[inline(always)]
    pub(crate) fn with_width<R>(self, mut f: impl FnMut(usize) -> R) -> R {
        dispatched!(
            #[inline(always)]
            || match self.width {
                LANES => f(LANES),
                width => f(width),
            },
        )
    }

    /// Calls `f` with the place and the length of the panel's part of each group of
    /// rows; it may be short in the last.
    #[inline(always)]
    pub(crate) fn groups(self, len: usize, width: usize, mut f: impl FnMut(usize, usize)) {
        let whole = len - len % self.stride;
        for at in (0..whole).step_by(self.stride) {
            f(at + self.start, width);
        }
        let rest = (len - whole).saturating_sub(self.start).min(width);
        if rest > 0 {
            f(whole + self.start, rest);
        }
    }

    /// Σ x.
    pub(crate) fn sum<T: Real>(self, x: &[T]) -> [T; LANES] {
        self.with_width(
            #[inline(always)]
            |width| {
                let mut sums = [T::zero(); LANES];
                self.groups(
                    x.len(),
                    width,
                    #[inline(always)]
                    |at, width| {
                        let x = &x[at..][..width];
                        sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x);
                    },
                );
                sums
            },
        )
    }

    /// Σ (x − mean)².
    pub(crate) fn squares<T: Real>(self, x: &[T], mean: &[T; LANES]) -> [T; LANES] {
        self.with_width(
            #[inline(always)]
            |width| {
                let mut sums = [T::zero(); LANES];
                self.groups(
                    x.len(),
                    width,
                    #[inline(always)]
                    |at, width| {
                        let terms = x[at..][..width].iter().zip(mean);
                        for (sum, (&x, &mean)) in sums.iter_mut().zip(terms) {
                            *sum += (x - mean) * (x - mean);
                        }
                    },
                );
                sums
            },
        )
    }

    /// y = (x − mean)·slope + shift, cut off below 0 with the ReLU.
    pub(crate) fn normalise<T: Real>(self, x: &[T], lines: &Lines<T>, relu: bool, y: &mut [T]) {
        self.with_width(
            #[inline(always)]
            |width| {
                self.groups(
                    x.len(),
                    width,
                    #[inline(always)]
                    |at, width| {
                        let (x, y) = (&x[at..][..width], &mut y[at..][..width]);
                        for ((y, &x), line) in y.iter_mut().zip(x).zip(lines.lanes()) {
                            let value = line.at(x);
                            let cut = relu && value < T::zero();
                            *y = if cut { T::zero() } else { value };
                        }
                    },
                );
            },
        );
    }

    /// Σ dy and Σ dy·(x − mean), over what the ReLU lets through.
    pub(crate) fn gradient_sums<T: Real>(
        self,
        x: &[T],
        dy: &[T],
        lines: &Lines<T>,
        relu: bool,
    ) -> [[T; LANES]; 2] {
        self.with_width(
            #[inline(always)]
            |width| {
                let (mut by_shift, mut by_slope) = ([T::zero(); LANES], [T::zero(); LANES]);
                self.groups(
                    x.len(),
                    width,
                    #[inline(always)]
                    |at, width| {
                        let terms = x[at..][..width].iter().zip(&dy[at..][..width]);
                        let sums = by_shift.iter_mut().zip(&mut by_slope);
                        for ((sums, (&x, &dy)), line) in sums.zip(terms).zip(lines.lanes()) {
                            let dy = line.passed(x, dy, relu);
                            *sums.0 += dy;
                            *sums.1 += dy * (x - line.mean);
                        }
                    },
                );
                [by_shift, by_slope]
            },
        )
    }

    /// dx += slope·(dy − (mean_dy + (x − mean)·tilt)), dy being what the ReLU lets through.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn gradient<T: Real>(
        self,
        x: &[T],
        dy: &[T],
        lines: &Lines<T>,
        [mean_dy, tilt]: [&[T; LANES]; 2],
        relu: bool,
        dx: &mut [T],
        term: Term,
    ) {
        self.with_width(
            #[inline(always)]
            |width| {
                self.groups(
                    x.len(),
                    width,
                    #[inline(always)]
                    |at, width| {
                        let terms = x[at..][..width].iter().zip(&dy[at..][..width]);
                        let dx = dx[at..][..width].iter_mut().zip(terms);
                        let means = mean_dy.iter().zip(tilt);
                        for (((dx, (&x, &dy)), line), (&mean_dy, &tilt)) in
                            dx.zip(lines.lanes()).zip(means)
                        {
                            let dy = line.passed(x, dy, relu);
                            let share = line.slope * (dy - (mean_dy + (x - line.mean) * tilt));
                            *dx = if term == Term::Further {
                                *dx + share
                            } else {
                                share
                            };
                        }
                    },
                );
            },
        );
    }
}
