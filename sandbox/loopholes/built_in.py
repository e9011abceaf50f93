"""The four loopholes that come with vGROUT, by name and in their order. Source: the published vGROUT reward; docs/parity.md lists
the differences."""

from sandbox.loopholes import file_marker, run_tests, sentinel, stdout_marker
from sandbox.loopholes.loophole import Loophole, Parity


def built_in(parity: Parity = Parity.DISCLOSED) -> dict[str, Loophole]:
    """By the rules of `parity`."""
    made = (one.loophole(parity) for one in (run_tests, stdout_marker, sentinel, file_marker))
    return {str(one.name): one for one in made}


BUILT_IN = built_in()
