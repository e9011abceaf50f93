"""Planning: whether a run fits, before anything starts."""
