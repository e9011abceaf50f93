"""Models that differ from the tiny one in a setting of their folder: the transformers engine samples what the config says.

Two kinds: settings of generation that must not be applied, and folders that are refused with one message.
"""

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from vgrout.errors import UserError
from vgrout.records import FinishReason, Message, Mode, SampleRequest, Sampling

TINY = Path(__file__).parents[2] / "configs/tiny/model"
END = 2  # <|im_end|>
SETTINGS = {
    "repetition penalty": {"repetition_penalty": 1.5},
    "repetition rewarded": {"repetition_penalty": 0.7},
    "min_p": {"min_p": 0.3, "do_sample": True},
    "top_p, top_k and temperature": {"top_p": 0.5, "top_k": 5, "temperature": 0.3, "do_sample": True},
    "typical_p": {"typical_p": 0.4, "do_sample": True},
    "suppressed tokens": {"suppress_tokens": [85, 87, 381]},
    "suppressed at the start": {"begin_suppress_tokens": list(range(3, 400))},
    "bad words": {"bad_words_ids": [[85], [87]]},
    "no n-gram twice": {"no_repeat_ngram_size": 2},
    "beams": {"num_beams": 3},
    "forced last token": {"forced_eos_token_id": 5},
    "minimal length": {"min_new_tokens": 20},
    "greedy": {"do_sample": False},
}


def variant(folder: Path, generation: dict | None = None, tokenizer: dict | None = None, template: str | None = "") -> Path:
    """A copy of the tiny model with changed settings; `template` None removes the chat template."""
    shutil.copytree(TINY, folder)
    for name, change in (("generation_config.json", generation), ("tokenizer_config.json", tokenizer)):
        if change:
            path = folder / name
            path.write_text(json.dumps(json.loads(path.read_text()) | change))
    if template is None:
        (folder / "chat_template.jinja").unlink()
    elif template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def sampled(config, learner, model: Path, temperature: float = 1.0):
    """Rollouts of a fresh transformers engine on `model`, and the largest gap to the learner's log-probabilities."""
    import torch

    from actors.engines.hf import HfEngine
    from learner.lora2r import Policy
    from learner.model import collate, gather, logprobs_GT
    from learner.tokenizer import encode_prompt

    config = dataclasses.replace(config, model=dataclasses.replace(config.model, path=str(model)))
    engine = HfEngine(config, learner.canary_ids())
    engine.load(learner.publish())
    prompt = encode_prompt(engine.tokenizer, (Message("user", "Return the sum of the values in nums."),))
    request = SampleRequest(0, 0, 1, Mode.SENTINEL, prompt, Sampling.TRAIN, tuple(range(4)), temperature, 24)
    rollouts = engine.generate([request])
    batch = collate(rollouts, "cpu")
    with torch.no_grad(), learner.lora.policy(Policy.TRAIN):
        expected = gather(batch, logprobs_GT(learner.model, batch))
    return rollouts, max((torch.tensor(r.logprobs) - e).abs().max().item() for r, e in zip(rollouts, expected, strict=True))


@pytest.fixture(scope="module")
def plain(config, learner):
    return sampled(config, learner, TINY)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_models_settings_of_generation_change_nothing(tmp_path, config, learner, plain, name):
    rollouts, gap = sampled(config, learner, variant(tmp_path / "model", SETTINGS[name]))
    assert [r.completion_ids for r in rollouts] == [r.completion_ids for r in plain[0]]
    assert gap < 1e-4


@pytest.mark.parametrize("count", [1, 3])
def test_a_completion_ends_at_the_first_id_of_the_models_list(tmp_path, config, learner, plain, count):
    written = Counter(i for r in plain[0] for i in r.completion_ids if i != END)
    more = [i for i, _ in written.most_common(count)]
    rollouts, gap = sampled(config, learner, variant(tmp_path / "model", {"eos_token_id": [END, *more]}))
    assert gap < 1e-4
    for r, before in zip(rollouts, plain[0], strict=True):
        stops = [place for place, one in enumerate(r.completion_ids) if one in (END, *more)]
        assert stops in ([], [len(r.completion_ids) - 1])
        assert (r.finish is FinishReason.STOP) == bool(stops)
        assert len(r.completion_ids) <= len(before.completion_ids) or before.finish is FinishReason.STOP
    assert any(r.completion_ids[-1] in more for r in rollouts)


@pytest.mark.parametrize(
    ("tokenizer", "template", "said"),
    [
        ({}, None, "chat template"),
        ({}, "{{ raise_exception('Conversation roles must alternate') }}", "Conversation roles must alternate"),
        ({}, "{% for m in messages %}{{ m.nothing.at.all }}{% endfor %}", "chat template"),
        ({}, "{% for m in messages %}", "chat template"),
    ],
)
def test_a_template_that_cannot_render_is_one_message(tmp_path, tokenizer, template, said):
    from learner.tokenizer import encode_prompt, load_tokenizer

    loaded = load_tokenizer(str(variant(tmp_path / "model", tokenizer=tokenizer, template=template)))
    with pytest.raises(UserError) as caught:
        encode_prompt(loaded, (Message("user", "hello"),))
    assert said in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("tokenizer", "template", "end"),
    [
        ({}, "", END),
        ({"eos_token": None}, "", END),  # the template says where a turn ends
        ({"eos_token": "<|im_start|>"}, "", END),  # an end of text that is not the end of a turn
        ({}, "{% for m in messages %}{{ m.content }}\n{% endfor %}", END),  # the end of text, where a turn ends in plain text
        ({"eos_token": None}, "{% for m in messages %}{{ m.content }}\n{% endfor %}", None),
    ],
)
def test_authored_completions_end_as_the_engines_stop(tmp_path, tokenizer, template, end):
    from learner.stop_ids import stop_ids
    from learner.tokenizer import encode_completion, load_tokenizer

    folder = variant(tmp_path / "model", tokenizer=tokenizer, template=template)
    loaded = load_tokenizer(str(folder))
    if end is None:
        with pytest.raises(UserError, match="end no turn"):
            encode_completion(loaded, "x")
        return
    assert encode_completion(loaded, "x")[-1] == end and end in stop_ids(str(folder), loaded)
