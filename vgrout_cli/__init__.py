"""The roof: commands, suites and reports. Imports every room; no room imports it."""
