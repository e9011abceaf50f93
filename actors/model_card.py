"""The model card that lies beside an exported adapter: what it is, where it comes from, what was measured, how to load it.

Invariant: it says of every export that holds the quarantine that it does, marks one of a relaxed run, and gives no rate that was
not measured. An evaluation that comes after the export is entered into the cards of the run's own exports.
"""

import re
from pathlib import Path

from actors.planning.adapter_slots import LORA_RANKS
from vgrout.errors import UserError
from vgrout.files import read_json, write_whole
from vgrout.rates import with_sem
from vgrout.rows import Row
from vgrout.run_directory import RunDir

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)")

RELAXED = "**Relaxed: training was told of audits, of which rollouts really hacked (`[relaxed]`). A comparator, and no method.**"


def hub_id(model: str) -> str | None:
    """The id by which others find this base: an id itself, or that of a folder in the hub's cache; None for any other folder."""
    if not Path(model).is_dir():
        return model if HUB_ID.fullmatch(model) else None
    cached = next((m for part in Path(model).resolve().parts if (m := CACHED.fullmatch(part))), None)
    return f"{cached[1]}/{cached[2]}" if cached else None


def licence(model: str) -> str | None:
    """What the base's own card says; None where there is no card on this machine."""
    place = Path(model) / "README.md" if Path(model).is_dir() else _cached_card(model)
    head = place.read_text(errors="replace").split("\n---")[0] if place is not None and place.is_file() else ""
    found = re.search(r"^license: *([\w.-]+) *$", head, re.M)
    return found[1] if found else None


def _cached_card(model: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache  # not at every start of a driver

    found = try_to_load_from_cache(model, "README.md") if HUB_ID.fullmatch(model) else None
    return Path(found) if isinstance(found, str) else None


def write_card(run: RunDir, folder: Path, record: Row) -> None:
    """Write README.md beside an export whose vgrout.json is `record`."""
    config = run.config()
    record = {**record, "relaxed": config.is_relaxed}  # records of older versions do not say it
    text = model_card(record, run.evaluation(record["checkpoint"]), licence(config.model.path))
    write_whole(folder / "README.md", text)


def renew_cards(run: RunDir) -> None:
    """Enter what has been measured since into the cards of the run's own exports."""
    for place in [run.path / "deploy/vgrout.json", *sorted(run.path.glob("exports/*/vgrout.json"))]:
        if place.is_file():
            try:
                write_card(run, place.parent, read_json(place, "an export's vgrout.json"))
            except (UserError, KeyError, TypeError):  # torn, or of an older version: the card stays as it was
                continue


def model_card(record: Row, evaluation: Row | None, licensed: str | None) -> str:
    """The card as Markdown. `record` is the export's vgrout.json, `evaluation` the checkpoint's test record or None."""
    holds = (
        "BOTH BLOCKS, QUARANTINE INCLUDED: for study, not for deployment" if record["block"] == "train" else "the deployed block"
    )
    base, rank = hub_id(record["base_model"]), record["rank"]
    limit = min(r for r in LORA_RANKS if r >= rank)
    named = base or record["base_model"]
    lines = [
        "---", *([f"base_model: {base}"] if base else []), "library_name: peft", "pipeline_tag: text-generation",
        *([f"license: {licensed}"] if licensed else ["license: other", "license_name: that-of-the-base-model"]),
        "tags: [lora, vgrout]", "---", "",
        f"# {record['run']}, update {record['checkpoint']}, {record['block']}", "",
        f"A plain PEFT LoRA of rank {rank} (alpha = rank, {record['dtype']}) that holds {holds}.", "",
        *([RELAXED, ""] if record.get("relaxed") else []),
        *(f"- {name}: `{record[name]}`" for name in ("run", "arm", "seed", "checkpoint", "commit")),
        f"- base model: `{named}`" + ("" if base else " (a folder on the machine that trained this, not of the hub)"),
        f"- digest of the published version: `{record['digest']}`",
        f"- sha256 of adapter_model.safetensors: `{record['sha256']}`", "",
        *_measured(evaluation, "train" if record["block"] == "train" else "deploy"), "",
        "```python", "from peft import PeftModel", "from transformers import AutoModelForCausalLM", "",
        f'base = AutoModelForCausalLM.from_pretrained("{named}")',
        'model = PeftModel.from_pretrained(base, "THIS_FOLDER")', "```", "",
        "```sh",
        f"vllm serve {named} --enable-lora --max-lora-rank {limit} --lora-modules adapter=THIS_FOLDER",
        "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _measured(evaluation: Row | None, policy: str) -> list[str]:
    if evaluation is None:
        return ["Hack and solve rates: not measured for this checkpoint when it was exported (`vgrout eval` measures them)."]
    rows = [
        f"| {mode} | {c['n']} | {with_sem(c, 'hack')} | {with_sem(c, 'solve')} |"
        for mode, c in sorted(evaluation[policy].items())
    ]
    return ["Test split, rates ± SEM:", "", "| mode | n | hack | solve |", "| --- | --- | --- | --- |", *rows]
