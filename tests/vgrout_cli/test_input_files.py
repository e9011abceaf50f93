"""Data files and model folders, good and bad, a row a case; each row names its kind of issue 12.

    1 what a run is made of    2 who owns a run directory    3 checked before it costs    4 not finite, negative, empty
    5 one message              6 two engines, one meaning    7 small

A row says what the command answers: a text that its one message holds (exit code 2), or STARTS / DONE where the input is fine.
"""

import json
import os
from pathlib import Path

import pytest
from input_world import DONE, STARTS, TINY, World, a_folder, call, check, edit, fields, gone, lines, put, refused, rows


@pytest.fixture
def world(tmp_path):
    return World.make(tmp_path)


def problem(**change):
    return edit(lambda data: data.replace(data.splitlines()[1], lines([json.loads(data.splitlines()[1]) | change]).strip()))


def content(text: str):
    """Put words before the second row's question."""

    def change(path: Path) -> None:
        made = [json.loads(line) for line in path.read_text().splitlines()]
        made[1]["prompt"][-1]["content"] = text + made[1]["prompt"][-1]["content"]
        path.write_bytes(lines(made))

    return change


# One file of the data changed. The first four are those of ../shared/cases/trainer/files.
EACH = ("train", "test", "pairs")
FILES = [
    (3, "over-long", ("train",), content("word " * 300), "1 prompts above the limit"),
    (4, "one pair", ("pairs",), put(lines(rows("pairs")[:1])), "1 pair in use"),
    (3, "control tokens", ("train",), content("<|im_end|>\n<|im_start|>assistant\nok<|im_end|>"), STARTS),
    (5, "half a surrogate", EACH, edit(lambda b: b.replace(b'"content": "', b'"content": "\\ud800', 1)), ":1, field prompt"),
    (3, "over-long", ("test",), content("word " * 300), "1 prompts above the limit"),
    (3, "over-long", ("pairs",), content("word " * 600), "pair"),
    (4, "two pairs", ("pairs",), put(lines(rows("pairs")[:2])), STARTS),
    (5, "the other half", EACH, edit(lambda b: b.replace(b'"content": "', b'"content": "\\udfff', 1)), "half a surrogate"),
    (5, "a whole pair of surrogates", ("train",), content("\U0001f600 "), STARTS),
    (4, "empty", EACH, put(b""), "an empty file"),
    (4, "empty lines alone", EACH, put(b"\n\n \n"), "an empty file"),
    (5, "byte order mark", EACH, edit(lambda b: b"\xef\xbb\xbf" + b), STARTS),
    (5, "Windows lines", EACH, edit(lambda b: b.replace(b"\n", b"\r\n")), STARTS),
    (5, "UTF-16", EACH, edit(lambda b: b.decode().encode("utf-16")), ":1: found bytes that are not UTF-8"),
    (5, "Latin-1", EACH, edit(lambda b: b.replace(b"the", b"\xe9", 1)), "bytes that are not UTF-8"),
    (5, "NUL bytes", EACH, edit(lambda b: b + b"\0\0\n"), "invalid JSON"),
    (5, "garbage at the end", EACH, edit(lambda b: b + b"garbage\n"), "invalid JSON"),
    (5, "torn", EACH, edit(lambda b: b[:-20]), "invalid JSON"),
    (5, "a key twice", EACH, edit(lambda b: b.replace(b'{"id":', b'{"id": 7, "id":', 1)), ":1: found the key 'id' twice"),
    (5, "a key twice below", EACH, edit(lambda b: b.replace(b'{"role":', b'{"role": "x", "role":', 1)), "'role' twice"),
    (4, "NaN", EACH, edit(lambda b: b.replace(b'{"id":', b'{"x": NaN, "id":', 1)), "NaN, which is no JSON"),
    (4, "-Infinity", EACH, edit(lambda b: b.replace(b'{"id":', b'{"x": -Infinity, "id":', 1)), "-Infinity, which is no JSON"),
    (5, "a list", EACH, edit(lambda b: b"[1]\n" + b), ":1: found a JSON list"),
    (5, "nested too deep", EACH, edit(lambda b: b"[" * 100_000 + b"\n" + b), ":1: found unreadable JSON"),
    (5, "a number of 5,000 digits", EACH, edit(lambda b: b'{"id":' + b"9" * 5000 + b"}\n" + b), "unreadable JSON"),
    (5, "a line of 10 MB", EACH, edit(lambda b: b'{"id": 1, "x": "' + b"a" * 10**7 + b'"}\n' + b), ":1, field"),
    (5, "a folder", EACH, a_folder, "found a folder"),
    (5, "a pipe", EACH, lambda path: (path.unlink(), os.mkfifo(path)), "found no regular file"),
    (5, "a circle of links", EACH, lambda path: (path.unlink(), path.symlink_to(path)), "ymlink loop"),
    (5, "an id twice", EACH, edit(lambda b: b + b.splitlines(keepends=True)[0]), "again (line 1)"),
    (5, "an id that is text", ("train", "test"), problem(id="1002"), "field id"),
    (5, "an id of 2**31", ("train", "test"), problem(id=2**31), "field id"),
    (5, "true for an id", ("train", "test"), problem(id=True), "field id"),
    (4, "no messages", EACH, problem(prompt=[]), "field prompt"),
    (5, "a message without a role", EACH, problem(prompt=[{"content": "x"}]), "field prompt"),
    (4, "no tests", ("train", "test"), problem(gt_answer=[]), "field gt_answer"),
    (5, "a test that does not split", ("train", "test"), problem(gt_answer=["assert 1"]), "test 1"),
    (5, "set-up code that is no Python", ("train", "test"), problem(setup_code="def"), "field setup_code"),
    (5, "a name that is no name", ("train", "test"), problem(func_name="Solution().a b"), "field func_name"),
    (5, "an unknown tag", ("pairs",), problem(tag="x"), ":2, field tag"),
    (4, "an empty side", ("pairs",), problem(clean=" "), ":2, field clean"),
    (4, "two equal sides", ("pairs",), problem(clean="x", hack="x"), ":2, field clean"),
    (3, "an over-long side", ("pairs",), problem(hack="word " * 600), "field hack"),
    (5, "a side with half a surrogate", ("pairs",), problem(hack="\ud800"), ":2, field hack"),
    (3, "the training problems again", ("test",), put(lines(rows("train"))), "in train and in test"),
]


@pytest.mark.parametrize(
    ("kind", "what", "name", "change", "outcome"),
    [
        pytest.param(kind, what, name, change, outcome, id=f"{kind}-{what}-{name}")
        for kind, what, names, change, outcome in FILES
        for name in names
    ],
)
def test_a_data_file(world, kind, what, name, change, outcome):
    change(world.folder / f"{name}.jsonl")
    check(call(world.train()), outcome)
    assert not (world.folder / "run").exists()
    if outcome != STARTS:
        check(call([*world.train(), "--dry-run"]), outcome)
    if outcome != STARTS and name == "train" and kind == 5:
        assert call(["data", "check", str(world.folder / "train.jsonl")]).code == 2


TEMPLATE = (TINY / "model/chat_template.jinja").read_text()
# One file of the model changed; the first twelve are those of ../shared/cases/trainer/model_variants.py.
MODELS = [
    (6, "rep", "generation_config.json", fields(repetition_penalty=1.5), STARTS),
    (6, "minp", "generation_config.json", fields(min_p=0.3, do_sample=True), STARTS),
    (6, "topp", "generation_config.json", fields(top_p=0.5, top_k=5, temperature=0.3, do_sample=True), STARTS),
    (6, "multieos", "generation_config.json", fields(eos_token_id=[2, 339]), STARTS),
    (5, "notemplate", "chat_template.jinja", gone, "chat_template is not set"),
    (6, "noeos", "tokenizer_config.json", fields(eos_token=None), STARTS),
    (6, "nopad", "tokenizer_config.json", fields(pad_token=None), STARTS),
    (6, "toktrunc", "tokenizer_config.json", fields(model_max_length=16), STARTS),
    (
        6,
        "syspt",
        "chat_template.jinja",
        put(TEMPLATE.replace("{% for", "<|im_start|>system\nBe good.<|im_end|>\n{% for", 1).encode()),
        STARTS,
    ),
    (3, "noweights", "model.safetensors", gone, "no weights"),
    (5, "notok", "tokenizer.json", gone, "model.path"),
    (5, "raisetpl", "chat_template.jinja", put(b"{{ raise_exception('Roles must alternate') }}"), "Roles must alternate"),
    # our own
    (5, "template: syntax", "chat_template.jinja", put(b"{% for m in messages %}"), "end of template"),
    (5, "template: undefined", "chat_template.jinja", put(b"{{ messages[0].nothing.at.all }}"), "no attribute 'nothing'"),
    (5, "template: type", "chat_template.jinja", put(b"{{ messages + 1 }}"), "chat template"),
    (5, "template: division by 0", "chat_template.jinja", put(b"{{ 1 // 0 }}"), "chat template"),
    (5, "template: endless", "chat_template.jinja", put(b"{% for i in range(10**9) %}{% endfor %}"), "chat template"),
    (5, "template: unsafe", "chat_template.jinja", put(b"{{ ''.__class__.__mro__ }}"), "unsafe"),
    (5, "template: Latin-1", "chat_template.jinja", put(b"\xe9{{ messages[0].content }}"), "model.path"),
    (4, "template: empty", "chat_template.jinja", put(b""), "leaves the question out"),
    (4, "template: constant", "chat_template.jinja", put(b"hello"), "leaves the question out"),
    (6, "an end outside the vocabulary", "generation_config.json", fields(eos_token_id=[2, 99999]), "eos_token_id: found 99999"),
    (6, "a negative end", "generation_config.json", fields(eos_token_id=-1), "eos_token_id: found -1"),
    (6, "an end that is text", "generation_config.json", fields(eos_token_id="</s>"), "eos_token_id: found '</s>'"),
    (5, "settings torn", "generation_config.json", put(b"{"), "generation_config.json"),
    (5, "settings that are a list", "generation_config.json", put(b"[]"), "generation_config.json"),
    (6, "no settings", "generation_config.json", gone, STARTS),
    (3, "weights torn", "model.safetensors", edit(lambda b: b[:1000]), "no whole safetensors file"),
    (3, "a byte short", "model.safetensors", edit(lambda b: b[:-1]), "no whole safetensors file"),
    (4, "weights empty", "model.safetensors", put(b""), "no whole safetensors file"),
    (3, "weights of zeros", "model.safetensors", edit(lambda b: bytes(len(b))), "no whole safetensors file"),
    (
        3,
        "an index without files",
        "model.safetensors.index.json",
        put(b'{"weight_map": {"a": "b.safetensors"}}'),
        "b.safetensors",
    ),
    (5, "an index that is none", "model.safetensors.index.json", put(b"[]"), "no index of weights"),
    (5, "tokenizer torn", "tokenizer.json", edit(lambda b: b[:1000]), "model.path"),
    (5, "tokenizer empty", "tokenizer.json", put(b"{}"), "model.path"),
    (5, "tokenizer's settings torn", "tokenizer_config.json", put(b"{"), "model.path"),
    (5, "tokenizer's settings a list", "tokenizer_config.json", put(b"[]"), "model.path"),
    (5, "config torn", "config.json", put(b"{"), "config.json"),
    (4, "config empty", "config.json", put(b""), "config.json"),
    (5, "config a list", "config.json", put(b"[]"), "/model"),
    (5, "config Latin-1", "config.json", put(b'{"a": "\xe9"}'), "config.json"),
    (5, "an unknown architecture", "config.json", fields(model_type="nosuch"), "nosuch"),
    (5, "no architecture", "config.json", fields(model_type=None, architectures=None), "/model"),
    (5, "an encoder", "config.json", fields(model_type="bert", architectures=["BertModel"]), "lora.targets"),
    (
        5,
        "an encoder and decoder",
        "config.json",
        fields(model_type="t5", architectures=["T5ForConditionalGeneration"]),
        "model.path",
    ),
    (4, "hidden size in words", "config.json", fields(hidden_size="many"), "hidden_size"),
    (4, "hidden size 0", "config.json", fields(hidden_size=0), "as config.json has it"),
    (3, "another hidden size", "config.json", fields(hidden_size=64), "as config.json has it"),
    (4, "no heads", "config.json", fields(num_attention_heads=0), "model.path"),
    (4, "no layers", "config.json", fields(num_hidden_layers=0), "num_hidden_layers"),
    (4, "fewer than no layers", "config.json", fields(num_hidden_layers=-1), "num_hidden_layers"),
    (4, "no positions", "config.json", fields(max_position_embeddings=0), "the model's positions"),
    (3, "few positions", "config.json", fields(max_position_embeddings=191), "the model's positions"),
    (3, "just enough positions", "config.json", fields(max_position_embeddings=192), STARTS),
    (3, "a small vocabulary", "config.json", fields(vocab_size=5), "ids up to"),
    (
        3,
        "a quantised base",
        "config.json",
        fields(quantization_config={"quant_method": "gptq", "bits": 4}),
        "a quantised base (gptq)",
    ),
]


@pytest.mark.parametrize(
    ("kind", "what", "name", "change", "outcome"), [pytest.param(*row, id=f"{row[0]}-{row[1]}") for row in MODELS]
)
def test_a_model_folder(world, kind, what, name, change, outcome):
    change(world.model / name)
    if name == "model.safetensors.index.json":
        gone(world.model / "model.safetensors")
    check(call(world.train()), outcome)
    check(call([*world.train(), "--dry-run"]), {STARTS: DONE}.get(outcome, outcome))


def test_a_turn_that_nothing_ends(world):
    fields(eos_token=None)(world.model / "tokenizer_config.json")
    fields(eos_token_id=None)(world.model / "generation_config.json")
    put(b"{% for m in messages %}{{ m.content }}{% endfor %}")(world.model / "chat_template.jinja")
    refused(call(world.train()), "end no turn")
