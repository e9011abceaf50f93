"""config.json of models that people plan for before they have downloaded them: the fields that decide sizes.

Invariant: a model folder or a downloaded config.json always wins over an entry here; nothing else reads these.
Sources: the published config.json of each model.
"""

from vgrout.rows import Row

QWEN3: Row = {"model_type": "qwen3", "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
                         "vocab_size": 151936, "tie_word_embeddings": True}  # fmt: skip
LLAMA3: Row = {"model_type": "llama", "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
                          "vocab_size": 128256, "tie_word_embeddings": False}  # fmt: skip
SMOLLM2_135M: Row = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
QWEN3_1_7B = {**QWEN3, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16}
QWEN3_4B = {**QWEN3, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36}
QWEN3_8B = {**QWEN3, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "tie_word_embeddings": False}
LLAMA_3_1_8B = {**LLAMA3, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}

KNOWN: dict[str, Row] = {
    "Qwen/Qwen3-1.7B": QWEN3_1_7B,
    "Qwen/Qwen3-4B": QWEN3_4B,
    "Qwen/Qwen3-8B": QWEN3_8B,
    "meta-llama/Llama-3.1-8B": LLAMA_3_1_8B,
    "meta-llama/Llama-3.1-8B-Instruct": LLAMA_3_1_8B,
    "HuggingFaceTB/SmolLM2-135M": SMOLLM2_135M,
    "HuggingFaceTB/SmolLM2-135M-Instruct": SMOLLM2_135M,
}
