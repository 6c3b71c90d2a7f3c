//! Counts by the status that calls of gRPC end with.

use std::sync::OnceLock;

use super::Counter;
use crate::grpc;

/// One counter for each status; one writer. Takes hardly any memory until a call comes by.
#[derive(Debug, Default)]
pub struct GrpcCounter(OnceLock<Box<[Counter; grpc::WORDS.len()]>>);

impl GrpcCounter {
    /// Counts one call that ended with this status; what the protocol does not know is [`grpc::OTHER`].
    #[cold]
    pub fn count(&self, status: u8) {
        let counters = self.0.get_or_init(Box::default);
        counters[usize::from(status.min(grpc::OTHER))].add(1);
    }

    /// Label and count of every counter that is not zero: the number of the status, or `other`.
    pub fn nonzero(&self) -> impl Iterator<Item = (String, u64)> {
        let counters = self.0.get().into_iter().flat_map(|counters| counters.iter()).enumerate();
        counters.filter(|(_, counter)| counter.value() > 0).map(|(status, counter)| {
            let label =
                if status < usize::from(grpc::OTHER) { status.to_string() } else { "other".to_owned() };
            (label, counter.value())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_counted_apart_and_unknown_ones_together() {
        let calls = GrpcCounter::default();
        assert_eq!(calls.nonzero().count(), 0);
        [0, 0, 14, 16, 17, 200].into_iter().for_each(|status| calls.count(status));
        let counts: Vec<_> = calls.nonzero().collect();
        let of = |label: &str, count| (label.to_owned(), count);
        assert_eq!(counts, [of("0", 2), of("14", 1), of("16", 1), of("other", 2)]);
    }
}
