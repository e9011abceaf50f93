"""Ray: actors, placement, capacity and the watchdog."""
