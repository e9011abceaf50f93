"""Find the code in a completion: the readings of its fenced blocks, the published parser's first.

Invariant: pure text work, linear in the completion; the code is never parsed or compiled in the trusted process. The child
compiles the readings in order and runs the first that compiles, so a completion that the published parser can read is read
as the published parser does, and the other readings serve those that it cannot.

The published parser joins every ```python and unlabelled block, ended by the next ``` wherever it stands. The second reading
follows CommonMark: a fence is closed by a line of its own, as long and indented no further, so a docstring may hold a fence;
blocks are freed of their indent (a fence in a list item). The third leaves out the unlabelled blocks, which may hold prose.
"""

import re
import textwrap

_PUBLISHED = re.compile(r"```(?:python)?\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_OPENING = re.compile(r"^(?P<before>.*?)(?P<fence>`{3,}|~{3,})[ \t]*(?P<label>[\w+#.-]*)[ \t]*$")
_LABELS = ("python", "python3", "py")


def readings(completion: str) -> tuple[str, ...]:
    """The code of a completion as each reading has it, without doubles; empty where there is no fenced code."""
    text = completion.replace("\r\n", "\n").replace("\ufeff", "")
    blocks = _common_mark(text)
    found = [
        [block.strip() for block in _PUBLISHED.findall(text)],
        [block for label, block in blocks if not label or label in _LABELS],
        [block for label, block in blocks if label in _LABELS],
    ]
    joined = ["\n\n".join(block for block in reading if block.strip()) for reading in found]
    return tuple(dict.fromkeys(code for code in joined if code))


def extract_code(completion: str) -> str | None:
    """The first reading, or None where a completion holds no code."""
    return next(iter(readings(completion)), None)


def _common_mark(text: str) -> list[tuple[str, str]]:
    """(label, code) of every fenced block; one that the token limit cut off counts to its end."""
    blocks: list[tuple[str, str]] = []
    fence, label, indent, lines = "", "", 0, list[str]()
    for line in text.split("\n"):
        if not fence:
            if opening := _OPENING.match(line):
                fence, label = opening["fence"], opening["label"].lower()
                indent = len(opening["before"]) if not opening["before"].strip(" \t-*+0123456789.)>") else 0
                lines = []
            continue
        stripped = line.strip()
        if stripped.startswith(fence) and not stripped.strip(fence[0]) and len(line) - len(line.lstrip()) <= indent + 3:
            blocks.append((label, _dedent(lines)))
            fence = ""
        else:
            lines.append(line)
    if fence:
        blocks.append((label, _dedent(lines)))
    return blocks


def _dedent(lines: list[str]) -> str:
    return textwrap.dedent("\n".join(lines)).strip("\n")
