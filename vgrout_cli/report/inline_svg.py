"""Matplotlib's SVG made fit for a page: colours that follow the page's light or dark scheme, ids of its own, no metadata.

Invariant: the drawing stays as it is; every colour of the style becomes a CSS variable, so the page decides on its shade.
"""

import html
import re

from vgrout_cli.report.style import GRID, INK, LOOKS, OTHER

VARIABLES = {INK: "--ink", GRID: "--grid"} | {look.light: f"--arm-{name}" for name, look in (LOOKS | {"other": OTHER}).items()}


def palette(scheme: str) -> str:
    """CSS declarations of the arms' colours for `light` or `dark`."""
    return "".join(f"--arm-{name}:{getattr(look, scheme)};" for name, look in (LOOKS | {"other": OTHER}).items())


def inline(svg: str, name: str, text: str) -> str:
    """An <svg> element for a page. `name` makes its ids unique; `text` is read to those who cannot see it."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    head = f'<svg role="img" aria-label="{html.escape(text)}"'
    body = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", body)
    body = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", body)
    body = re.sub(r"\bxmlns(:xlink)?=\"[^\"]*\" ?", "", body)
    return head + body.removeprefix("<svg").replace("xlink:href", "href")
