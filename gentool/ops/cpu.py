"""What the system tells about this machine's processor."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def cpu_facts() -> dict[str, str]:
    """The first processor's lines of ``/proc/cpuinfo``; empty where there is no such file.

    >>> sorted(cpu_facts())  # doctest: +SKIP
    ['address sizes', 'apicid', 'bogomips', …, 'flags', …, 'model name', …, 'vendor_id']
    """
    facts: dict[str, str] = {}
    try:
        with Path("/proc/cpuinfo").open(errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                facts.setdefault(name.strip(), value.strip())
    except OSError:
        return {}
    return facts


def cpu_flags() -> frozenset[str]:
    """The instruction sets of this processor, as far as the system tells."""
    facts = cpu_facts()
    return frozenset((facts.get("flags") or facts.get("Features") or "").split())
