"""One JSON object with named fields, as a log or a file holds it."""

from typing import Any

# The fields of each kind of row are listed in docs/reference/run-directory.md and docs/reference/metrics.md.
Row = dict[str, Any]
