//! A message broker.
