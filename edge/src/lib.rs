//! The HTTP edge. It holds no truth.
