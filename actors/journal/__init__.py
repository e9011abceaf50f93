"""The journal of graded groups and batches, from which a run is replayed."""
