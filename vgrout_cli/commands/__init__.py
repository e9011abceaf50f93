"""One module a command: its arguments and its `run`."""
