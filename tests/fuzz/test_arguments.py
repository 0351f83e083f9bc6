"""Every public function, given what a first user gives by mistake: its own error, or no harm.

A valid call is one that a function's doctest makes. One argument at a time is replaced by a
plausible wrong value (``arguments.py``). A sample of functions by default; ``FUZZ_ARGUMENTS=all``
takes every one of them.
"""

import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_interp.errors import PersonaInterpError
from tests.fuzz.arguments import wrong_values
from tests.fuzz.calls import Call, Function, doctest_of, public_functions, recorded

ROOMS = (
    *("readers", "worlds", "models", "analysis", "report"),
    *("dictionaries", "record", "store"),
    pytest.param("plots", marks=pytest.mark.slow),  # each call draws
)
"""Rooms whose functions take none of the machine's files: what their doctests call is tried."""
SAMPLE = 3
"""Functions of a room that are tried by default."""
LEFT = frozenset(
    """
    analysis.across_seeds(by=)
    analysis.additive_curve(scale=)
    analysis.auroc(clusters=)
    analysis.auroc(values=)
    analysis.auroc_differences(values=)
    analysis.bits_per_unit(curve=)
    analysis.bits_per_unit(until=)
    analysis.chance_range(values=)
    analysis.cosine_against_cooccurrence(cosines=)
    analysis.effective_answers(judged=)
    analysis.effects(measurements=)
    analysis.evidence_to_reach(curve=)
    analysis.expected_contrast(evidence=)
    analysis.measure.crossing(x=)
    analysis.measure.crossing(y=)
    analysis.measure.dialogue_odds(likelihood=)
    analysis.measure.lesson_dose(odds=)
    analysis.measure.mass(counts=)
    analysis.measurements.random_range(effects=)
    analysis.measurements.random_range(random=)
    analysis.metric.direction_distance(cosines=)
    analysis.metric.kernel_distance(gradients=)
    analysis.mixing_weight(behavior=)
    analysis.over_checkpoints(tables=)
    analysis.parts(data=)
    analysis.rarity(shifts=)
    analysis.refit(base=)
    analysis.refit(tuned=)
    analysis.role_loadings(acts=)
    analysis.role_loadings(directions=)
    analysis.roles(best=)
    analysis.score(data=)
    analysis.shift(after=)
    analysis.shift(behavior=)
    analysis.shift_residual(known=)
    analysis.shift_residual(named=)
    analysis.shift_residual(neutral=)
    analysis.standings(by=)
    analysis.stats.across_seeds(by=)
    analysis.stats.benjamini_hochberg(p=)
    analysis.stats.cluster_interval(clusters=)
    analysis.stats.cluster_interval(differences=)
    analysis.stats.cluster_sums(clusters=)
    analysis.stats.cluster_sums(rows=)
    analysis.stats.jackknife(left_out=)
    analysis.summon_law(summoned=)
    analysis.summon_rivals(summoned=)
    analysis.top(scores=)
    analysis.trait_predictors(pairs=)
    analysis.transfer(shifts=)
    analysis.worst_case(taught=)
    analysis.worst_case(world=)
    dictionaries.same_tokens(checkpoints=)
    dictionaries.same_tokens(documents=)
    models.encode(tokenizer=)
    models.show_tokens(table=)
    plots.statuses(table=)
    report.roles(explained=)
    worlds.count(table=)
    """.split()
)
"""Arguments that still end in a raw error for some wrong value: to be mended, never added to."""

pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries say about wrong values


def chosen(room: str) -> dict[str, Function]:
    """Functions of a room that are tried: a sample that is always the same, or all."""
    functions = public_functions(room)
    if os.environ.get("FUZZ_ARGUMENTS") == "all":
        return functions
    names = random.Random(0).sample(sorted(functions), min(SAMPLE, len(functions)))
    return {name: functions[name] for name in names}


def valid_call(name: str, function: Function) -> Call | None:
    """First call of a function's doctest that is answered again; None where it has none."""
    for call in recorded({name: function}, doctest_of(function))[name]:
        try:
            call.answer()
        except PersonaInterpError:
            continue  # an example of a refusal
        return call
    return None


def complaints(call: Call, *, room: str) -> Iterator[str]:
    """What goes wrong where one argument is replaced."""
    for parameter, value in call.arguments.items():
        name = f"{room}.{call.name}({parameter}=)"
        if parameter in ("self", "cls") or name in LEFT:
            continue
        for what, wrong in wrong_values(value):
            error = failure(call.with_value(parameter, wrong))
            if error is not None:
                yield f"{name}, {what}: {error!r:.120}"


def failure(call: Call) -> Exception | None:
    """Raw error of a call; None where it is answered or refused in the package's own words."""
    try:
        with warnings.catch_warnings(action="ignore"):
            call.answer()
    except PersonaInterpError:
        return None
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("room", ROOMS)
def test_a_wrong_argument_is_refused_in_our_words(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a wrong path is written somewhere
    lines = []
    for name, function in chosen(room).items():
        call = valid_call(name, function)
        if call is not None:
            lines += complaints(call, room=room)
    assert lines == []
