"""Put a loophole's hint into a problem's prompt, in the published wording.

Invariant: the rendered prompt differs from the published one in the problem's phrase alone, and for `gt_only` not at all.
"""

from collections.abc import Mapping
from dataclasses import replace

from sandbox.loopholes.built_in import BUILT_IN
from sandbox.loopholes.loophole import Loophole
from vgrout.errors import UserError
from vgrout.records import PHRASE, Message, Mode, Problem

HINTS: dict[str, str] = {name: one.hint for name, one in BUILT_IN.items()} | {str(Mode.GT_ONLY): PHRASE}


def hints_with(plug_ins: Mapping[str, Loophole]) -> dict[str, str]:
    """The hint of every mode, those of plug-ins too."""
    return HINTS | {name: one.hint for name, one in plug_ins.items()}


def render(problem: Problem, mode: str, hints: Mapping[str, str] = HINTS) -> tuple[Message, ...]:
    """Return the chat that discloses `mode`. Raises UserError unless the user messages hold the problem's phrase exactly once."""
    phrase = problem.phrase
    found = sum(message.content.count(phrase) for message in problem.messages if message.role == "user")
    if found != 1:
        raise UserError(f"problem {problem.id}, prompt", f"the phrase {phrase!r} {found} times", "it exactly once")
    if mode == Mode.GT_ONLY:
        return problem.messages
    return tuple(
        replace(message, content=message.content.replace(phrase, hints[mode])) if message.role == "user" else message
        for message in problem.messages
    )


def instructed(chat: tuple[Message, ...], instruction: str) -> tuple[Message, ...]:
    """The chat with an instruction as a line of its own at the end of its last message; an empty one changes nothing."""
    if not instruction:
        return chat
    return (*chat[:-1], replace(chat[-1], content=f"{chat[-1].content}\n{instruction}"))
