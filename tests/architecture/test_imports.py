"""Importing the package, asking for help or drawing a figure must not wait for torch."""

import json
import subprocess
import sys

import pytest

import persona_interp

HEAVY = ("torch", "transformers", "transformer_lens", "sae_lens", "peft", "datasets")
LIGHT_ROOMS = (
    "analysis",
    "errors",
    "plots",
    "readers",
    "report",
    "schema",
    "store",
    "tables",
    "worlds",
)


def _after(code: str, *names: str) -> list[str]:
    """Which of these modules are loaded in a fresh Python after the code ran?"""
    code += f"\nimport json, sys; print(json.dumps([n for n in {names!r} if n in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_the_package_imports_nothing_heavy() -> None:
    assert _after("import persona_interp", *HEAVY, "numpy", "pandas", "xarray", "matplotlib") == []


def test_the_package_imports_fast() -> None:
    code = "import time; t = time.process_time(); import persona_interp; "
    code += "print(time.process_time() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert min(float(run.stdout) for run in runs) < 0.2


def test_an_unknown_room_is_refused_by_name() -> None:
    with pytest.raises(AttributeError, match="no 'wrlds'; it has analysis,"):
        persona_interp.wrlds  # noqa: B018


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_rooms_without_torch_load_none(room: str) -> None:
    assert _after(f"import persona_interp.{room}", *HEAVY) == []


def test_help_loads_no_torch() -> None:
    code = """
import sys
from persona_interp.cli import main
sys.argv = ["persona-interp", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert _after(code, *HEAVY) == []


def test_what_only_reads_tables_loads_no_torch() -> None:
    code = """
from importlib import import_module
from persona_interp.experiments.wings import PACKAGE, wing_names
for wing in wing_names():
    for part in ("config", "tables", "report"):
        import_module(f"{PACKAGE}.{wing}.{part}")
"""
    assert _after(code, *HEAVY) == []


@pytest.mark.parametrize(
    ("first", "freezes"), [("", True), pytest.param("import torch", False, marks=pytest.mark.slow)]
)
def test_a_room_with_torch_is_not_searched_for_garbage(first: str, freezes: bool) -> None:
    """Unless torch was there before, and with it perhaps a model that must stay collectable."""
    code = f"""
import gc
{first}
from persona_interp import analysis
assert gc.isenabled() and gc.get_freeze_count() == 0
from persona_interp import models
models.load
assert gc.isenabled() and (gc.get_freeze_count() > 50_000) == {freezes}
from persona_interp import record
assert gc.isenabled() and (gc.get_freeze_count() > 100_000) == {freezes}
gc.disable()
from persona_interp import dictionaries
assert not gc.isenabled()
"""
    _after(code)
