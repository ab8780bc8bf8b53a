//! Draws the tables and figures of the L4 paper from the JSON that repro writes.
