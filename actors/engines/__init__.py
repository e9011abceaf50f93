"""Engines: what samples rollouts, vLLM or transformers."""
