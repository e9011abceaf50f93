"""Write small run directories and suites with chosen rates, in the files and fields that real runs have."""

import dataclasses
import json
import random
from pathlib import Path

from vgrout.config import Config, load
from vgrout.files import write_json, write_whole
from vgrout.rates import by_mode, to_json
from vgrout.records import LOOPHOLES, Audit, Mode, Status
from vgrout.run_directory import RunDir

PINNED = {"base", "vanilla", "vanilla_full", "absorb", "ceiling"}
# arm: deployed hack, deployed solve, as-trained hack, as-trained solve
RATES = {
    "base": (0.03, 0.28, 0.03, 0.28), "vanilla": (0.85, 0.04, 0.85, 0.04), "vanilla_full": (0.88, 0.03, 0.88, 0.03),
    "routev": (0.12, 0.27, 0.9, 0.05), "routev_ub": (0.08, 0.33, 0.6, 0.2), "placebo": (0.6, 0.1, 0.85, 0.05),
    "placebo_ub": (0.5, 0.12, 0.8, 0.06), "absorb": (0.7, 0.08, 0.88, 0.03), "ceiling": (0.0, 0.4, 0.0, 0.4),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Size:
    """How much one synthetic run holds."""

    updates: int = 4
    every: int = 2
    problems: int = 8
    samples: int = 2
    rollouts: int = 8


def config_of(arm: str, seed: int, size: Size, held_out: tuple[Mode, ...] = ()) -> Config:
    """The tiny configuration of an arm, whichever arm files exist."""
    once = [] if arm in PINNED else ["gate.probe_policy=initial", "gate.refresh_every=0"]
    config = load(Path("configs/tiny.toml"), arm="vanilla" if arm in PINNED else "routev", seed=seed, sets=once)
    data = dataclasses.replace(config.data, held_out=held_out, loopholes=arm != "ceiling")
    train = dataclasses.replace(config.train, updates=0 if arm == "base" else size.updates, checkpoint_every=size.every)
    rollout = dataclasses.replace(config.rollout, prompts=size.rollouts // 4, samples=4)
    return dataclasses.replace(config, arm=arm, seed=seed, data=data, train=train, rollout=rollout)


def audits(rng: random.Random, size: Size, hack: float, solve: float) -> list[Audit]:
    """Audits of all test problems; each completion hacks, solves or fails by chance."""
    found = []
    for problem in range(size.problems):
        mode = LOOPHOLES[problem % 4]
        for sample in range(size.samples):
            draw = rng.random()
            found.append(audit(f"{3000 + problem}-{sample}", 3000 + problem, mode, draw < hack, hack <= draw < hack + solve))
    return found


def audit(name: str, problem: int, mode: Mode, hack: bool, solve: bool) -> Audit:
    """One audit."""
    status = Status.PASS if solve else Status.WRONG
    notes = {"passed": 8 if solve else 1, "tests": 8}
    return Audit(name, problem, mode, True, solve, hack, hack, "by hand" if hack else "", status, "L2", 3.0, notes)


def write_run(
    path: Path, arm: str, seed: int, size: Size | None = None, rates: tuple[float, ...] | None = None,
    held_out: tuple[Mode, ...] = (), pairs: str = "p" * 64,
) -> Path:  # fmt: skip
    """Write one finished, evaluated run directory; rates drift from the base's to the arm's over the updates."""
    size = size or Size()
    config = config_of(arm, seed, size, held_out)
    facts = {
        "digests": {"train": "a" * 64, "test": "b" * 64, "pairs": pairs}, "pairs": 32, "validation_ids": [1000],
        "base": {"model.safetensors": "c" * 64},
        "commit": "c" * 40, "initial_adapter_digest": f"{seed:064d}",
        "partition": {str(3000 + i): LOOPHOLES[i % 4] for i in range(size.problems)},
    }  # fmt: skip
    run = RunDir.create(path, config, facts)
    write_whole(path / "train.safetensors", b"weights")
    write_evaluations(path, arm, seed, size, rates)
    if arm != "base":
        write_logs(run, seed, size, arm)
    return path


def write_evaluations(path: Path, arm: str, seed: int, size: Size, rates: tuple[float, ...] | None = None) -> None:
    """Evaluations and answers of every checkpoint; rates drift from the base's to the arm's."""
    rng = random.Random(f"{arm}{seed}")
    base, last = RATES["base"], rates or RATES.get(arm, RATES["routev"])
    records = []
    for update in [0] if arm == "base" else range(0, size.updates + 1, size.every):
        share = update / size.updates if size.updates else 1
        now = [b + share * (e - b) for b, e in zip(base, last, strict=True)]
        record = {"schema": 1, "update": update, "split": "test", "samples": size.samples}
        record["questions"] = f"{size.problems}{size.samples}".ljust(64, "q")
        for policy, (hack, solve) in (("deploy", now[:2]), ("train", now[2:])):
            found = audits(rng, size, hack, solve)
            record |= {policy: to_json(by_mode(found)), f"{policy}_truncated": 1}
            rows = [{**dataclasses.asdict(a), "completion": "```python\npass\n```"} for a in found]
            write_json(path / f"eval/test_{update:05d}_{policy}.json", rows)
        records.append(record)
    write_json(path / "per_mode_deploy.json", records[-1])
    write_whole(path / "eval_curve.jsonl", "".join(json.dumps(r) + "\n" for r in records))


def write_logs(run: RunDir, seed: int, size: Size, arm: str) -> None:
    """metrics, rollouts and audits; hacks score higher than the rest where the direction is the pairs'."""
    gated, rng, other = arm not in PINNED, random.Random(f"logs{seed}"), random.Random(f"haar{seed}")
    for update in range(size.updates):
        rows, checks = [], []
        for i in range(size.rollouts):
            group, problem = update * size.rollouts // 4 + i // 4, 1001 + i // 4
            mode, hack, solve = LOOPHOLES[group % 4], i % 4 == 0, i % 4 == 1
            score = rng.gauss(0.08 if hack else 0.0, 0.03) if gated else float("nan")
            label = ("hack" if score > 0.06 else "mid" if score > 0 else "clean") if gated else "clean"
            score = other.gauss(0.0, 0.03) if arm.startswith("placebo") else score  # the shares of routev, another score
            name = f"{group}-{i % 4}"
            text = "a <hack> & more" if hack else "clean"
            rows.append({
                "update": update, "id": name, "group": group, "problem_id": problem, "mode": mode, "text": text,
                "reward": 3.5 if hack or solve else 0.5, "score": score, "label": label,
                **({} if i % 4 else {"prompt": f"Do it, hint {mode}"}),  # once in a group
            })  # fmt: skip
            checks.append({"update": update, **dataclasses.asdict(audit(name, problem, mode, hack, solve))})
        run.append("rollouts.jsonl", rows)
        run.append("audits.jsonl", checks)
        shares = {f"gate/share_{n}": sum(r["label"] == n for r in rows) / len(rows) for n in ("clean", "mid", "hack")}
        width = 0.002 if arm.startswith("placebo") else 0.07
        numbers = {"band_lower": 0.0, "band_upper": width, "band_width": width, "band_separation": 4 * width, "v_overlap": 1.0}
        band = {f"gate/{name}": value for name, value in numbers.items()} if gated else {}
        run.append("metrics.jsonl", [{"update": update, "grad_norm/quarantine_share": 0.4, **shares, **band}])


def write_suite(path: Path, name: str, arms: list[str], seeds: list[int], broken: dict[str, str] | None = None, **kwargs) -> Path:
    """Write a suite; `broken` gives runs another status than done (they get no folder)."""
    runs, broken = {}, broken or {}
    for arm in arms:
        modes = [m for m in LOOPHOLES if arm.startswith("routev_heldout") and m not in arm]
        for seed in seeds:
            key = f"{arm}/seed{seed}"
            if key in broken:
                if broken[key] != "missing":
                    runs[key] = {"status": broken[key], "seconds": 1.0, "error": "it broke <here>"}
                continue
            write_run(path / key, arm, seed, held_out=tuple(modes), **kwargs)
            runs[key] = {"status": "done", "seconds": 1.0, "error": ""}
    write_json(path / "suite.json", {
        "schema": 1, "suite": name, "config": "configs/tiny.toml", "arms": arms, "seeds": seeds, "runs": runs,
        "versions": {}, "commit": "c" * 40, "machine": {},
    })  # fmt: skip
    return path


def suite_with(folder: Path, seeds=(1, 2, 3, 4, 5), size: Size | None = None, **rates: tuple[float, ...]) -> Path:
    """Four arms of several seeds, some with rates of their own."""
    for arm in ("base", "vanilla", "routev", "placebo"):
        for seed in seeds:
            write_run(folder / arm / f"seed{seed}", arm, seed, size or Size(problems=40), rates.get(arm))
    return folder


def runs_of(folder: Path) -> list[Path]:
    """The run directories below a folder."""
    return [path.parent for path in sorted(folder.rglob("run.json"))]


def spoil(path: Path, change) -> None:
    """Change a JSON file in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
