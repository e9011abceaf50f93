"""Values at the edges, a row a case, by kind: refused by name with what the field takes, or obeyed. Never silently void."""

import json
import math

import pytest

from vgrout.config import from_dict, load
from vgrout.errors import UserError
from vgrout.fields import fields_of, kind_of, variants
from vgrout.files import strict, to_json, write_json

REFUSED = {
    "not finite": (
        "optim.lr=inf", "optim.lr=nan", "optim.lr=-inf", "optim.weight_decay=nan", "optim.grad_clip=nan", "optim.grad_clip=inf",
        "optim.betas=[nan, 0.9]", "optim.betas=[0.9, inf]", "objective.kl=nan", "objective.kl=inf", "objective.clip=nan",
        "objective.importance_cap=nan", "objective.importance_cap=inf", "rollout.temperature=inf", "rollout.temperature=nan",
        "rollout.deploy_fraction=nan", "rollout.hint_free_share=nan", "eval.temperature=inf", "eval.temperature=nan",
        "gate.upper_scale=nan", "gate.upper_scale=inf", "runtime.canary_tolerance=nan", "runtime.canary_tolerance=inf",
        "runtime.grade_deadline_s=nan", "runtime.watchdog_s=inf", "runtime.slice_s=inf", "runtime.stop_s=inf",
        "runtime.suspect_s=nan", "runtime.dead_s=inf", "runtime.engine_memory=nan", "runtime.engine_gpus=nan",
        "runtime.learner_gpus=inf",
    ),
    "negative": (
        "optim.lr=-1e-4", "optim.grad_clip=-1.0", "optim.warmup=-5", "optim.weight_decay=-0.1",
        "optim.betas=[-0.1, 0.9]",
        "objective.kl=-1.0", "objective.clip=-0.2", "objective.importance_cap=-1.0", "objective.epochs=-1",
        "gate.upper_scale=-1.0",
        "gate.refresh_every=-1", "rollout.prompts=-1", "rollout.samples=-2", "rollout.deploy_fraction=-0.5",
        "train.updates=-1",
        "train.checkpoint_every=-1", "train.micro_tokens=-1", "eval.samples=-1", "eval.seed=-1", "eval.temperature=-1.0",
        "seed=-1",
        "data.validation=-1", "teacher.until=-1", "runtime.canary_tolerance=-1.0", "runtime.grade_deadline_s=-1",
        "runtime.restarts=-1",
        "runtime.max_staleness=-1", "runtime.max_lora_rank=-8",
        "lora.rank=-1",
    ),
    "zero": (
        "optim.grad_clip=0", "objective.clip=0", "objective.importance_cap=0.0", "objective.epochs=0",
        "rollout.temperature=0",
        "rollout.max_new_tokens=0", "rollout.prompt_limit=0", "rollout.prompts=0", "runtime.grade_deadline_s=0",
        "runtime.stop_s=0",
        "runtime.slice_s=0", "runtime.watchdog_s=0", "runtime.kv_cache_mib=0", "runtime.engines=0",
        "runtime.graders=0",
        "runtime.engine_memory=0", "runtime.engine_floor=0", "runtime.max_num_seqs=0", "eval.samples=0",
        "train.checkpoint_every=0",
    ),
    "out of range": (
        "optim.betas=[1.5, 0.99]", "optim.betas=[0.9, 1.0]", "optim.lr=10.0", "runtime.engine_memory=1.5",
        "runtime.engine_gpus=2",
        "rollout.deploy_fraction=1.5", "rollout.hint_free_share=1.5", "train.updates=10000000000",
        "lora.rank=100000000",
        "runtime.graders=1000000000", "seed=99999999999999999999", "runtime.stop_s=1e12",
        "optim.weight_decay=2.0",
    ),
    "empty": (
        "lora.targets=[]", 'lora.targets=[""]', "data.modes=[]", 'model.path=""', 'data.train=""', 'data.pairs=""', 'preset=""',
        "optim.betas=[]",
    ),
    "twice in a list": (
        'lora.targets=["q_proj", "q_proj"]', 'data.modes=["sentinel", "sentinel"]', 'data.pair_tags=["general", "general"]',
        'data.held_out=["sentinel", "sentinel"]',
    ),
    "wrong length": ("optim.betas=[0.9]", "optim.betas=[0.9, 0.9, 0.9]"),
    "wrong kind": (
        "optim.lr=fast", "train.updates=1.5", "train.updates=true", "lora.rank=[8]", "data.loopholes=1",
        "data.modes=sentinel",
        "optim.lr=2026-01-01", "gate=[]", "runtime={}x", 'preset="a/b"', 'preset="../x"',
        "model=tiny",
    ),
    "void": (
        "rollout.samples=1", "rollout.deploy_fraction=0.01", "rollout.deploy_fraction=0.99",
        "teacher.until=3",
        "teacher.per_prompt=2", "gate.rule=matched", "gate.probe_policy=initial", "gate.pin=hack",
        "gate.fractions=[0.5, 0.2, 0.3]",
        "arm=vanilla", "extends=tiny", 'data.modes=["gt_only"]', "runtime.suspect_s=400.0",
        "runtime.engine_floor=2",
    ),
}  # fmt: skip
OBEYED = (
    ("optim.lr=0", "optim", "lr", 0.0),
    ("optim.lr=1", "optim", "lr", 1.0),
    ("train.updates=1_000", "train", "updates", 1000),
    ("rollout.max_new_tokens=1", "rollout", "max_new_tokens", 1),
    ("lora.rank=1", "lora", "rank", 1),
    ("rollout.deploy_fraction=1", "rollout", "deploy_fraction", 1.0),
    ("runtime.canary_tolerance=0", "runtime", "canary_tolerance", 0.0),
    ("optim.warmup=0", "optim", "warmup", 0),
    ("rollout.deploy_fraction=.5", "rollout", "deploy_fraction", 0.5),  # as Python writes it, not TOML
    ("objective.kl=1.e-2", "objective", "kl", 0.01),
    ("rollout.temperature=1.", "rollout", "temperature", 1.0),
    ("gate.unit_pairs=True", "gate", "unit_pairs", True),
    ("gate.unit_pairs=False", "gate", "unit_pairs", False),
)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in REFUSED.items() for text in texts])
def test_an_edge_value_is_refused_by_name(kind, text):
    with pytest.raises(UserError) as refused:
        load("tiny", arm="routev", sets=[text])
    field = text.partition("=")[0]
    named = {"gate.rule": "gate.reference_run", "gate.probe_policy": "gate.refresh_every"}.get(field, field)
    assert named in refused.value.where, f"{kind}: {refused.value}"
    assert refused.value.found and refused.value.expected


@pytest.mark.parametrize(("text", "section", "name", "value"), OBEYED)
def test_an_edge_value_that_means_something_is_obeyed(text, section, name, value):
    assert getattr(getattr(load("tiny", sets=[text]), section), name) == value


def numbers():
    """Every number of the configuration: (section, field)."""
    from vgrout.config import Config

    for section, info in fields_of(Config).items():
        for kind in variants(info).values() or ([info.annotation] if hasattr(info.annotation, "__pydantic_fields__") else []):
            for name, field in fields_of(kind).items():
                if kind_of(field.annotation) in ("a number", "a whole number"):
                    yield section, kind, name


@pytest.mark.parametrize(("section", "kind", "name"), [pytest.param(*n, id=f"{n[1].__name__}.{n[2]}") for n in numbers()])
def test_no_number_of_any_section_takes_what_is_not_finite_or_is_huge(section, kind, name):
    table = load("tiny").to_dict()
    rule = {"rule": fields_of(kind)["rule"].default} if section == "gate" else {}
    matched = {"fractions": [0.5, 0.2, 0.3]} if rule.get("rule") == "matched" else {}
    for value in (math.nan, math.inf, -math.inf, -1, 10**40, "1", None, True):
        base = {**rule, **matched} if section == "gate" else table[section]
        with pytest.raises(UserError, match=name):
            from_dict({**table, section: {**base, name: value}}, "here")


@pytest.mark.parametrize(
    ("sets", "field"),
    [
        (["gate.score=dot", "gate.unit_pairs=true"], "gate.unit_pairs"),
        (["eval.null_draws=200", "runtime.learner_gpus=1"], "eval.null_draws"),
    ],
)
def test_fields_that_do_not_go_together_are_refused_by_name(sets, field):
    with pytest.raises(UserError) as refused:
        load("tiny", arm="routev", sets=sets)
    assert field in refused.value.where
    assert load("tiny", arm="routev", sets=[sets[0], "gate.unit_pairs=false"])


@pytest.mark.parametrize(
    ("preset", "arm", "sets", "field"),
    [
        ("tiny-teacher", "oracle_gate", [], "relaxed.use"),
        ("tiny", "probe_penalty", ["gate.route=rewarded"], "gate.route"),
        ("tiny", "advantage_modification", ["gate.route=rewarded"], "gate.route"),
        ("tiny", "activation_gate", ["gate.probe_positions=completion"], "gate.probe_positions"),
    ],
)
def test_an_arm_is_refused_beside_what_it_cannot_have(preset, arm, sets, field):
    with pytest.raises(UserError) as refused:
        load(preset, arm=arm, sets=sets)
    assert field in refused.value.where
    assert load("tiny", arm=arm)


def test_a_seed_is_said_once():
    assert load("tiny", sets=["seed=7"]).seed == 7 and load("tiny", seed=7, sets=["seed=7"]).seed == 7
    with pytest.raises(UserError, match="another seed"):
        load("tiny", seed=8, sets=["seed=7"])


def test_what_is_not_finite_is_null_in_every_json(tmp_path):
    value = {"a": math.nan, "b": [1.0, -math.inf, {"c": (math.inf, 2)}]}
    assert strict(value) == {"a": None, "b": [1.0, None, {"c": [None, 2]}]}
    write_json(tmp_path / "x.json", value)
    for text in (to_json(value), (tmp_path / "x.json").read_text()):
        assert json.loads(text, parse_constant=lambda word: pytest.fail(word)) == strict(value)
