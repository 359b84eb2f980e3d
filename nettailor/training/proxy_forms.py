"""Proxies of the user's own, by import path.

    student.proxies=my_proxies:depthwise        my_proxies.py lies where the user stands, or is installed

    def depthwise(site):                        blocks.proxies.Site: shapes of source and target, width of the block
        return nn.Sequential(...)               (B, C, H', W') -> (B, C', H', W')

Such a form is known by its import path from then on. A delta that uses one says so; because loading a file must not run
code that the file names, the user names it with --proxies when the delta is used.
"""

from __future__ import annotations

from blocks.proxies import CHOSEN, FORMS, register
from nettailor.errors import UsageError, did_you_mean
from nettailor.user_code import ImportPathError, import_path


def find_form(name: str) -> str:
    """Make sure that a form of proxy is known; one given by import path is imported and registered under that path.

    Raises:
        UsageError: there is no such form, or it can't be imported.
    """
    if name in CHOSEN or name in FORMS:
        return name
    if ":" not in name:
        known = [*FORMS, *CHOSEN]
        hint = did_you_mean(name, known, f"; there are {', '.join(known)}, and package.module:function")
        raise UsageError(f"student.proxies: there is no {name!r}{hint}")
    try:
        register(name)(import_path(name))
    except ImportPathError as error:
        raise UsageError(f"student.proxies: {name!r} {error}") from error
    return name
