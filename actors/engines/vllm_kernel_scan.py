"""vLLM's CPU worker looks for references to its Triton kernels in every loaded module; here only in its own.

Invariant: the same kernels are replaced, because only vLLM's modules name them. Looking through all 6,000 modules took a quarter
of a second at every start. Only in the vLLM version named here.
"""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

VLLM_VERSION = "0.32.0"


def narrow() -> None:
    """From now on this process looks in vLLM's modules only. Does nothing on another vLLM version."""
    import vllm
    from vllm.triton_utils import dispatcher

    stock: Callable[..., None] = dispatcher._rebind_kernels
    if vllm.__version__.split("+")[0] != VLLM_VERSION or hasattr(stock, "narrow"):
        return

    def rebind(overrides: Any) -> None:
        own = {name: module for name, module in list(sys.modules.items()) if name.split(".")[0] == "vllm"}
        with patch.object(dispatcher, "sys", SimpleNamespace(modules=own)):
            stock(overrides)

    rebind.narrow = True  # pyright: ignore[reportFunctionMemberAccess]
    dispatcher._rebind_kernels = rebind
