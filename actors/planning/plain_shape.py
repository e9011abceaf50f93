"""The shape of a plain base (learner/model_config.py) from its config.json alone, without torch.

Invariant: it is the shape that `shape_of` measures; the tests compare the two.
"""

from actors.planning.model_shape import Linear, ModelShape
from learner.model_config import plain_config


def plain_shape(path: str) -> ModelShape | None:
    """The shape, or None where the model has to be built to know it."""
    about = plain_config(path)
    if about is None:
        return None
    hidden, mlp, layers = (about[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    vocabulary = about["vocab_size"]
    heads, kv_heads, head_dim = (about[name] for name in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    queries, keys = heads * head_dim, kv_heads * head_dim
    attention = [("q_proj", hidden, queries), ("k_proj", hidden, keys), ("v_proj", hidden, keys), ("o_proj", queries, hidden)]
    feed = [("gate_proj", hidden, mlp), ("up_proj", hidden, mlp), ("down_proj", mlp, hidden)]
    tensors = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(layers):
        for part, linears in (("self_attn", attention), ("mlp", feed)):
            tensors |= {f"model.layers.{layer}.{part}.{name}.weight": (d_out, d_in) for name, d_in, d_out in linears}
    one = [Linear(*linear) for linear in (*attention, *feed)]
    per_layer = sum(linear.d_in * linear.d_out for linear in one) + 2 * hidden + 2 * head_dim
    tied = bool(about.get("tie_word_embeddings", False))
    active = layers * per_layer + hidden + vocabulary * hidden
    return ModelShape(
        layers=layers, hidden=hidden, heads=heads, kv_heads=kv_heads, head_dim=head_dim, vocabulary=vocabulary, mlp=mlp,
        mlp_kept=3 * mlp, norms=2 * hidden + queries + keys, parameters=active + (0 if tied else vocabulary * hidden),
        active=active, linears=tuple(one * layers), tensors=tensors,
    )  # fmt: skip
