"""The date that chat templates are given (`strftime_now`): the day on which a run was begun, in all of its processes, for ever.

Invariant: it travels as an environment variable, so that actors on other machines have it too; without it, it is today.
"""

import datetime
import os
from collections.abc import Callable

VARIABLE = "VGROUT_TEMPLATE_DATE"


def today() -> str:
    """Today as a run records it."""
    return datetime.date.today().isoformat()


def fix(date: str) -> None:
    """Give templates this date from now on, here and in the actors that are started from here."""
    os.environ[VARIABLE] = date


def strftime_now() -> Callable[[str], str]:
    """What a template calls as `strftime_now(format)`: midnight of the fixed date."""
    date = os.environ.get(VARIABLE)
    moment = datetime.datetime.fromisoformat(date) if date else datetime.datetime.now()
    return moment.strftime
