"""Suites: arms x seeds from one file, resumable."""
