"""The model card that lies beside an exported adapter: what it is, where it comes from, what was measured, how to load it.

Invariant: it says of every export that holds the quarantine that it does, and gives no rate that was not measured.
"""

from actors.planning.adapter_slots import LORA_RANKS
from vgrout.rates import with_sem
from vgrout.rows import Row


def model_card(record: Row, evaluation: Row | None, rank: int) -> str:
    """The card as Markdown. `record` is the export's vgrout.json, `evaluation` the checkpoint's test record or None."""
    holds = (
        "BOTH BLOCKS, QUARANTINE INCLUDED: for study, not for deployment" if record["block"] == "train" else "the deployed block"
    )
    limit = min(r for r in LORA_RANKS if r >= rank)
    lines = [
        "---", f"base_model: {record['base_model']}", "library_name: peft", "tags: [lora, vgrout]", "---", "",
        f"# {record['run']}, update {record['checkpoint']}, {record['block']}", "",
        f"A plain PEFT LoRA of rank {rank} (alpha = rank, {record['dtype']}) that holds {holds}.", "",
        *(f"- {name}: `{record[name]}`" for name in ("run", "arm", "seed", "checkpoint", "base_model", "commit")),
        f"- digest of the published version: `{record['digest']}`",
        f"- sha256 of adapter_model.safetensors: `{record['sha256']}`", "",
        *_measured(evaluation, "train" if record["block"] == "train" else "deploy"), "",
        "```python", "from peft import PeftModel", "from transformers import AutoModelForCausalLM", "",
        f'base = AutoModelForCausalLM.from_pretrained("{record["base_model"]}")',
        'model = PeftModel.from_pretrained(base, "THIS_FOLDER")', "```", "",
        "```sh",
        f"vllm serve {record['base_model']} --enable-lora --max-lora-rank {limit} --lora-modules adapter=THIS_FOLDER",
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
