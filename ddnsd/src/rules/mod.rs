//! What decides, without I/O, clock, chance or logging: the same input gives the same answer.

pub mod limit;
