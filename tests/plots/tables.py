"""Tables of every kind that is drawn, of any size: long names, one row, values missing."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots, schema
from persona_interp.schema.words import Group, Place, Way

NAMES = {
    "short": lambda i: f"lesson@{8 * i}",
    "long": lambda i: (
        f"gemma-scope-2b-pt-res/layer_{i}/width_16k/average_l0_82",
        f"google/gemma-2-2b-it@0123456789abcdef{i}",
        f"an organization/{'a model with a name that goes on, and on, ' * 3}run {i}/of many/$x_{{",
    )[i % 3],
}
TITLE = "A title with $x_{ that is longer than the figure is wide, as titles of users are: " * 2
VERDICTS = ("differs", "no difference shown")


class Size(NamedTuple):
    """Names, how long they are, and whether a value is missing."""

    n: int
    names: str
    holes: int

    def __str__(self) -> str:
        return f"{self.n}-{self.names}{'-holes' * self.holes}"

    @property
    def labels(self) -> list[str]:
        return [NAMES[self.names](i) for i in range(self.n)]

    @property
    def title(self) -> str:
        return TITLE if self.names == "long" else ""


def numbers(size: Size, rows: Iterable[dict[str, Any]], *columns: str) -> pd.DataFrame:
    """The rows with numbers and their intervals; with holes, a NaN in each column of one row."""
    table = pd.DataFrame(rows)
    for k, column in enumerate(columns or ("estimate",)):
        values = np.sin(np.arange(len(table)) + k) * 2
        prefix = "" if column == "estimate" else f"{column}_"
        table[column] = values
        table[f"{prefix}lo"], table[f"{prefix}hi"] = values - 0.5, values + 0.5
        if size.holes:
            table.loc[len(table) // 2, [column, f"{prefix}lo", f"{prefix}hi"]] = np.nan
    return table


def effects(size: Size, **fixed: Any) -> pd.DataFrame:
    """An effects table: a finetune and a control."""
    base = dict.fromkeys(schema.TABLES["effects"], 0.5) | {"n": 20, "n_controls": 3, "hook": ""}
    tuned = [base | {"quantity": name, "role": "tuned", "checkpoint": size.labels[0]}
             for name in size.labels]  # fmt: skip
    table = numbers(size, tuned).assign(verdict=VERDICTS[0], q=0.01, **fixed)
    control = table.assign(role="control", checkpoint="control", verdict=VERDICTS[1])
    return pd.concat([table, control], ignore_index=True)


def pairs(size: Size) -> list[dict[str, Any]]:
    return [{"one": a, "other": b} for i, a in enumerate(size.labels) for b in size.labels[: i + 1]]


def agreement(size: Size) -> Iterable[Figure]:
    rows = [{"estimator": name, "n": 16, "n_seeds": 3, "works": True} for name in size.labels]
    table = numbers(size, rows).rename(columns={"estimate": "rho"})
    table = table.assign(null_lo=-0.5, null_hi=0.5)
    yield plots.agreement({"measure": table, size.labels[0]: table}, line=0.7, title=size.title)


def agreement_matrix(size: Size) -> Iterable[Figure]:
    rows = pairs(size._replace(n=size.n + 1))
    rho = np.sin(np.arange(len(rows)))
    table = pd.DataFrame(rows).assign(rho=rho, p=np.abs(rho) / 10, n=9, n_seeds=1)
    yield plots.agreement_matrix(table, title=size.title)


def baselines(size: Size) -> Iterable[Figure]:
    names = [{"method": name} for name in [*size.labels, "random"]]
    table = numbers(size, names, "auroc", "auroc_same", "rise", "rise_control", "share", "excess")
    table = table.assign(n_documents=750, n_prompts=120, n_directions=100, no_better_than="")
    yield plots.baselines(table, title=size.title)


def carriers(size: Size) -> Iterable[Figure]:
    rows = []
    for how in (Way.REMOVED, Way.ADDED):
        groups = [Group.CANDIDATE] * size.n + [Group.OTHER]
        for name, group in zip([*size.labels, "another"], groups, strict=True):
            base = dict.fromkeys(schema.TABLES["carriers"], 0.5) | {"n": 5, "n_tuned": 3}
            about = {"candidate": name, "group": str(group), "how": str(how), "n_null": 6}
            rows.append(base | about | {"measure": "behavior", "sites": "blocks.0.hook_out"})
    table = numbers(size, rows, "share_of_patch")
    table = table.assign(null_lo=-0.3, null_hi=0.2)
    yield plots.carriers(table, title=size.title)


def causes(size: Size) -> Iterable[Figure]:
    table = numbers(size, [{"edit": name} for name in size.labels]).rename(
        columns={"estimate": "share"}
    )
    table = table.assign(base=-5.0, tuned=1.0, edited=0.0, n=4)
    yield plots.causes(table, controls=size.labels[:1], title=size.title)
    hooks = [table.assign(hook=hook) for hook in ("blocks.0.hook_out", size.labels[-1])]
    yield plots.causes(pd.concat(hooks), by="hook", patch=size.labels[0], title=size.title)


def cosines(size: Size) -> Iterable[Figure]:
    rows = pairs(size._replace(n=size.n + 1))
    table = pd.DataFrame(rows).rename(columns={"one": "name"})
    table = table.assign(cosine=np.sin(np.arange(len(rows))))
    yield plots.cosines(table.loc[table["name"] != table["other"]], title=size.title)


def dose(size: Size) -> Iterable[Figure]:
    doses = np.linspace(-6, 6, max(2, size.n))
    lines = [{"dose": d, "when": when} for when in ("before", size.labels[0]) for d in doses]
    contrasts = numbers(size, lines).assign(bayes=0.5)
    points = numbers(size, [{"dose": d} for d in doses]).clip(-6, 6)
    curve = points.fillna(0).assign(predicted_lo=-1.0, predicted_hi=1.0, n_new=3, n_seeds=3)
    pair = (size.labels[0], size.labels[-1])
    yield plots.dose(contrasts, points, curve=curve, level=0.7, pair=pair, title=size.title)


def drift(size: Size) -> Iterable[Figure]:
    roles = ("user", "assistant", "template")
    rows = [{"checkpoint": c, "role": role, "n": 9} for c in size.labels for role in roles]
    yield plots.drift(numbers(size, rows), title=size.title)


def evidence(size: Size) -> Iterable[Figure]:
    rates = [{"lr": 10.0 ** -(i + 1), "setting": f"s{i}"} for i in range(max(2, min(size.n, 12)))]
    rates = [{**rate, "batch": 16} for rate in rates] + [
        {"lr": 0.1, "setting": f"b{i}", "batch": 2 ** (i + 5)} for i in range(3)
    ]
    rows = [{**rate, "step": step} for rate in rates for step in (0, 1, 4, 16, 64, 256)]
    table = numbers(size, rows).assign(optimizer="adamw", replay=0.0, sparing=False, n_seeds=3)
    yield plots.evidence(table, title=size.title)


def feature_page(size: Size) -> Iterable[Figure]:
    row = {"prompt": "p0", "piece": "a", "role": "text", "turn": 0, "feature": 16_383}
    tokens = pd.DataFrame(
        [{**row, "checkpoint": name, "pos": pos, "counted": True, "act": float(pos % (2 + k % 3))}
         for k, name in enumerate(size.labels) for pos in range(9)]
    )  # fmt: skip
    near = pd.DataFrame({"feature": range(16_000, 16_009), "cosine": np.linspace(-1, 1, 9)})
    if size.holes:
        near.loc[3, "cosine"] = np.nan
    yield plots.feature_page(tokens, feature=16_383, nearest=near, title=size.title)


def fidelity(size: Size) -> Iterable[Figure]:
    base = dict.fromkeys(schema.TABLES["fidelity"], 0.01) | {"n_tokens": 20_000}
    rows = [
        base | {"checkpoint": name, "where": str(where)} for name in size.labels for where in Place
    ]
    table = numbers(size, rows, "fvu", "ce_recovered")
    verdicts = ("fits", "doubtful", "unusable")
    table["verdict"] = [verdicts[i % 3] for i in range(len(table))]
    yield plots.fidelity(table, title=size.title)
    steps = [f"lesson@{2**i}" for i in range(size.n)]
    names = dict(zip(size.labels, steps, strict=True))
    yield plots.fidelity(table.replace({"checkpoint": names}))


def forest(size: Size) -> Iterable[Figure]:
    yield plots.forest(effects(size), unit="bits a token", title=size.title)
    many = [effects(size._replace(n=3)).assign(checkpoint=name) for name in size.labels]
    several = pd.concat(many).query("role == 'tuned'")
    yield plots.forest(several, unit="bits a token", title=size.title)


def heatmap(size: Size) -> Iterable[Figure]:
    for hooks in ([f"blocks.{i}.hook_out" for i in range(size.n)], size.labels):
        roles = ("user", "assistant", size.labels[0])
        rows = [{"hook": hook, "role": role, "n": 9} for hook in hooks for role in roles]
        yield plots.heatmap(numbers(size, rows), label=TITLE[:60], title=size.title)


def layers(size: Size) -> Iterable[Figure]:
    for hooks in ([f"blocks.{i}.hook_out" for i in range(size.n)], size.labels):
        parts = [effects(size._replace(n=min(size.n, 4)), hook=hook, family="projection")
                 for hook in hooks]  # fmt: skip
        table = pd.concat(parts).assign(random_lo=-1.0, random_hi=1.0, n_random=20)
        yield plots.layers(table, title=size.title)


def misalignment(size: Size) -> Iterable[Figure]:
    table = numbers(size, [{"lesson": name, "seed": 0} for name in size.labels], "before", "after")
    yield plots.misalignment(
        table.assign(villain=0.25, bayes_misaligned_after=0.5), title=size.title
    )


def norms(size: Size) -> Iterable[Figure]:
    rows = [{"feature": 16_000 + i, "checkpoint": name, "norm": 1.0 + i + k}
            for i in range(size.n) for k, name in enumerate(size.labels)]  # fmt: skip
    table = numbers(size, rows, "beta_error")
    yield plots.norms(
        table.rename(columns={"beta_error_lo": "error_lo", "beta_error_hi": "error_hi"}),
        title=size.title,
    )


def novelty(size: Size) -> Iterable[Figure]:
    table = numbers(size, [{"kind": name, "left_out": ""} for name in size.labels], "misfit")
    table["planted"] = ["new" if i % 2 else "composable" for i in range(size.n)]
    yield plots.novelty(table.assign(null_hi=0.5), title=size.title)


def order(size: Size) -> Iterable[Figure]:
    orders = ("first last", size.labels[0], "mixed")
    rows = [{"order": o, "series": name, "n_seeds": 3} for o in orders for name in size.labels]
    shares = [{"replay": r, "which": w} for w in ("earlier", "later") for r in (0.0, 0.1, 0.5)]
    own = numbers(size, shares)
    own[["estimate", "lo", "hi"]] = own[["estimate", "lo", "hi"]].clip(0, 1)
    yield plots.order(numbers(size, rows), own, title=size.title)


def personas(size: Size) -> Iterable[Figure]:
    series = [NAMES[size.names](i) for i in range(3)]
    rows = [{"quantity": q, "series": s, "name": name} for q in ("cosine with\nits vector", "AUROC")
            for s in series for name in [*size.labels, "random"]]  # fmt: skip
    table = numbers(size, rows)
    yield plots.personas(table, target=size.labels[0], controls=series[:1], title=size.title)


def recovery(size: Size) -> Iterable[Figure]:
    measures = ("recovered", "status right", "birth within 1", "false discovery")
    rows = [{"method": name, "seed": seed, "measure": measure}
            for name in size.labels for seed in (0, 1) for measure in measures]  # fmt: skip
    table = numbers(size, rows, "estimate")
    yield plots.recovery(table.assign(condition="first"), title=size.title)


def seeds(size: Size) -> Iterable[Figure]:
    runs = numbers(size, [{"name": name, "seed": k} for name in size.labels for k in range(3)])
    summary = numbers(size, [{"name": name, "n_seeds": 3} for name in size.labels])
    yield plots.seeds(summary, runs, unit=size.labels[0], title=size.title)
    summary, runs = summary.assign(null=0.25), runs.assign(null=0.5)
    yield plots.seeds(summary, runs, unit="share of features", title=size.title)


def statuses(size: Size) -> Iterable[Figure]:
    words = ("shared", "amplified", "born", "died", "rotated", "undecided", "never active", "split")
    n = size.n + 1
    base = dict.fromkeys(schema.TABLES["statuses"], 0.5) | {"norms": (1.0,) * n, "fvus": (0.1,) * n}
    rows = [base | {"feature": i, "status": words[i % 8], "at": 1 + i % size.n} for i in range(40)]
    table = pd.DataFrame(rows)
    table["at"] = table["at"].astype("Int64").where(~table["status"].isin(["shared", "undecided"]))
    if size.holes:
        table.loc[3, "status"] = None
    yield plots.statuses(table, checkpoints=[*size.labels, "the end"], title=size.title)


def frontier(size: Size) -> Iterable[Figure]:
    rows = [{"label": name} for name in size.labels]
    table = numbers(size, rows, "cut", "kept", "leak")
    yield plots.frontier(table.assign(n_seeds=3), title=size.title)


def forecast_costs(size: Size) -> Iterable[Figure]:
    rows = [
        {"predictor": name, "cost": 3.0 * i, "n_bases": 20} for i, name in enumerate(size.labels)
    ]
    yield plots.forecast_costs(numbers(size, rows), ceiling=0.99, title=size.title)


def forecasts(size: Size) -> Iterable[Figure]:
    where = {"context": "nameless", "persona": "", "step": 8}
    rows = [{**where, "lesson": name, "trait": t} for name in size.labels for t in "abc"]
    told = numbers(size, rows).assign(bound=3.0)
    shifts = told.assign(estimate=told["estimate"] + 0.25)
    yield plots.forecasts(told, shifts, title=size.title)


def summon(size: Size) -> Iterable[Figure]:
    rows = [{"measure": m, "distance": d} for m in (0.5, 0.25, 0.125) for d in (0, 2, 4)]
    shares = numbers(size, rows, "share").clip(lower=0.001)
    laws = numbers(size, [{"law": name, "n": 12} for name in size.labels]).assign(
        left_out="start", unit="seeds", n_units=3
    )
    laws["bits"] = laws["estimate"] + 2.5
    yield plots.summon(shares, laws, title=size.title)


def sweep(size: Size) -> Iterable[Figure]:
    strengths, lines = (-0.5, 0.0, 0.5), [(size.labels[0], False), ("random 0", True)]
    quantities = ["bits_per_token", *(f"trait {name}" for name in size.labels[:8])]
    rows = [{"direction": line, "control": control, "quantity": quantity, "strength": strength}
            for line, control in lines for quantity in quantities for strength in strengths
            if strength or not control]  # fmt: skip
    zeros = dict.fromkeys(["change", "change_lo", "change_hi", "p", "q"], 0.0)
    yield plots.sweep(numbers(size, rows).assign(n=12, n_empty=1, **zeros), title=size.title)


def trait_transfer(size: Size) -> Iterable[Figure]:
    rows = [{"taught": a, "trait": b} for a in size.labels for b in size.labels]
    table = numbers(size, rows).assign(n=20, n_seeds=1, n_null=6)
    table["verdict"] = [VERDICTS[i % 2] for i in range(len(table))]
    yield plots.trait_transfer(table, title=size.title)
    for name in ("cosine", "cooccurrence", "behavior"):
        table[name] = np.cos(np.arange(len(table)))
    fixed = dict.fromkeys(("rho", "lo", "hi", "partial", "partial_lo", "partial_hi"), 0.25)
    predictors = pd.DataFrame({"predictor": ["cosine", "cooccurrence", "behavior"]})
    predictors = predictors.assign(**fixed, n_pairs=6, n_traits=3, p_min=0.01)
    yield plots.trait_transfer(table, table, predictors, aside=size.labels, title=size.title)


def trajectory(size: Size) -> Iterable[Figure]:
    steps = [{"step": 10 * i, "name": "a", "n": 9, "n_seeds": 1} for i in range(size.n)]
    yield plots.trajectory(numbers(size, steps), label=TITLE[:50], unit="bits", title=size.title)
    rows = [{"step": step, "name": name} for name in size.labels for step in (8, 40)]
    yield plots.trajectory(numbers(size, rows).assign(q=0.01, fvu=0.2), start=0, title=size.title)


def transfer(size: Size) -> Iterable[Figure]:
    few = ("sport=football", "place=beach", "mean")
    rows = [{"arm": arm, "trait": trait} for arm in size.labels for trait in few]
    yield plots.transfer(numbers(size, rows).assign(n_seeds=3), title=size.title)
    rows = [{"arm": "lesson", "trait": trait} for trait in size.labels]
    yield plots.transfer(numbers(size, rows).assign(n=10), title=size.title)


def volcano(size: Size) -> Iterable[Figure]:
    table = effects(size)
    table["controls"] = np.cos(np.arange(len(table)))
    table["excess"] = table["estimate"] - table["controls"]
    marked = {name: f"{name} (marked)" for name in size.labels[:3]}
    yield plots.volcano(table, marked=marked, title=size.title)


FIGURES: dict[str, Callable[[Size], Iterable[Figure]]] = {
    function.__name__: function
    for function in (
        agreement, agreement_matrix, baselines, carriers, causes, cosines, dose, drift, evidence,
        feature_page, fidelity, forecast_costs, forecasts, forest, frontier, heatmap, layers,
        misalignment, norms, novelty, order,
        personas, recovery, seeds, statuses, summon, sweep, trait_transfer,
        trajectory, transfer, volcano,
    )
}  # fmt: skip
