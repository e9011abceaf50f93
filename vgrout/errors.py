"""The one exception that the command line turns into a single message and exit code 2.

Raise it for bad input only (a file, a config field, a command-line value, a machine that lacks something):
it names where, what was found and what was expected, so that a person can repair it without reading code.
"""


class UserError(Exception):
    """Bad input. `where` names file, line or field; `found` and `expected` are short phrases."""

    def __init__(self, where: str, found: str, expected: str) -> None:
        self.where, self.found, self.expected = where, found, expected
        super().__init__(f"{where}: found {found}; expected {expected}")

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        # Ray pickles exceptions across processes; the default would replay only the joined message.
        return (UserError, (self.where, self.found, self.expected))
