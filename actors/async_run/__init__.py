"""The asynchronous run: scheduler, ledger, health and staleness as state machines, and what carries them out."""
