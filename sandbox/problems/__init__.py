"""Problems: loading, prompts, partition and contamination."""
