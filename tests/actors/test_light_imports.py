"""What a process does not import: the driver no torch, a grader neither torch nor ray. It is paid at every start."""

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

    from learner.tokenizer import _is_plain, _number, load_tokenizer

    ours, theirs = load_tokenizer(str(TINY)), AutoTokenizer.from_pretrained(TINY)
    assert _is_plain(TINY) and type(ours) is type(theirs)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    assert ours.chat_template == theirs.chat_template and ours.special_tokens_map == theirs.special_tokens_map
    about = AutoConfig.from_pretrained(TINY)
    for field in ("vocab_size", "max_position_embeddings"):
        assert _number(str(TINY), field) == getattr(about, field)
    for name in ("tokenizer_config.json", "config.json"):
        (tmp_path / name).write_text((TINY / name).read_text())
    (tmp_path / "config.json").write_text('{"model_type": "unknown", "vocab_size": 3}')
    assert not _is_plain(tmp_path) and _number(str(tmp_path), "vocab_size") is None
