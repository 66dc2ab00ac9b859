"""The collector's facts as JSON, within a bound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from probes.records import Process
from probes.store.view import Facts, ProcessFacts, Visibility


def dumps_facts(facts: Facts, bound: int) -> bytes:
    """`facts` in `bound` bytes at most: where there are too many processes, without the last ones."""
    raw = json.dumps(asdict(facts)).encode()
    while len(raw) > bound and facts.processes:
        facts = replace(facts, processes=facts.processes[: len(facts.processes) // 2])
        raw = json.dumps(asdict(facts)).encode()
    return raw if len(raw) <= bound else b""


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
