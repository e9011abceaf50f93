"""Settings and words of the command line, good and bad, a row a case; each row names its kind of issue 12.

    1 what a run is made of    2 who owns a run directory    3 checked before it costs    4 not finite, negative, empty
    5 one message              6 two engines, one meaning    7 small

A row says what the command answers: a text that its one message holds (exit code 2), or STARTS / DONE where the input is fine.
"""

import pytest
from input_world import DONE, STARTS, World, call, check, refused


@pytest.fixture
def world(tmp_path):
    return World.make(tmp_path)


# --set's of a configuration: those of ../shared/cases/trainer/config_edges.py first.
SETS = [
    (4, "optim.lr=inf", "optim.lr"),
    (4, "optim.grad_clip=0", "optim.grad_clip"),
    (4, "optim.grad_clip=-1.0", "optim.grad_clip"),
    (4, "optim.betas=[1.5,0.99]", "optim.betas"),
    (4, "optim.betas=[0.9,1.0]", "optim.betas"),
    (4, "optim.weight_decay=nan", "optim.weight_decay"),
    (4, "optim.warmup=-5", "optim.warmup"),
    (4, "objective.kl=nan", "objective.kl"),
    (4, "objective.clip=-0.2", "objective.clip"),
    (4, "objective.importance_cap=0.0", "objective.importance_cap"),
    (4, "objective.importance_cap=-1.0", "objective.importance_cap"),
    (4, "rollout.temperature=inf", "rollout.temperature"),
    (4, "rollout.temperature=nan", "rollout.temperature"),
    (4, "rollout.temperature=0", "rollout.temperature"),
    (4, "rollout.samples=1", "rollout.samples"),
    (4, "rollout.max_new_tokens=1", STARTS),
    (4, "lora.rank=1", STARTS),
    (4, 'lora.targets=["q_proj","q_proj"]', "'q_proj' twice"),
    (4, 'data.modes=["sentinel","sentinel"]', "'sentinel' twice"),
    (4, "gate.upper_scale=-1.0", "gate.upper_scale"),
    (4, "gate.half_life=inf", "gate.half_life"),
    (4, "gate.fractions=[nan,0.5,0.5]", "gate.fractions"),
    (4, "runtime.kv_cache_mib=0", "runtime.kv_cache_mib"),
    (4, "runtime.canary_tolerance=nan", "runtime.canary_tolerance"),
    (4, "runtime.canary_tolerance=-1.0", "runtime.canary_tolerance"),
    (4, "runtime.grade_deadline_s=-1", "runtime.grade_deadline_s"),
    (4, "runtime.grade_deadline_s=nan", "runtime.grade_deadline_s"),
    (4, "runtime.watchdog_s=inf", "runtime.watchdog_s"),
    (4, "runtime.slice_s=inf", "runtime.slice_s"),
    (4, "eval.temperature=inf", "eval.temperature"),
    (4, "eval.temperature=nan", "eval.temperature"),
    (4, "seed=-1", "seed"),
    (4, "arm=vanilla", "--arm"),
    (4, 'preset="a/b"', "preset"),
    (4, "rollout.deploy_fraction=nan", "rollout.deploy_fraction"),
    (4, "train.updates=1_000", STARTS),
    (4, 'model.path=""', "model.path"),
    (4, "teacher.until=3", "teacher.until"),
    # our own
    (3, "data.validation=12", "data.validation"),
    (3, "data.validation=11", STARTS),
    (3, 'data.pair_tags=["general"]', "no pair tagged general"),
    (3, 'data.held_out=["sentinel"]', "a held-out mode"),
    (3, "rollout.prompt_limit=1", "prompts above the limit"),
    (3, "rollout.prompt_limit=10000000", "the model's positions"),
    (3, "rollout.max_new_tokens=385", "the model's positions"),
    (3, "rollout.max_new_tokens=384", STARTS),
    (3, "lora.rank=65536", "lora.rank"),
    (3, 'lora.targets=["no_such"]', "lora.targets: found no_such"),
    (3, 'lora.targets=["lm_head"]', "lora.targets: found lm_head"),
    (3, 'lora.targets=["embed_tokens"]', "lora.targets"),
    (3, 'lora.targets=["q_proj", "norm"]', "lora.targets: found norm"),
    (3, 'lora.targets=["q_proj "]', "lora.targets"),
    (3, 'lora.targets=["model.layers.0.self_attn.q_proj"]', "lora.targets"),
    (3, 'lora.targets=["all-linear"]', "lora.targets"),
    (3, 'lora.targets=["q_proj"]', STARTS),
    (3, "runtime.engine_gpus=1", "model.dtype: found float32 with vLLM on a GPU"),
    (3, "runtime.engine_tp=5", "runtime.engine_tp"),
    (3, 'runtime.packages=["no_such_module"]', "runtime.packages: found 'no_such_module'"),
    (3, "runtime.jail=L9", "runtime.jail"),
    (3, "runtime.placement=nowhere", "runtime.placement"),
    (3, "model.dtype=float16", "model.dtype"),
    (4, "optim.lr=", "optim.lr"),
    (4, "optim.lr=[1", "optim.lr"),
    (4, "optim.lr=1979-05-27", "optim.lr"),
    (4, "optim=1", "optim"),
    (4, "lr=1", "did you mean optim.lr?"),
    (4, "optim..lr=1", "section.field=value"),
    (4, "=1", "section.field=value"),
    (4, "optim.lr", "section.field=value"),
    (4, "seed=1.0", "seed"),
    (4, 'seed="1"', "seed"),
    (4, "seed=true", "seed"),
    (4, "train.micro_tokens=0", "train.micro_tokens"),
    (4, 'data.modes="sentinel"', "data.modes"),
    (4, "data.train=1", "data.train"),
    (4, 'preset="a\\nb"', "preset"),
    *((5, f"data.{name}={value}", says) for name in ("train", "test", "pairs") for value, says in (
        ("./nowhere.jsonl", "nowhere.jsonl: found no such file"), ("/", "/: found a folder"),
        ("/etc/passwd", "/etc/passwd:1: found invalid JSON"), ("~nobody-here/x", f"data.{name}: found '~nobody-here/x'"),
        ("/dev/zero", "/dev/zero: found no regular file"), ("/proc/self/mem", "found input/output error"),
        ("x" * 300, "file name too long"), ('"a\\u0000b"', f"data.{name}"),
    )),
    *((5, f"model.path={value}", "model.path") for value in (
        "./nowhere", "/", "/etc/passwd", "~nobody-here/x", "/dev/null", '"a b"', "é",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "outcome"), SETS, ids=lambda value: str(value)[:50])
def test_a_setting_is_obeyed_or_refused_before_anything_starts(world, monkeypatch, kind, text, outcome):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    check(call(world.train(text)), outcome)
    assert not (world.folder / "run").exists()
    check(call([*world.train(text), "--dry-run"]), DONE if outcome == STARTS or "no such file" in outcome else outcome)


# What is not there, or not of the kind asked for: (kind, words).
WORDS = [
    (5, "train", "vgrout train: found neither"),
    (5, "train nope", "one of qwen3-4b"),
    (5, "train tinny", "did you mean tiny"),
    (5, "train ./nope.toml", "no such file"),
    (5, "train /etc/passwd", "invalid TOML"),
    (5, "train tiny --arm nope", "--arm"),
    (4, "train tiny --arm=", "--arm"),
    (5, "train tiny --arm ./nope.toml", "no such file"),
    (4, "train tiny --seed -1", "seed"),
    (4, "train tiny --seed 99999999999999999999", "seed"),
    (5, "train tiny --resume x", "neither or both"),
    (5, "train --resume /nope", "/nope/run.json: found no such file"),
    (5, "train --resume /nope --arm vanilla", "--resume: found --arm"),
    (5, "train --resume /nope --resume-or-start", "--resume: found --resume-or-start"),
    (4, "train tiny --out=", "--out: found the working directory"),
    (5, "train tiny --out /etc/passwd", "/etc/passwd: found a file"),
    (5, "train tiny --out /etc/passwd/x", "a folder at every step"),
    (5, "train tiny --out /proc/x", "/proc/x"),
    (7, "train tiny --resume-or-start", "--resume-or-start: found no --out"),
    (5, "train tiny --accept-changes", "--accept-changes: found a new run"),
    (5, "train tiny --gpus 1", "without --dry-run"),
    (4, "train tiny --dry-run --gpus -1", "--gpus"),
    (4, "train tiny --dry-run --gpus 1000000000", "--gpus"),
    (4, "train tiny --dry-run --gpus 1 --gpu-memory-gib nan", "--gpu-memory-gib"),
    (4, "train tiny --dry-run --gpus 1 --gpu-memory-gib inf", "--gpu-memory-gib"),
    (4, "train tiny --dry-run --gpus 1 --gpu-memory-gib -3", "--gpu-memory-gib"),
    (5, "suite nope", "one of"),
    (5, "suite /etc/passwd", "invalid TOML"),
    (4, "suite tiny --parallel -1", "--parallel"),
    (5, "suite tiny --out /etc/passwd", "/etc/passwd"),
    (5, "simulate nope", "one of"),
    (4, "simulate cluster-size --seed -1", "seed"),
    (4, "simulate cluster-size --set optim.lr=nan", "optim.lr"),
    (5, "simulate cluster-size --set x=1", "x: found an unknown key"),
    (5, "report /nope", "neither suite.json nor run.json"),
    (5, "report /etc/passwd", "neither suite.json nor run.json"),
    (5, "report /nope --out /etc/passwd", "--out"),
    (5, "list /nope", "/nope: found no such folder"),
    (5, "compare /a /b", "/a/run.json: found no such file"),
    (4, "compare /a /b --last 0", "--last"),
    (5, "view /nope", "no run directory"),
    (5, "watch /nope", "no run.json"),
    (4, "watch /nope --last -1", "--last"),
    (5, "export /nope", "/nope/run.json"),
    (5, "eval /nope", "/nope/run.json"),
    (5, "eval-curve /nope", "/nope/run.json"),
    (4, "eval-curve /nope --every 0", "--every"),
    (5, "monitor /nope --out x", "/nope/run.json"),
    (5, "fetch /nope x", "no run.json"),
    (5, "data check-pairs /nope", "/nope: found no such file"),
    (5, "arms nope", "one of"),
    (5, "config nope", "vgrout config"),
    (5, "config optim.lrr", "optim.lr"),
    (5, "grade --problems /nope --completions /nope --out x", "/nope: found no such file"),
    (4, "grade --problems /nope --completions /nope --out x --workers 0", "--workers"),
    (4, "grade --problems /nope --completions /nope --out x --deadline nan", "--deadline"),
    (5, "grade --problems /nope --completions /nope --out /nope/x", "--out"),
    (5, "nope", "command"),
    (5, "trian", "did you mean train?"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "words", "says"), WORDS, ids=lambda value: str(value)[:60])
def test_words_of_the_command_line(tmp_path, monkeypatch, kind, words, says):
    monkeypatch.chdir(tmp_path)
    refused(call(words.split()), says)
    assert not list(tmp_path.iterdir())
