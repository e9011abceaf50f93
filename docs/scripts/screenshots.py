"""Make the screenshots of docs/screenshots.md: terminal, page of `vgrout view`, report; light and dark; 1400 and 800 px.

    pip install -e .[browser] pyte && apt install chromium
    python docs/scripts/screenshots.py --runs out/screenshots [--out docs/figures/screens]

Where --runs holds no finished runs it trains two, of the tiny preset, on seed 42 (about five minutes on 2 cores), and keeps what
they wrote to their terminal. Nothing is painted by hand: the terminal is the recorded output, played into a terminal emulator.
"""

import argparse
import html
import io
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROWS, COLUMNS = 30, 118
WIDTHS, SCHEMES = (1400, 800), ("light", "dark")
COLOURS = 96  # of a PNG's palette
ARMS = ("routev", "vanilla")
EVERYWHERE = ("rollouts", "curves")  # tabs that are shown in both schemes and widths; the others once
ONCE = ("runs", "loopholes", "scores", "beside", "timeline")
VGROUT = [sys.executable, "-m", "vgrout_cli.main"]


def record(command: list[str], log: Path) -> None:
    """Run a command on a terminal of its own, and keep every byte that it writes."""
    main, side = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    child = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environment, start_new_session=True)
    os.close(side)
    with log.open("wb") as file:
        while chunk := _read(main):
            file.write(chunk)
    if child.wait():
        raise SystemExit(f"{' '.join(command)} failed: see {log}")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def make_runs(runs: Path) -> None:
    """Train, evaluate and report both arms, where that has not been done."""
    runs.mkdir(parents=True, exist_ok=True)
    for arm in ARMS:
        if not (runs / arm / "eval_curve.jsonl").exists():
            record([*VGROUT, "train", "tiny", "--arm", arm, "--seed", "42", "--out", str(runs / arm)], runs / f"{arm}.log")
            subprocess.run([*VGROUT, "eval-curve", str(runs / arm)], check=True)
    subprocess.run([*VGROUT, "report", *(str(runs / arm) for arm in ARMS), "--out", str(runs / "report")], check=True)


def screen(log: Path) -> str:
    """HTML of the last screen of a recorded terminal."""
    emulated = pyte.Screen(COLUMNS, ROWS)
    emulated.set_mode(pyte.modes.LNM)
    pyte.ByteStream(emulated).feed(log.read_bytes())
    lines = []
    for row in range(ROWS):
        cells = [emulated.buffer[row][column] for column in range(COLUMNS)]
        lines.append(
            "".join(f'<span class="{c.fg}{" bold" if c.bold else ""}">{html.escape(c.data)}</span>' for c in cells).rstrip()
        )
    while lines and not re.sub(r"<[^>]+>", "", lines[-1]).strip():
        lines.pop()
    sheet = (
        ":root{color-scheme:light dark}body{margin:0;padding:1rem;background:Canvas;color:CanvasText}"
        "pre{font:13px/1.35 ui-monospace,'DejaVu Sans Mono',monospace;margin:0}@media(max-width:1000px){pre{font-size:10.4px}}"
        ".bold{font-weight:bold}.green{color:light-dark(#14713f,#62d394)}.red{color:light-dark(#b3261e,#ff8a80)}"
        ".cyan,.blue{color:light-dark(#0067a5,#5cb5f2)}.brown,.yellow{color:light-dark(#7a5200,#e8b94a)}"
        ".magenta{color:light-dark(#a8478a,#e79dcb)}"
    )
    return f"<meta charset=utf-8><style>{sheet}</style><pre>{chr(10).join(lines)}</pre>"


@contextmanager
def viewer(runs: Path) -> Iterator[str]:
    """`vgrout view` over the runs; its address."""
    process = subprocess.Popen(
        [*VGROUT, "view", *(str(runs / arm) for arm in ARMS), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = re.search(r"http\S+", process.stdout.readline())
    try:
        yield address.group() if address else ""
    finally:
        process.terminate()


def save(page: Page, path: Path, height: int = 900) -> None:
    """A PNG with a small palette."""
    page.set_viewport_size({"width": page.viewport_size["width"] if page.viewport_size else 1400, "height": height})
    page.wait_for_timeout(700)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


def tab(page: Page, name: str) -> None:
    """Open a tab of the page, in a state that shows something."""
    page.click(f"[data-tab={name}]")
    page.wait_for_timeout(1000)
    if name == "rollouts":
        page.select_option("[name=outcome]", "hack")
        page.wait_for_timeout(500)
        page.locator("#rollout-table tbody tr").nth(3).click()
        page.wait_for_selector("#one .layers canvas")


def shoot(runs: Path, out: Path) -> None:
    """All pictures."""
    out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright, viewer(runs) as address:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in SCHEMES:
            for width in WIDTHS:
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                page.set_content(screen(next(log for arm in ARMS if (log := runs / f"{arm}.log").exists())))
                save(page, out / f"terminal-{scheme}-{width}.png", page.locator("pre").evaluate("node => node.offsetHeight + 32"))
                page.goto((runs / "report/report.html").resolve().as_uri())
                save(page, out / f"report-{scheme}-{width}.png", 1100)
                page.goto(address)
                page.wait_for_selector("body[data-ready]")
                for box in page.locator("#run-table input").all():
                    box.check()
                for name in (*EVERYWHERE, *(ONCE if (scheme, width) == (SCHEMES[0], WIDTHS[0]) else ())):
                    tab(page, name)
                    save(page, out / f"view-{name}-{scheme}-{width}.png")
                page.close()
        browser.close()


def main() -> None:
    """Make the runs where they are missing, and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/figures/screens"))
    args = parser.parse_args()
    make_runs(args.runs)
    shoot(args.runs, args.out)


if __name__ == "__main__":
    main()
