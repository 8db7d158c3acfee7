"""Training: a job, the session that runs it, the loop, and what each player needs.

The package's name is also what people call: ``gentool.train("vae", epochs=1)``. A module that is
imported becomes an attribute of its package, in the place of any function of that name, so this
module is made callable; the call is `gentool.api.train`.
"""

from __future__ import annotations

import sys
from pkgutil import resolve_name
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, model: str, /, **options: Any) -> Any:
        """See `gentool.api.train`."""
        return resolve_name("gentool.api:train")(model, **options)


sys.modules[__name__].__class__ = _CallablePackage
