"""Ray: actors, placement, capacity and what is watched."""
