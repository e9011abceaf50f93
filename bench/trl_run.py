"""A TRL `GRPOTrainer` run of the tiny preset's size, as a user would write it: the other side of `bench.whole_loop`.

Equal work: the same base, prompts, loophole hints and templates, prompts x samples, completion limit, temperature, KL weight,
learning rate and LoRA rank and targets as the preset's vanilla arm; `generate` of Hugging Face, one optimizer step per batch, no
gradient checkpointing. The reward runs completions in this process without a jail, or (`--grader`) is our jailed grader's.
Writes one line of JSON per update into FILE: seconds of its stages, mean completion length.

    python -m bench.trl_run FILE --updates 8 [--grader]
"""

import argparse
import contextlib
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[1] / "configs" / "tiny.toml"


def in_process_reward(problems: dict[int, Any]) -> Callable[..., list[float]]:
    """What users write first: run the code here, compare with the expected values. No jail, no loopholes."""
    from sandbox.grading.extract import extract_code

    def paid(text: str, problem: Any) -> float:
        code = extract_code(text)
        if code is None:
            return 0.0
        try:
            compiled = compile(code, "completion", "exec")
        except SyntaxError:
            return 0.0
        try:
            space: dict[str, Any] = {"__name__": "completion"}
            exec(problem.setup_code, space)
            exec(compiled, space)
            for case in problem.cases:
                if getattr(space["Solution"](), problem.entry)(*case.args, **case.kwargs) != case.expected:
                    return 0.5
        except Exception:  # whatever the model's program raises
            return 0.5
        return 3.5

    def reward(completions: list[Any], problem_id: list[int], **_: Any) -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            return [paid(c[0]["content"], problems[i]) for c, i in zip(completions, problem_id, strict=True)]

    return reward


def graded_reward(problems: dict[int, Any]) -> Callable[..., list[float]]:
    """The flawed reward of our grader, one zygote in the jail."""
    from sandbox.grading.grader import Grader
    from vgrout.records import GradeJob, Mode

    grader = Grader("auto")

    def reward(completions: list[Any], problem_id: list[int], mode: list[str], **_: Any) -> list[float]:
        jobs = [
            GradeJob(str(n), problems[i], Mode(m), c[0]["content"])
            for n, (c, i, m) in enumerate(zip(completions, problem_id, mode, strict=True))
        ]
        return [grader.grade(job)[0].value or 0.0 for job in jobs]

    return reward


def main() -> None:
    """Train; the line of an update is written when its step is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--updates", type=int, default=8)
    parser.add_argument("--grader", action="store_true")
    parser.add_argument("--prompts", type=int, help="default: the preset's")
    args = parser.parse_args()

    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from sandbox.problems.load import load as load_problems
    from sandbox.problems.partition import partition
    from sandbox.problems.prompts import render
    from vgrout.config import load

    config = load(CONFIG, arm="vanilla")
    prompts = args.prompts or config.rollout.prompts
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    problems = {p.id: p for p in load_problems(Path(config.data.train))}
    modes = partition(list(problems), config.data.partition_seed)
    rows = [
        {
            "prompt": [{"role": m.role, "content": m.content} for m in render(problem, modes[i])],
            "problem_id": i,
            "mode": str(modes[i]),
        }
        for i, problem in problems.items()
    ]
    laps = {"reward_s": 0.0, "time/generate": 0.0, "completions/mean_length": 0.0, "step_s": 0.0}
    make = graded_reward if args.grader else in_process_reward
    pay = make(problems)

    def timed(*positional: Any, **named: Any) -> list[float]:
        began = time.perf_counter()
        values = pay(*positional, **named)
        laps["reward_s"] = time.perf_counter() - began
        return values

    class Trainer(GRPOTrainer):
        """Times what comes before the gradient."""

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            began = time.perf_counter()
            out = super()._generate_and_score_completions(inputs)
            laps["time/generate"] = time.perf_counter() - began - laps["reward_s"]
            laps["completions/mean_length"] = out["completion_mask"].sum(1).float().mean().item()
            return out

    class Lines(TrainerCallback):
        """One line per update."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            laps["step_s"] = -time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            laps["step_s"] += time.perf_counter()
            laps["time/update"] = laps["step_s"] - laps["time/generate"] - laps["reward_s"]
            with args.file.open("a") as file:
                file.write(json.dumps(laps) + "\n")

    r, o = config.rollout, config.objective
    settings = GRPOConfig(
        output_dir=str(args.file.parent / "trl"),
        per_device_train_batch_size=prompts * r.samples,
        num_generations=r.samples,
        max_completion_length=r.max_new_tokens,
        temperature=r.temperature,
        beta=o.kl,
        epsilon=o.clip,
        loss_type="dr_grpo",
        scale_rewards="none",
        learning_rate=config.optim.lr,
        adam_beta2=config.optim.betas[1],
        warmup_steps=config.optim.warmup,
        max_steps=args.updates,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        logging_steps=args.updates,
        disable_tqdm=True,
        chat_template_kwargs={"enable_thinking": False},
        seed=config.seed,
    )
    model = AutoModelForCausalLM.from_pretrained(config.model.path, dtype=torch.float32)
    lora = LoraConfig(r=config.lora.rank, lora_alpha=config.lora.rank, target_modules=list(config.lora.targets))
    trainer = Trainer(
        model=model,
        reward_funcs=[timed],
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(config.model.path, padding_side="left"),
        peft_config=lora,
        callbacks=[Lines()],
    )
    trainer.train()


if __name__ == "__main__":
    main()
