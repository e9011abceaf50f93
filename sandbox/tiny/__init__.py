"""The embedded tiny bank of problems."""
