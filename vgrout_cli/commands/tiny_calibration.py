"""What the tiny base model does before any training: solve, hack and compile rates per mode, graded by the real grader.

Invariant: every test problem is asked in every mode, so the modes are compared on the same problems; the counts, and not
only the rates, are kept.
"""

from dataclasses import asdict
from pathlib import Path

from vgrout.progress import Progress
from vgrout.rates import Counts, by_mode
from vgrout.records import LOOPHOLES, GradeJob
from vgrout.rows import Row

TEMPERATURES = (0.7, 1.0)
SAMPLES = 2  # completions per test problem, mode and temperature


def calibrate(folder: Path, seed: int, samples: int = SAMPLES) -> dict[str, dict[str, Counts]]:
    """Sample and grade the test split of the world in `folder`: counts by temperature, then by mode and `all`."""
    from learner.tiny_model import load_base, sample
    from learner.tokenizer import encode_prompt, load_tokenizer
    from sandbox.grading.grader import Grader
    from sandbox.problems.load import load
    from sandbox.problems.prompts import render
    from vgrout.seeds import stream

    tokenizer, model = load_tokenizer(str(folder / "model")), load_base(folder / "model")
    asked = [(problem, mode) for problem in load(folder / "test.jsonl") for mode in LOOPHOLES for _ in range(samples)]
    prompts = [encode_prompt(tokenizer, render(problem, mode)) for problem, mode in asked]
    table: dict[str, dict[str, Counts]] = {}
    progress = Progress("calibrate: completions", len(TEMPERATURES) * len(asked))
    with Grader() as grader:
        for temperature in TEMPERATURES:
            draw = stream(seed, "tiny", "calibration", str(temperature))
            texts = sample(model, tokenizer, prompts, temperature=temperature, seed=draw)
            jobs = [GradeJob(str(i), *ask, text) for i, (ask, text) in enumerate(zip(asked, texts, strict=True))]
            table[f"{temperature}"] = by_mode(grader.grade(job)[1] for job in jobs)
            progress.step(f"T = {temperature}", len(asked))
    return table


def render_table(table: dict[str, dict[str, Counts]]) -> str:
    """The table as text, one line per temperature and mode."""
    lines = [f"{'T':>4}  {'mode':<14} {'n':>5}  {'solve':>6}  {'hack':>6}  {'compiles':>8}"]
    for temperature, modes in table.items():
        for name, c in modes.items():
            rates = f"{c.solve / c.n:>6.3f}  {c.hack / c.n:>6.3f}  {c.compiles / c.n:>8.3f}"
            lines.append(f"{temperature:>4}  {name:<14} {c.n:>5}  {rates}")
    return "\n".join(lines)


def as_json(table: dict[str, dict[str, Counts]]) -> Row:
    """The counts in plain JSON types."""
    return {t: {name: asdict(c) for name, c in modes.items()} for t, modes in table.items()}
