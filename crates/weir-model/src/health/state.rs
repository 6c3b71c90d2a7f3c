//! From answers to health: counts in a row, with hysteresis.

/// What one probe found.
#[derive(Debug, Clone)]
pub enum Event {}

/// A change of health.
#[derive(Debug, Clone)]
pub enum Change {}

/// The state of one backend's checks.
#[derive(Debug, Default)]
pub struct HealthState {}
