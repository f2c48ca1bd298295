//! Delivery against servers that do all that servers do.
