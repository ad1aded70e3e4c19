//! In-memory state of a container driver: an indexed store, resource accounting and per-container ordering.
