"""The text of a rollout's prompt, which rollouts.jsonl has in the first rollout of a group of an update alone."""

from vgrout.rows import Row


class GroupPrompts:
    """Puts the prompt back into the rows of one log, which come in its order. Older logs have it in every row."""

    def __init__(self) -> None:
        self._update: object = None
        self._texts: dict[object, str] = {}

    def fill(self, row: Row) -> Row:
        """The row with its prompt, where an earlier row of its group had it."""
        update, group = row.get("update"), row.get("group")
        if update != self._update:
            self._update, self._texts = update, {}
        if "prompt" in row:
            self._texts[group] = row["prompt"]
            return row
        return {**row, "prompt": self._texts[group]} if group in self._texts else row
