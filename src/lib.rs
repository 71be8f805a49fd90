//! Crore.
