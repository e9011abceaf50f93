"""`vgrout accept` on this machine: what needs no GPU passes, the rest says so, and a broken property fails its line."""

import pytest

from learner.acceptance import CheckStatus, Line, judged, learner_lines, not_here, page
from learner.lora2r import Lora2rLinear
from vgrout import pairs
from vgrout_cli.commands.accept import tiny
from vgrout_cli.main import main


def test_a_page_names_every_outcome_and_counts_them():
    text = page([judged("a", True, "1"), judged("long name", False, "2"), not_here("b", "no GPU")])
    assert text.splitlines() == [
        "a          pass      1", "long name  FAIL      2", "b          not here  no GPU", "1 pass, 1 FAIL, 1 not here",
    ]  # fmt: skip


def lines() -> dict[str, Line]:
    from pathlib import Path

    config = tiny(cuda=False)
    return {line.name: line for line in learner_lines(config, pairs.load(Path(config.data.pairs))[:4], 2**30)}


def test_the_learners_half_passes_here():
    found = lines()
    assert {line.outcome for line in found.values()} == {CheckStatus.PASS, CheckStatus.NOT_HERE}
    assert found["adapter exactly zero at the start"].found.endswith(" 0")
    assert found["two-rank NCCL"].outcome is CheckStatus.NOT_HERE


def test_an_adapter_that_is_not_zero_at_the_start_fails(monkeypatch):
    delta = Lora2rLinear.delta
    monkeypatch.setattr(Lora2rLinear, "delta", lambda self, *a: delta(self, *a) + 1e-3)
    found = lines()
    assert found["adapter exactly zero at the start"].outcome is CheckStatus.FAIL


@pytest.mark.slow
@pytest.mark.cluster
def test_the_whole_page_on_this_machine(capsys, tmp_path):
    assert main(["accept", "--out", str(tmp_path / "page.txt")]) == 0
    text = (tmp_path / "page.txt").read_text()
    assert text in capsys.readouterr().out, "the page was not printed"  # between lines that vLLM prints
    assert " 0 FAIL, " in text, text
    for name in ("resumed from update 1", "a killed engine is gone", "adapters of rank 128 and 256", "ten swaps"):
        assert any(line.startswith(name) and " pass " in line for line in text.splitlines()), name
