//! What the operator says of itself, and what it does with rows in each order.
