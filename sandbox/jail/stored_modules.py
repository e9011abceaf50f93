"""Modules that programs rarely import: their code is kept ready in memory and runs at the first import.

An imported module costs every fork and every end of a program, since all its pages are mapped and unmapped each time. Stored
code costs nothing until a program asks for it.

Invariant: the store is a private mapping of a file that has no name: a program that makes it writable changes a copy of its
own, which no other program sees.
"""

import marshal
import mmap
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

# Folders of the standard library's packages that no program imports.
_NOT_STORED = {"test", "tests", "idle_test", "__main__"}


class StoredModules:
    """A finder and loader for `sys.meta_path`."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """Store the code of those of `names`, and of the modules in them, that lie in `folder` and are not imported yet."""
        self._places: dict[str, tuple[Path, int, int]] = {}  # file, first byte and end of the code, by module name
        store = os.memfd_create("modules")
        at = 0
        for name, file in _sources(folder, names):
            try:
                code = SourceFileLoader(name, str(file)).get_code(name)
            except (SyntaxError, OSError, ValueError):  # a template, or a module of another version
                continue
            at += os.write(store, data := marshal.dumps(code))
            self._places[name] = (file, at - len(data), at)
        self._store = mmap.mmap(store, at, mmap.MAP_PRIVATE, mmap.PROT_READ)
        os.close(store)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of a stored module; None for any other."""
        if name not in self._places:
            return None
        file, _, _ = self._places[name]
        spec = spec_from_loader(name, self, origin=str(file), is_package=file.name == "__init__.py")  # type: ignore[arg-type]
        assert spec is not None
        spec.has_location = True  # so that the module has a __file__, as it has elsewhere
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(str(file.parent))
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """A plain module will do."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the stored code in the module."""
        _, first, end = self._places[module.__name__]
        exec(marshal.loads(self._store[first:end]), module.__dict__)


def _sources(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Name and file of every module of `names`, and of those below it, that is not imported yet and has a source."""
    for name in names:
        for file in [folder / f"{name}.py", *sorted((folder / name).rglob("*.py"))]:
            inner = file.relative_to(folder).with_suffix("")
            parts = inner.parent.parts if inner.name == "__init__" else inner.parts
            full = ".".join(parts)
            if file.exists() and full not in sys.modules and not _NOT_STORED.intersection(parts):
                yield full, file
