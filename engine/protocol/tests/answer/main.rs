//! Answer delivery: what readers make of answers, and what one server alone can do about it.

mod attacks;
mod verdicts;
mod views;
mod world;
