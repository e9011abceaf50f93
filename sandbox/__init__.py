"""The environment: problems, prompts, four deliberate loopholes, a strict oracle and the jail that model-written code runs in.

For other libraries (docs/interop.md): `from sandbox import Grader, GradeJob, Mode, load_problems, render`. A name is imported
when it is first asked for, so that the process which runs model-written code has none of them.
"""

TYPE_CHECKING = False  # as typing's, which would be one more module in that process
if TYPE_CHECKING:
    from sandbox.grading.grader import Grader as Grader
    from sandbox.problems.load import load as load_problems
    from sandbox.problems.prompts import render as render
    from vgrout.records import GradeJob as GradeJob
    from vgrout.records import Mode as Mode

__all__ = ["GradeJob", "Grader", "Mode", "load_problems", "render"]

_PLACES = {
    "Grader": ("sandbox.grading.grader", "Grader"),
    "GradeJob": ("vgrout.records", "GradeJob"),
    "Mode": ("vgrout.records", "Mode"),
    "load_problems": ("sandbox.problems.load", "load"),
    "render": ("sandbox.problems.prompts", "render"),
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _PLACES[name]
    return getattr(import_module(module), attribute)
