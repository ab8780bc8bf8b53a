//! The data sets of the L4 paper: loaders, verification, synthetic tasks, batching.
