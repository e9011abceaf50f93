"""Text that a model wrote, made safe to look at: no control or direction mark acts, and colours come as (class, text) pairs.

Invariant: nothing here returns markup. The page puts every string on the screen as text.
"""

import unicodedata

from pygments import lex
from pygments.lexers import MarkdownLexer
from pygments.token import Comment, Keyword, Name, Number, String, _TokenType

MAX_SHOWN = 200_000
MAX_COLOURED = 20_000
ACTING = ("Cc", "Cf", "Cs")  # control, format (direction marks, zero width) and surrogate characters
CLASSES = ((Keyword, "keyword"), (String, "string"), (Comment, "comment"), (Number, "number"), (Name.Function, "function"))


def visible(text: str) -> str:
    """`text` with control, format and lone surrogate characters written out as \\xNN or \\uNNNN; at most MAX_SHOWN characters."""
    shown = "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else _escaped(c) for c in text[:MAX_SHOWN]
    )
    left = len(text) - MAX_SHOWN
    return shown + (f"\n[{left} more characters are not shown]" if left > 0 else "")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def coloured(text: str) -> list[tuple[str, str]]:
    """Pieces of visible text with the class of each ("" for plain): the code in its fences is coloured as Python."""
    shown = visible(text)
    if len(shown) > MAX_COLOURED or max(map(len, shown.split("\n"))) > 2_000:
        return [("", shown)]  # the lexer's time grows faster than the text
    return [(_class(kind), value) for kind, value in lex(shown, MarkdownLexer(stripnl=False))]


def _class(kind: _TokenType) -> str:
    return next((name for parent, name in CLASSES if kind in parent), "")
