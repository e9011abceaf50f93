"""The files of a base model (weights, tokenizer, chat template, settings) and their digests.

Invariant: every file that transformers or vLLM may read of a model folder is in `base_digests`, hidden ones left out. Of a hub id
those that this machine has, and the commit as `@revision`: a machine need not have them all.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from vgrout.files import file_sha256
from vgrout.ingredients import REVISION

SUFFIXES = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt", ".tiktoken", ".py")


def base_digests(path: str) -> dict[str, str]:
    """File name -> SHA-256 of the model's files; empty for a hub id that is not in this machine's cache."""
    local = Path(path).expanduser()
    if local.is_dir():
        return _digests(local)
    try:
        folder = Path(snapshot_download(path, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return {}
    return {REVISION: folder.name, **_digests(folder)}


def _digests(folder: Path) -> dict[str, str]:
    names = (p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.suffix in SUFFIXES and p.is_file())
    kept = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    with ThreadPoolExecutor(4) as pool:  # hashing lets go of the interpreter
        return dict(zip(map(str, kept), pool.map(lambda name: file_sha256(folder / name), kept), strict=True))
