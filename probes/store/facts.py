"""The collector's facts as JSON, within a bound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from probes.records import Process
from probes.store.view import Facts, ProcessFacts, Visibility


def dumps_facts(facts: Facts, bound: int) -> bytes:
    """`facts` in `bound` bytes at most: where there is too much, without the last items of what protocols learned, and
    without the last processes."""
    raw = json.dumps(asdict(facts)).encode()
    while len(raw) > bound and (facts.learned or facts.processes):
        if facts.learned:
            facts = replace(facts, learned=_halved(facts.learned))
        else:
            facts = replace(facts, processes=facts.processes[: len(facts.processes) // 2])
        raw = json.dumps(asdict(facts)).encode()
    return raw if len(raw) <= bound else b""


def _halved(learned: Mapping[str, Any]) -> dict[str, Any]:
    """Half of each protocol's lists; without protocols that have no more than one item in any."""
    return {
        protocol: {
            name: value[: len(value) // 2] if isinstance(value, list | tuple) else value
            for name, value in lists.items()
        }
        for protocol, lists in learned.items()
        if any(isinstance(value, list | tuple) and len(value) > 1 for value in lists.values())
    }


def loads_facts(raw: bytes) -> Facts:
    """What `dumps_facts` made. Raises ValueError."""
    values: dict[str, Any] = json.loads(raw)
    values["protocols"] = tuple(values["protocols"])
    values["processes"] = tuple(map(_process, values["processes"]))
    return Facts(**values)


def _process(values: Mapping[str, Any]) -> ProcessFacts:
    return ProcessFacts(
        **{
            **values,
            "process": Process(*values["process"]),
            "visibility": Visibility(values["visibility"]),
            "listens": tuple(values["listens"]),
        }
    )
