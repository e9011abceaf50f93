"""`vgrout view` in a real browser: hostile text stays text, the page follows a run that grows, every tab draws.

It needs the package playwright (pip install vgrout[browser]) and a Chromium of the system; without them it is skipped.
"""

import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from synthetic import Size, write_run
from test_view import HOSTILE, add, audit, rollout

from vgrout_cli.view.server import app

sync_api = pytest.importorskip("playwright.sync_api", reason="the optional package playwright is not installed")
expect = sync_api.expect
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt install chromium)")

# Generous: these say that something happens at all. How fast it is, bench/view.py measures.
PATIENCE_MS = 30_000
MARKS = "\x1b[31mred\x1b[0m \u202ereversed\u202c zero\u200bwidth \x07"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens the page over some folders; fails the test at its end where the page had an error or opened a dialog."""
    servers, pages, errors = list[uvicorn.Server](), list[Any](), list[str]()

    def opened(*folders: Path) -> Any:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app(list(folders)), log_level="warning", access_log=False))
        threading.Thread(target=server.run, args=([listener],), daemon=True).start()
        servers.append(server)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: (errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        page.wait_for_selector("body[data-ready]")
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    for server in servers:
        server.should_exit = True
    assert errors == []


def await_that(holds: Callable[[], bool]) -> None:
    """Wait until something holds. Playwright's wait_for_function cannot: the page's policy refuses to evaluate text."""
    until = time.monotonic() + PATIENCE_MS / 1000
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def show(page: Any, tab: str) -> None:
    page.click(f"[data-tab={tab}]")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A run whose name, prompts, answers and notes try to be more than text."""
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"schema": 1, "config": {"arm": HOSTILE, "seed": 1, "train": {"updates": 3}}}))
    add(folder, "metrics.jsonl", {"update": 0, "rate/hack": 0.5, "per_mode": {"sentinel": {"n": 2, "hack": 1, "solve": 1}}})
    texts = [HOSTILE, f"```python\n{HOSTILE}\n{MARKS}\n```", "x" * 1_000_000]
    add(folder, "rollouts.jsonl", *(rollout(0, i, text=text, prompt=HOSTILE + MARKS) for i, text in enumerate(texts)))
    notes = {"error": HOSTILE}
    add(
        folder,
        "audits.jsonl",
        audit(0, 0, exploited=True, notes=notes),
        audit(0, 1, correct=True, mechanism=HOSTILE),
        audit(0, 2),
    )
    return folder


def test_hostile_text_is_shown_as_text_and_no_script_runs(open_page: Any, hostile: Path) -> None:
    page = open_page(hostile)
    for number in range(3):
        show(page, "rollouts")
        page.locator("#rollout-table tbody tr").nth(number).click()
        expect(page.locator("#one dd").first).to_contain_text(f"0-{number},", timeout=PATIENCE_MS)
    assert page.locator("#one pre").last.evaluate("node => node.scrollWidth <= node.clientWidth"), "a line of 1 MB is not broken"
    page.locator("#rollout-table tbody tr").nth(1).click()
    expect(page.locator("#one dd").first).to_contain_text("0-1,", timeout=PATIENCE_MS)
    seen = page.locator("#one").inner_text()
    assert "<script>document.title" in seen and "\\x1b[31mred" in seen and "\\u202ereversed" in seen and "\\u200bwidth" in seen
    assert not any(mark in seen for mark in "\x1b\u202e\u200b\x07")
    for tab in ("runs", "curves", "loopholes", "scores", "beside", "timeline"):
        show(page, tab)
    show(page, "loopholes")
    page.wait_for_selector("#examples article pre")
    assert page.title() == "vgrout view"
    # Were it taken as markup anywhere, there would be an image, or a script that is not the page's own.
    assert page.locator("img").count() == 0
    assert page.evaluate("[...document.scripts].map(s => s.getAttribute('src'))") == ["/static/uplot.js", "/static/view.js"]


def test_the_policy_of_the_page_refuses_inline_scripts_and_other_hosts(open_page: Any, hostile: Path) -> None:
    page = open_page(hostile)
    page.evaluate(
        """() => {
            window.refused = [];
            document.addEventListener("securitypolicyviolation", event => window.refused.push(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "window.owned = true";
            const image = document.createElement("img");
            image.src = "http://192.0.2.1/x.png";
            document.body.append(script, image);
            fetch("http://192.0.2.1/x").catch(() => {});
        }"""
    )
    await_that(lambda: page.evaluate("window.refused.length") >= 3)
    assert set(page.evaluate("window.refused")) == {"script-src-elem", "img-src", "connect-src"}
    assert page.evaluate("window.owned") is None


def test_the_page_follows_a_run_that_grows(open_page: Any, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "config": {"arm": "routev", "seed": 1, "train": {"updates": 9}}}))
    add(tmp_path, "metrics.jsonl", {"update": 0, "rate/hack": 0.125})
    page = open_page(tmp_path)
    assert page.locator("#run-table .hack").inner_text() == "0.125"
    show(page, "rollouts")
    expect(page.locator("#found")).to_contain_text("0 rollouts", timeout=PATIENCE_MS)
    began = time.monotonic()
    add(tmp_path, "rollouts.jsonl", rollout(1, 0, text="a new answer"))
    add(tmp_path, "audits.jsonl", audit(1, 0, exploited=True))
    add(tmp_path, "metrics.jsonl", {"update": 1, "rate/hack": 0.875})
    expect(page.locator("#rollout-table tbody .text")).to_have_text("a new answer", timeout=PATIENCE_MS)
    print(f"the page shows the new update {time.monotonic() - began:.2f} s after it was written")
    show(page, "runs")
    assert page.locator("#run-table tbody td").all_inner_texts()[4:7] == ["running", "2/9", "0.875"]


def test_every_tab_draws_two_runs_of_a_suite(open_page: Any, tmp_path: Path) -> None:
    for arm in ("routev", "vanilla"):
        write_run(tmp_path / arm / "seed1", arm, 1, Size())
        counts = {"sentinel": {"n": 4, "hack": 3, "solve": 1}}
        add(tmp_path / arm / "seed1", "metrics.jsonl", {"update": 4, "rate/hack": 0.75, "rate/solve": 0.25, "per_mode": counts})
    runs = {f"{arm}/seed1": {"status": "done"} for arm in ("routev", "vanilla")}
    runs |= {"placebo/seed1": {"status": "failed", "error": "out of memory"}}
    suite = {"suite": "small", "arms": ["routev", "vanilla", "placebo", "absorb"], "seeds": [1], "runs": runs}
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    spans = [["engine-0", "sample", 10.0, 12.0], ["learner", "update", 12.0, 13.0]]
    add(tmp_path / "routev/seed1", "timeline.jsonl", {"update": 0, "spans": spans})
    add(tmp_path / "routev/seed1", "fleet.jsonl", {"time": 11.0, "part": "engine-0", "what": "died: killed"})
    page = open_page(tmp_path)
    page.wait_for_selector(".grid")
    cells = page.locator(".grid tbody td").all_inner_texts()
    assert [cell.split()[0] for cell in cells] == ["finished", "finished", "failed", "missing"]
    assert "out of memory" in cells[2]
    page.locator(".grid td").nth(0).click()
    page.locator(".grid td").nth(1).click()
    assert page.locator("#chosen").inner_text() == "chosen: routev 1, vanilla 1"
    for tab in ("curves", "loopholes", "scores"):
        show(page, tab)
        page.wait_for_selector(f"#{tab} canvas")
    legend = page.locator("#curve-plots .u-legend").first.inner_text()
    assert "routev" in legend and "vanilla" in legend
    show(page, "beside")
    expect(page.locator("#beside-groups")).to_have_text("no rollouts in this update", timeout=PATIENCE_MS)
    page.fill("#beside-update", "3")
    page.wait_for_selector("#beside-groups pre")
    assert page.locator("#beside-body table").first.locator("td", has_text="gate.rule").count() == 1
    show(page, "timeline")
    page.wait_for_selector("#timeline canvas")
    busy = [row.split("\t") for row in page.locator("#timeline-busy table").first.inner_text().splitlines()[1:]]
    assert busy == [["engine-0", "2.00 s", "1.00 s", "67%"], ["learner", "1.00 s", "2.00 s", "33%"]]
    assert "died: killed" in page.locator("#timeline-busy table").nth(1).inner_text()


def test_the_browser_of_rollouts_filters_and_draws_the_layers(open_page: Any, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "config": {"arm": "routev", "seed": 1, "train": {"updates": 9}}}))
    rows = [rollout(i // 10, i % 10, text=f"answer {i}", layer_scores=[0.1, 0.2, -0.1]) for i in range(120)]
    add(tmp_path, "rollouts.jsonl", *rows)
    add(tmp_path, "audits.jsonl", *(audit(r["update"], int(r["id"].split("-")[1]), exploited=r["score"] > 0.07) for r in rows))
    page = open_page(tmp_path)
    show(page, "rollouts")
    page.select_option("[name=outcome]", "hack")
    page.fill("[name=min_score]", "0.085")
    page.fill("[name=text]", "answer 1")
    expected = [r["id"] for r in rows if r["score"] >= 0.085 and "answer 1" in r["text"]]
    expect(page.locator("#found")).to_contain_text(re.compile(f"^{len(expected)} rollouts"), timeout=PATIENCE_MS)
    assert page.locator("#rollout-table tbody td:nth-child(2)").all_inner_texts() == expected
    page.locator("#rollout-table tbody tr").first.click()
    page.wait_for_selector("#one .layers canvas")
    page.set_viewport_size({"width": 700, "height": 600})  # charts are drawn anew at another width
    await_that(lambda: page.locator("#one .layers canvas").evaluate("node => node.clientWidth") < 700)
