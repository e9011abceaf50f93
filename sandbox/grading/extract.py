"""Find the code in a completion: the text inside its ```python fence.

Invariant: pure text work, linear in the completion; the code is never parsed or compiled in the trusted process.
All 872 recorded rollouts hold exactly one ```python fence; where a model writes several, the last that defines a
`Solution` is its answer, and one that the token limit cut off counts to its end.
"""

import re

_FENCE = re.compile(r"^[ \t]*```[ \t]*(?:python3?|py)[ \t]*\r?\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE | re.IGNORECASE)


def extract_code(completion: str) -> str | None:
    """Return the code of a completion, or None where it has no ```python fence or an empty one."""
    blocks = [block for block in _FENCE.findall(completion) if block.strip()]
    answers = [block for block in blocks if "class Solution" in block]
    return (answers or blocks or [None])[-1]
