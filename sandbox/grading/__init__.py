"""Grading: extraction, oracle and the four loopholes."""
