//! Pictures of the results.
