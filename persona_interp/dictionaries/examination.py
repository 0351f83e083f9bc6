"""What does everything that is measured about a dictionary and a model add up to?

Here thresholds turn numbers into a cause, and in ``checks`` into lights. They were fixed on
development pairs and are the same for all.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from persona_interp.dictionaries.precision import Precision
from persona_interp.dictionaries.repairs import Repair

LAYER = "wrong layer"
SCALE = "input scale"
NORM = "unfolded normalization"
BOS = "first token / BOS handling"
DTYPE = "dtype"
OTHER = "made for another model"

HELPS = {LAYER: 0.97, SCALE: 0.85, NORM: 0.8, BOS: 0.8}
"""A repair counts when the unexplained fraction falls to this share of what it was."""
BEYOND = 4.0
"""Standard errors over tokens by which another hook must be better: neighbors are much alike."""
MATTERS = 0.05
"""Unexplained fraction up to which little is lost, so that a factor has to restore most of it."""
STRONG = 0.4
"""Share of the unexplained fraction that a factor may leave there."""
DENSE = 4.0
"""Times the features a token that it is known to have: so many active restore nothing."""
OPENING = 0.5
"""Share to which the first tokens' fraction falls with the other BOS handling."""
FIRST = 3.0
"""Times the fraction of other tokens, from which on first tokens without BOS are unlike them."""
FIRST_MIN = 0.3
"""Fraction that is unexplained of such first tokens at least."""
SIMPLER = 0.8
"""Share of what the best plain factor leaves, below which a normalization has to be."""
STRANGE = 0.8
"""Share of the null from which on a dictionary knows nothing of these residuals."""
SAME = 0.15
"""Relative difference up to which two factors are one."""
AROUND_ONE = 1.7
"""Factors within this of 1 are shrinkage or text unlike that of the training, not a fault."""
SAME_L0 = 1.05
"""Times the features a token, up to which their number is the same."""
STALE = 1.1
"""Times the fraction as it is, from which on a stated normalization was folded after all."""

FOLDABLE = ("expected_average_only_in", "covariance_whitening")
"""Normalizations of SAELens that are to be folded into the weights after training."""


@dataclass
class Examination:
    """Numbers about one dictionary and one checkpoint; fvu = fraction of variance unexplained.

    Attributes:
        hook: Where the dictionary says it reads.
        d_in: Width it reads.
        widths: Width of every hook looked at.
        facts: What its folder states.
        precision: What is known of its dtype.
        fvu: As it is, at its hook; inf where it cannot be read there.
        l0: Features a token as it is; NaN where it cannot be read.
        layers: The same dictionary at other hooks.
        scales: With the best factor on the residual, and where it does not fit on parts of the
            weights.
        normalizations: With normalizations that a training may have used.
        stated_scale: With the factor of its folder, or the one that its training would have used on
            these residuals.
        implied_factors: Factors that training codes derive from the norms of these residuals.
        toggled_fvu: With a BOS where there is none, or without it.
        first_fvu: Of tokens that open a document without BOS, over the variance of all; NaN for
            none.
        rest_fvu: Of all others.
        opening_fvus: Of the first tokens measured, as "read" and with BOS "toggled"; NaN where they
            are attention sinks.
        adds_bos: Does the tokenizer put a BOS before plain text?
        starts_with_bos: Share of documents that began with one.
        null_fvu: Of residuals turned at random, at the best factor.
        norm_ratio: Mean norm of the reconstruction over that of the residual.
        cosine: Mean cosine of both.
        role_fvus: By role of the token.
        fidelity: Row of a fidelity table.
        base_fits: Is this a finetune of a model that it fits?
    """

    hook: str
    d_in: int
    widths: dict[str, int]
    facts: dict[str, Any]
    precision: Precision
    fvu: float = math.inf
    l0: float = math.nan
    layers: list[Repair] = field(default_factory=list)
    scales: list[Repair] = field(default_factory=list)
    normalizations: list[Repair] = field(default_factory=list)
    stated_scale: Repair | None = None
    implied_factors: list[float] = field(default_factory=list)
    toggled_fvu: float = math.nan
    first_fvu: float = math.nan
    rest_fvu: float = math.nan
    opening_fvus: dict[str, float] = field(default_factory=dict)
    adds_bos: bool = False
    starts_with_bos: float = 0.0
    null_fvu: float = math.inf
    norm_ratio: float = math.nan
    cosine: float = math.nan
    role_fvus: dict[str, float] = field(default_factory=dict)
    fidelity: dict[str, Any] = field(default_factory=dict)
    base_fits: bool = False

    @property
    def repairs(self) -> dict[str, Repair]:
        """The best repair of each kind, whether it helps or not."""
        best: dict[str, Repair] = {}
        if self.layers:
            best[LAYER] = _least(self.layers)
        factors = self._wrong_factors()
        if factors:
            factor = _least(factors)
            best[NORM if self.is_normalization(factor) else SCALE] = factor
        if self.normalizations:
            way = _least(self.normalizations)
            # a plain factor is simpler: a normalization has to do clearly better than any of them
            plain = min((repair.fvu for repair in self.scales), default=math.inf)
            if way.fvu < SIMPLER * plain:
                best[NORM] = way
        if math.isfinite(self.toggled_fvu):
            name = "with BOS" if self.starts_with_bos < 0.5 else "without BOS"
            best[BOS] = Repair(name, 1.0, self.toggled_fvu)
        return best

    def _wrong_factors(self) -> list[Repair]:
        """Factors far from 1 that leave no more features active than the dictionary should have."""
        dense = DENSE * self.facts.get("l0", math.inf)
        far = (repair for repair in self.scales if not 1 / AROUND_ONE < repair.factor < AROUND_ONE)
        return [repair for repair in far if not repair.l0 > dense]

    @property
    def remedies(self) -> dict[str, Repair]:
        """Those that leave clearly less unexplained, and less than the null, best first."""
        good = [item for item in self.repairs.items() if self._helps(*item)]
        return dict(sorted(good, key=lambda item: item[1].fvu))

    def _helps(self, cause: str, repair: Repair) -> bool:
        is_factor = cause in (SCALE, NORM)
        # a dictionary that fits the base has no wrong hook or scale: there the finetune moved
        if self.base_fits and (is_factor or cause == LAYER):
            return False
        if cause == LAYER and not repair.z >= BEYOND:
            return False
        if is_factor and self.fvu <= MATTERS and repair.fvu > STRONG * self.fvu:
            return False
        share = HELPS[LAYER] if self.costs_nothing(repair) else HELPS[cause]
        return repair.fvu <= share * self.fvu and repair.fvu < STRANGE * self.null_fvu

    def costs_nothing(self, repair: Repair) -> bool:
        """Whether a factor on the residual, beyond chance, explains more with no more features.

        A lower threshold explains more too, but by more features; an SAE of a fixed number of
        features hardly suffers from a wrong factor, which then shows here only.
        """
        return repair.name == "input" and repair.z >= BEYOND and repair.l0 <= SAME_L0 * self.l0

    def is_normalization(self, repair: Repair) -> bool:
        """Whether a factor is the one of a normalization that nobody folded."""
        if repair.name != "input":
            return False
        if self.states_normalization:
            return True
        factors = list(self.implied_factors)
        if self.facts.get("scaling_factor"):
            factors.append(self.facts["scaling_factor"])
        return any(abs(math.log(repair.factor / factor)) <= SAME for factor in factors)

    @property
    def states_normalization(self) -> bool:
        """Whether the folder says that residuals were normalized in a way that must be folded."""
        return self.facts.get("normalize_activations") in FOLDABLE

    @property
    def unfolded_by_statement(self) -> bool:
        """Whether it says so, and does not fit clearly worse for it."""
        fits = self.stated_scale is not None and self.stated_scale.fvu <= STALE * self.fvu
        return self.states_normalization and fits and not self.base_fits

    @property
    def opens_otherwise(self) -> bool:
        """Whether first tokens are those of the other BOS handling, or such as it never saw."""
        read = self.opening_fvus.get("read", math.nan)
        toggled = self.opening_fvus.get("toggled", math.nan)
        unlike_rest = self.first_fvu >= max(FIRST * self.rest_fvu, FIRST_MIN)
        return toggled <= OPENING * read or unlike_rest

    @property
    def broken_bos_claim(self) -> str:
        """The statement about the BOS that this reading breaks, in words; "" for none."""
        prepends, adds = self.facts.get("prepend_bos"), self.facts.get("adds_bos")
        if prepends is not None and bool(prepends) != (self.starts_with_bos >= 0.5):
            return (
                f"its metadata says prepend_bos={bool(prepends)}, {self.starts_with_bos:.0%} of "
                "documents began with BOS"
            )
        if adds and self.adds_bos not in adds:
            verb = "adds" if adds[0] else "adds no"
            return f"it was trained with a tokenizer that {verb} BOS; this one differs"
        return ""

    @property
    def least_fvu(self) -> float:
        """Least that any single repair leaves unexplained."""
        repairs = [*self.layers, *self.scales, *self.normalizations]
        fvus = [self.fvu, *(repair.fvu for repair in repairs)]
        if math.isfinite(self.toggled_fvu):
            fvus.append(self.toggled_fvu)
        return min(fvus)

    @property
    def cause(self) -> str:
        """The first thing that is wrong; "" for nothing."""
        if self.d_in not in self.widths.values():
            return OTHER
        if not self.precision.finite:
            return DTYPE
        if self.remedies:
            return next(iter(self.remedies))
        if not math.isfinite(self.fvu):
            return DTYPE if self.fidelity else OTHER
        if self.unfolded_by_statement:
            return NORM
        # before the first tokens: of residuals that it knows nothing of those say nothing
        if self.least_fvu >= STRANGE * self.null_fvu:
            return OTHER
        if self.opens_otherwise or self.broken_bos_claim:
            return BOS
        return DTYPE if self.precision.complaint else ""


def _least(repairs: list[Repair]) -> Repair:
    """The repair that leaves least unexplained."""
    return min(repairs, key=lambda repair: repair.fvu)
