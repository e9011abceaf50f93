"""The asynchronous driver under a virtual clock."""
