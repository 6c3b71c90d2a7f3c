//! Limits on what weir itself adds to the load.

mod retry_budget;

pub use retry_budget::RetryBudget;
