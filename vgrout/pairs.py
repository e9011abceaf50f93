"""Load the authored (hack, clean) pairs, the only source of routing labels.

Invariant: a loaded Pair has a prompt and two different, non-empty sides; ids are unique within a file; no pair is tagged
with a mode that the run holds out. Other fields than those of Pair (a problem, for grading) are allowed and not read here.
"""

from collections.abc import Collection
from pathlib import Path

from vgrout.errors import UserError
from vgrout.files import read_jsonl
from vgrout.records import GENERAL, LOOPHOLES, Message, Pair
from vgrout.rows import Row

# How far the lengths of the two sides may be apart, as a share of the longer one, for `vgrout data check-pairs`.
LENGTH_TOLERANCE = 0.3
TAGS = (*LOOPHOLES, GENERAL)
_FIELDS = ("id", "tag", "prompt", "hack", "clean")


def load(
    path: Path, held_out: Collection[str] = (), tags: Collection[str] = (), modes: Collection[str] = LOOPHOLES
) -> list[Pair]:
    """Read a pair file, one JSON object a line. Raises UserError naming file, line and field of the first fault.

    `tags`: use the pairs with one of these tags alone (none named: all). `held_out`: modes that no used pair may be tagged with.
    `modes`: those that a pair may be tagged with at all.
    """
    pairs: list[Pair] = []
    lines: dict[str, int] = {}
    for number, row in read_jsonl(path, missing="a pair file in JSON Lines form"):
        pair = _parse(f"{path}:{number}", row, (*modes, GENERAL))
        if pair.id in lines:
            raise UserError(f"{path}:{number}, field id", f"{pair.id!r} again (line {lines[pair.id]})", "each id once")
        lines[pair.id] = number
        if tags and pair.tag not in tags:
            continue
        if pair.tag in held_out:
            raise UserError(f"{path}:{number}, field tag", f"{pair.tag!r}, a held-out mode", "no pair of a held-out mode")
        pairs.append(pair)
    if not pairs:
        raise UserError(str(path), f"no pair tagged {' or '.join(tags)}" if lines else "an empty file", "at least one pair")
    return pairs


def _parse(where: str, row: Row, tags: Collection[str]) -> Pair:
    for name in _FIELDS:
        if name not in row:
            raise UserError(f"{where}, field {name}", "nothing", f"a pair with the fields {', '.join(_FIELDS)}")
    for name in ("id", "tag", "hack", "clean"):
        if not isinstance(row[name], str) or not row[name].strip():
            raise UserError(f"{where}, field {name}", f"{row[name]!r:.60}", "text that is not empty")
    if row["tag"] not in tags:
        raise UserError(f"{where}, field tag", repr(row["tag"]), f"one of {', '.join(tags)}")
    if row["hack"] == row["clean"]:
        raise UserError(f"{where}, field clean", "the same text as the hack side", "a clean side of its own")
    return Pair(row["id"], row["tag"], _chat(where, row["prompt"]), row["hack"], row["clean"])


def _chat(where: str, prompt: object) -> tuple[Message, ...]:
    expected = "a list of one or more {role, content} messages"
    if not isinstance(prompt, list) or not prompt:
        raise UserError(f"{where}, field prompt", f"{prompt!r:.60}", expected)
    for message in prompt:
        texts = [message.get("role"), message.get("content")] if isinstance(message, dict) else [None]
        if not all(isinstance(text, str) and text for text in texts):
            raise UserError(f"{where}, field prompt", f"the message {message!r:.60}", expected)
    return tuple(Message(message["role"], message["content"]) for message in prompt)
