//! L4 stepsize adaptation and the optimisers it is compared with.
