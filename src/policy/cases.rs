//! Test cases beside the policies.
