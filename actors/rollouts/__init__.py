"""Groups of rollouts: what is sampled, how it is graded, and what is recorded of it."""
