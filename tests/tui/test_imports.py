"""What runs without a screen never loads it."""

import subprocess
import sys

import pytest

_LOOK = """
import importlib, pkgutil, sys
import probes
for module in pkgutil.walk_packages(probes.__path__, "probes."):
    importlib.import_module(module.name)
print([name for name in sys.modules if name.partition(".")[0] in ("textual", "tui")])
"""


def test_probes_import_neither_textual_nor_the_dashboard() -> None:
    answer = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "[]\n"


@pytest.mark.parametrize("module", ["tui.glyphs", "tui.terminal"])
def test_the_other_way_round_would_be_seen(module: str) -> None:
    look = f"import {module}\n" + _LOOK
    answer = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=60)
    assert module in answer.stdout
