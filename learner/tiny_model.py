"""The tiny base model: a byte-level BPE tokenizer with a chat template and a Qwen3 of under a million parameters.

Invariant: everything follows from the texts and the seed (on one machine with the same number of threads, to the bit),
and the saved folder is a normal Hugging Face one that transformers, PEFT and vLLM load.
Sources: Qwen3 (Yang et al. 2025, arXiv 2505.09388); the chat format is ChatML.
Shapes: G demonstrations of a batch, T tokens, V vocabulary.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from learner.model import Tokens, collate
from learner.stop_ids import end_of_turn
from learner.tokenizer import encode_completion, encode_prompt
from vgrout.records import Message
from vgrout.seeds import stream

VOCABULARY = 640
CONTEXT = 512
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (  # `enable_thinking` is accepted, as every template variable is, and ignored: the model does not think
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Example:
    """One demonstration in token ids."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, messages: tuple[Message, ...], completion: str) -> "Example":
        """Encode a chat and its completion as the environment does."""
        return cls(encode_prompt(tokenizer, messages), encode_completion(tokenizer, completion))


@dataclass(frozen=True)
class Sft:
    """How the base is trained: `steps` batches of `batch` fresh demonstrations, AdamW, warm-up and cosine."""

    steps: int = 400
    batch: int = 48
    lr: float = 3e-3
    warmup: int = 20
    weight_decay: float = 0.01
    threads: int = 2


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of VOCABULARY tokens, merged on `texts`, that ends a turn with <|im_end|>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def new_model(
    tokenizer: PreTrainedTokenizerBase, seed: int, *, hidden: int = 128, inner: int = 384, layers: int = 4, head: int = 32
) -> Qwen3ForCausalLM:
    """An untrained Qwen3 (by default of about 0.87 million parameters) with tied embeddings, float32, and four heads."""
    torch.manual_seed(stream(seed, "tiny", "weights"))
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=head,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            eos_token_id=end_of_turn(tokenizer),
            pad_token_id=_padding(tokenizer),
            bos_token_id=None,
            dtype="float32",
        )
    )


def load_base(folder: Path) -> Qwen3ForCausalLM:
    """Load a saved tiny model in float32, ready to sample from."""
    return Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def fine_tune(model: Qwen3ForCausalLM, examples: Iterator[Tokens], sft: Sft, told: Callable[[int, float], None]) -> None:
    """Train `model` in place on the completions of `examples`; `told(step, loss)` hears of every step (nats per token)."""
    torch.set_num_threads(sft.threads)
    torch.use_deterministic_algorithms(True)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=sft.lr, betas=(0.9, 0.98), weight_decay=sft.weight_decay)
    for step in range(sft.steps):
        batch = collate(list(islice(examples, sft.batch)), "cpu")
        logits_GTV = model(input_ids=batch.ids_GT, use_cache=False).logits[:, :-1]
        target_GT = batch.completion_GT[:, 1:]
        loss = F.cross_entropy(logits_GTV[target_GT], batch.ids_GT[:, 1:][target_GT])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = sft.lr * rate(step, sft)
        optimizer.step()
        told(step, loss.item())
    model.eval()


def rate(step: int, sft: Sft) -> float:
    """Share of the peak learning rate at `step`: linear warm-up, then cosine to 0."""
    if step < sft.warmup:
        return (step + 1) / sft.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - sft.warmup) / max(1, sft.steps - sft.warmup)))


@torch.no_grad()
def sample(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[tuple[int, ...]],
    *,
    temperature: float,
    seed: int,
    limit: int = 64,
) -> list[str]:
    """One completion of each prompt, at most `limit` tokens, with transformers' generate (left-padded, in batches of 256)."""
    torch.manual_seed(seed)
    texts, padding = [], _padding(tokenizer)
    for start in range(0, len(prompts), 256):
        rows = prompts[start : start + 256]
        width = max(map(len, rows))
        ids_GT = torch.full((len(rows), width), padding)
        for row, ids in enumerate(rows):
            ids_GT[row, width - len(ids) :] = torch.tensor(ids)
        out_GT = model.generate(
            input_ids=ids_GT,
            attention_mask=(ids_GT != padding).long(),
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=limit,
            pad_token_id=padding,
        )
        texts += tokenizer.batch_decode(out_GT[:, width:], skip_special_tokens=True)
    return texts


def _padding(tokenizer: PreTrainedTokenizerBase) -> int:
    token = tokenizer.pad_token_id
    assert isinstance(token, int)
    return token
