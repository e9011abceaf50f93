"""What a process does not import: the driver no torch, a grader neither torch nor ray. It is paid at every start."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

TINY = Path("configs/tiny/model")
DRIVER = """
import vgrout_cli.main, actors.training, actors.sync_driver, actors.async_run.ray_executor, actors.ray_cluster.cluster
from pathlib import Path
from actors.rollouts.dataset import canary_of, load_dataset
from vgrout.config import load
canary_of(load_dataset(load(Path("tiny"))))
"""
GRADER = "import actors.ray_cluster.part, actors.ray_cluster.grader_worker"


@pytest.mark.parametrize(("code", "absent"), [(DRIVER, {"torch", "vllm"}), (GRADER, {"torch", "ray", "transformers"})])
def test_what_a_process_does_not_import(code, absent):
    listed = subprocess.check_output([sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"])
    assert not absent & set(json.loads(listed))


def test_the_plain_tokenizer_is_the_one_that_transformers_would_choose(tmp_path):
    from transformers import AutoConfig, AutoTokenizer

    from actors.planning.model_shape import shape_of
    from actors.planning.plain_shape import plain_shape
    from learner.model_config import plain_config
    from learner.tokenizer import _is_plain, load_tokenizer, model_positions

    ours, theirs = load_tokenizer(str(TINY)), AutoTokenizer.from_pretrained(TINY)
    assert _is_plain(TINY) and type(ours) is type(theirs)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    assert ours.chat_template == theirs.chat_template and ours.special_tokens_map == theirs.special_tokens_map
    assert model_positions(str(TINY)) == AutoConfig.from_pretrained(TINY).max_position_embeddings
    measured, plain = shape_of(str(TINY)), plain_shape(str(TINY))
    assert plain is not None
    for field in dataclasses.fields(plain):
        mine, built = getattr(plain, field.name), getattr(measured, field.name)
        if field.name == "tensors":
            assert mine.items() <= built.items() and len(mine) == 1 + 7 * plain.layers
        else:
            assert mine == built, field.name
    for name in ("tokenizer_config.json", "config.json"):
        (tmp_path / name).write_text((TINY / name).read_text())
    (tmp_path / "config.json").write_text('{"model_type": "unknown", "vocab_size": 3}')
    assert not _is_plain(tmp_path) and plain_config(str(tmp_path)) is None
