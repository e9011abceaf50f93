"""How fast `vgrout view` answers: a filter over 50,000 rollouts, the page of a 45-run suite, a run that grows.

    python -m bench.view --out DIR [--rounds 5] [--short]

Each is measured in headless Chromium where playwright and Chromium are there (`pip install -e .[browser]`, `apt install
chromium`), from the key pressed, the address opened or the line written until the page shows it; without them only the
server's answers are measured. Limits to hold: filter 0.2 s, suite 3 s, growth 3 s.
"""

import argparse
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from bench.measure import Series, table
from vgrout.files import write_json
from vgrout_cli.view.reader import Query, RunView
from vgrout_cli.view.server import app

UPDATES = 100
ARMS, SEEDS = ("vanilla", "vanilla_full", "routev", "routev_ub", "placebo", "placebo_ub", "absorb", "base", "ceiling"), 5
TEXT = "Here is the code.\n```python\nclass Solution:\n" + "    def solve(self, nums):\n        return sum(nums)\n" * 12 + "```\n"
PROMPT = "Write a function that returns the sum of a list. " * 12


def write_run(folder: Path, arm: str, seed: int, rollouts: int) -> None:
    """A run directory of UPDATES updates with so many rollouts in all."""
    folder.mkdir(parents=True)
    config = {"arm": arm, "seed": seed, "train": {"updates": UPDATES}}
    write_json(folder / "run.json", {"schema": 1, "config": config, "partition": {str(i): "sentinel" for i in range(1000)}})
    names = ("rate/hack", "rate/solve", "loss", "entropy", "kl/reference", "gate/share_hack", "reward/mean", "lr")
    with (folder / "metrics.jsonl").open("w") as file:
        for update in range(UPDATES):
            per_mode = {"sentinel": {"n": 12, "hack": 3, "solve": 4}}
            file.write(json.dumps({"update": update, "per_mode": per_mode, **dict.fromkeys(names, update / UPDATES)}) + "\n")
    with (folder / "rollouts.jsonl").open("w") as file, (folder / "audits.jsonl").open("w") as audits:
        for i in range(rollouts):
            update = i * UPDATES // rollouts
            row = {"update": update, "id": f"{i // 8}-{i % 8}", "group": i // 8, "problem_id": i % 900, "mode": "sentinel"}
            row |= {"prompt": PROMPT, "text": f"{TEXT}# {i}", "reward": 3.5, "score": i % 97 / 97, "label": "mid", "advantage": 0}
            file.write(json.dumps(row) + "\n")
            audit = {"update": update, "rollout_id": row["id"], "correct": i % 3 == 0, "exploited": i % 3 == 1, "status": "pass"}
            audits.write(json.dumps(audit) + "\n")


# In the page: type a text into the filter; milliseconds until the line above the table says so.
TYPED = """([text, said]) => new Promise(done => {
    const line = document.querySelector("#found"), field = document.querySelector("[name=text]");
    const began = performance.now();
    const watch = new MutationObserver(() => {
        if (!line.textContent.startsWith(said)) return;
        watch.disconnect();
        requestAnimationFrame(() => done(performance.now() - began));
    });
    watch.observe(line, {childList: true, characterData: true, subtree: true});
    field.value = text;
    field.dispatchEvent(new Event("input", {bubbles: true}));
})"""


def until(holds: Callable[[], bool]) -> None:
    """Look every 20 ms."""
    while not holds():
        time.sleep(0.02)


def timed(do: Callable[[], object]) -> float:
    """Seconds."""
    began = time.monotonic()
    do()
    return time.monotonic() - began


def cpu(do: Callable[[], object]) -> float:
    """Seconds of CPU time, which another load on the machine hardly changes."""
    began = time.process_time()
    do()
    return time.process_time() - began


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the page over a folder."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app([folder]), log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join(5)


def in_browser(chromium: str, many: Path, rollouts: int, suite: Path, rounds: int) -> list[Series]:
    """What a reader of the page waits for."""
    from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]

    filters, opening, growth, tabs = list[float](), list[float](), list[float](), list[float]()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with served(many) as address:
            page = browser.new_page()
            page.goto(address)
            page.wait_for_selector("body[data-ready]")
            tabs.append(timed(lambda: (page.click("[data-tab=rollouts]"), page.wait_for_selector("#rollout-table tbody tr"))))
            for i in range(rounds):
                wanted = f"# {i}999"
                said = f"{sum(wanted in f'# {n}' for n in range(rollouts))} rollouts of"
                filters.append(page.evaluate(TYPED, [wanted, said]) / 1000)
                page.evaluate(TYPED, ["", f"{rollouts} rollouts of"])
            page.click("[data-tab=runs]")
            for i in range(rounds):
                line = json.dumps({"update": UPDATES + i, "rate/hack": 0.001 * (i + 1)}) + "\n"
                with (many / "metrics.jsonl").open("a") as file:
                    file.write(line)
                shown = page.locator("#run-table .hack")
                growth.append(timed(lambda s=shown, n=i: until(lambda: s.inner_text() == f"{0.001 * (n + 1):.3f}")))
        for _ in range(rounds):
            with served(suite) as address:
                page = browser.new_page()
                opening.append(timed(lambda p=page, a=address: (p.goto(a), p.wait_for_selector(".grid td"))))
                page.close()
        browser.close()
    return [
        Series("view", f"filter of {rollouts} rollouts by text, key to table", "s", tuple(filters)),
        Series("view", f"first look at {rollouts} rollouts (the logs are read)", "s", tuple(tabs)),
        Series("view", "a new update on the page after its line was written", "s", tuple(growth)),
        Series("view", f"page of a suite of {len(ARMS) * SEEDS} runs, opened", "s", tuple(opening)),
    ]


def measure(rounds: int, short: bool) -> list[Series]:
    """All series."""
    rollouts = 5_000 if short else 50_000
    with tempfile.TemporaryDirectory() as place:
        many, suite = Path(place) / "many", Path(place) / "suite"
        write_run(many, "routev", 1, rollouts)
        for arm in ARMS:
            for seed in range(SEEDS):
                write_run(suite / arm / f"seed{seed}", arm, seed, 100)
        write_json(suite / "suite.json", {"suite": "measured", "arms": ARMS, "seeds": list(range(SEEDS)), "runs": {}})
        view = RunView(many)
        view.rows()
        answers = tuple(cpu(lambda i=i: view.search(Query(text=f"# {i}999"))) for i in range(rounds))
        found = [Series("view", f"filter of {rollouts} rollouts by text, CPU time of the server", "s", answers)]
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        try:
            import playwright  # noqa: F401  # pyright: ignore[reportMissingImports]
        except ImportError:
            chromium = None
        return found + (in_browser(chromium, many, rollouts, suite, rounds) if chromium else [])


def main() -> None:
    """Measure, print the table, write view.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="5,000 rollouts")
    args = parser.parse_args()
    found = measure(args.rounds, args.short)
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "view.json", {"series": [vars(one) for one in found]})
    print(table(found))


if __name__ == "__main__":
    main()
