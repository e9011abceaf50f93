"""The report of bench/streaming.py: ratios within a seed, shares over all groups, and a picture."""

from bench.streaming_report import draw, markdown


def run(setting, seed, seconds, ages, dropped):
    row = {"rate/hack": 0.25, "rate/solve": 0.5, "reward/mean": 1.0 + seed, "mismatch/kl": 1e-14, "staleness": ages,
           "dropped": dropped, "time/wait_rollouts": 0.1 * seconds, "rollouts": 8}  # fmt: skip
    return {"setting": setting, "seed": seed, "train_s": seconds, "updates": [row, {**row, "rate/hack": 0.75}]}


ABOUT = {"command": "C", "commit": "0123456789abcdef-dirty", "config": "tiny.toml", "set": ["a.b=1"],
         "machine": {"cpu": "X", "cores": 2, "system": "S"}}  # fmt: skip
RUNS = [
    run("sync", 1, 10.0, {"0": 3}, {}),
    run("async 1", 1, 5.0, {"1": 3}, {"over_age": 1}),
    run("sync", 2, 40.0, {"0": 3}, {}),
    run("async 1", 2, 30.0, {"0": 1, "1": 2}, {}),
]


def test_ratios_are_taken_within_a_seed_and_shares_over_all_groups(tmp_path):
    rows = {line.split("|")[1].strip(): line for line in markdown(ABOUT, RUNS).splitlines() if line.startswith("| ")}
    text = markdown(ABOUT, RUNS)
    # Ratios 5/10 and 30/40: mean 0.625, not 35/50; 12 groups consumed and 2 dropped; the learner waits 2 x 10% of its time.
    asynchronous = next(line for line in text.splitlines() if line.startswith("| async 1 | 17.5"))
    assert "| 0.62 ± 0.12 | 20% | 0: 17%, 1: 83% | over_age: 14.3% |" in asynchronous
    assert "0123456789ab-dirty" in text and rows["0"].endswith("0.25 / 0.50 / 2.50 | 0.25 / 0.50 / 2.50 |")
    draw(RUNS, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
