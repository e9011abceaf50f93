"""What both engines share: writing a published adapter as PEFT folders, and making a Rollout of a completion.

Invariant: the two engines write the same files and the same records for the same input.
"""

import json
from pathlib import Path

from learner.peft_folder import adapter_config
from vgrout.config import Config
from vgrout.lora_ranks import BLOCKS, export_rank
from vgrout.records import AdapterVersion, FinishReason, Rollout, SampleRequest, Sampling


def write_exports(folder: Path, adapter: AdapterVersion, config: Config) -> dict[Sampling, Path]:
    """Write both exports below `folder`, a PEFT folder for each policy.

    `learner.export.write_peft` is not used: only this process reads the folder, and fsync would take longer than the load.
    """
    places: dict[Sampling, Path] = {}
    exports = ((Sampling.TRAIN, adapter.train, BLOCKS), (Sampling.DEPLOY, adapter.deploy, adapter.deploy_blocks))
    for sampling, data, blocks in exports:
        place = folder / sampling
        place.mkdir(parents=True)
        (place / "adapter_model.safetensors").write_bytes(data)
        about = adapter_config(config.model.path, export_rank(config.lora.rank, blocks), config.lora.targets)
        (place / "adapter_config.json").write_text(json.dumps(about))
        places[sampling] = place
    return places


def rollout_of(
    request: SampleRequest,
    number: int,
    *,
    completion_ids: tuple[int, ...],
    logprobs: tuple[float, ...],
    text: str,
    finish: FinishReason,
    version: int,
    digest: str,
) -> Rollout:
    """The rollout that completion `number` of a request makes, written by the adapter `version` with `digest`."""
    index = request.first + number
    return Rollout(
        id=f"{request.group}-{index}",
        group=request.group,
        index=index,
        problem_id=request.problem_id,
        mode=request.mode,
        prompt_ids=request.prompt_ids,
        completion_ids=completion_ids,
        logprobs=logprobs,
        text=text,
        finish=finish,
        sampling=request.sampling,
        seed=request.seeds[number],
        version=version,
        digest=digest,
    )
