"""An update in one line for the terminal."""

from vgrout.rows import Row

SHOWN = {
    "reward": "reward/mean",
    "hack": "rate/hack",
    "solve": "rate/solve",
    "KL": "kl/reference",
    "entropy": "entropy",
}
SHARES = ("clean", "mid", "hack")


def update_line(metrics: Row) -> str:
    """Reward, rates, label shares, KL, entropy, speed and staleness, as far as the update measured them."""
    said = [f"{word} {metrics[name]:.2f}" for word, name in SHOWN.items() if _known(metrics.get(name))]
    shares = [metrics.get(f"gate/share_{label}") for label in SHARES]
    if all(map(_known, shares)):
        said.insert(3, "/".join(SHARES) + " " + "/".join(f"{share:.2f}" for share in shares))
    said.append(f"{metrics['tokens_per_second']:.0f} tokens/s")
    ages = metrics["staleness"]
    if set(ages) - {"0"}:
        said.append(f"staleness {sum(int(age) * n for age, n in ages.items()) / sum(ages.values()):.1f}")
    return "  ".join(said)


def _known(value: object) -> bool:
    return isinstance(value, int | float) and value == value
