"""A mkdocs hook that turns the formulas of a page into MathML, which browsers show without any script or font.

`pymdownx.arithmatex` finds the formulas ($...$ and $$...$$); this file replaces each by MathML while the site is built.
A formula that cannot be converted ends the build with the page and the formula.
"""

import html
import re

from latex2mathml.converter import convert
from latex2mathml.exceptions import NoAvailableTokensError
from mkdocs.exceptions import PluginError

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def on_page_content(content: str, page, **_) -> str:
    """Called by mkdocs with the HTML of a page; returns the HTML with MathML in it."""

    def mathml(found: re.Match) -> str:
        display = "block" if found[2] == "[" else "inline"
        latex = html.unescape(found[3]).strip()
        try:
            return convert(latex, display=display)
        except (NoAvailableTokensError, KeyError, IndexError) as error:
            raise PluginError(f"{page.file.src_path}: cannot convert the formula {latex!r} ({error!r})") from error

    return FORMULA.sub(mathml, content)
