"""One module for each command: its arguments and its `run`; help_texts.py has what `--help` says."""
