"""What does everything that was measured about a dictionary and a model add up to?

The one place where thresholds turn numbers into a cause. They were fixed on development pairs and
are the same for all.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from persona_interp.dictionaries.precision import Precision
from persona_interp.dictionaries.repairs import Repair

LAYER, SCALE, NORM, BOS, DTYPE, OTHER = CAUSES = (
    "wrong layer",
    "input scale",
    "unfolded normalization",
    "first token / BOS handling",
    "dtype",
    "made for another model",
)
# A repair counts when the unexplained fraction falls to this share of what it was
HELPS = {LAYER: 0.97, SCALE: 0.85, NORM: 0.8, BOS: 0.8}
BEYOND = 4.0  # standard errors over tokens by which another hook has to be better: neighbors are much alike
MATTERS, STRONG = (
    0.05,
    0.4,
)  # below this fraction little is lost, and a factor has to leave this share of it or less
DENSE = 4.0  # times the features a token it is known to have: a repair that leaves so many active restores nothing
OPENING = 0.5  # share to which the first tokens' fraction falls with the other BOS handling
FIRST, MUCH = (
    3.0,
    0.3,
)  # first tokens without BOS: times the fraction of the others, and at least this
SIMPLER = 0.8  # a normalization has to leave this much less than the best plain factor
STRANGE = 0.8  # share of the null from which on a dictionary knows nothing of these residuals
SAME = 0.15  # relative difference up to which two factors are one
AROUND_ONE = (
    1.7  # factors within this of 1 are shrinkage or text unlike that of the training, not a fault
)
SAME_L0 = 1.05  # times the features a token, up to which their number is the same
STALE = (
    1.1  # times the fraction as it is, from which on a stated normalization was folded after all
)


@dataclass
class Evidence:
    """Numbers about one dictionary and one checkpoint; fractions of variance unexplained unless said otherwise.

    Attributes:
        hook: Where the dictionary says it reads.
        d_in: Width it reads.
        widths: Width of every hook looked at.
        facts: What its folder states.
        precision: What is known of its dtype.
        here: As it is, at its hook; inf where it cannot be read there.
        layers: At other hooks.
        active: Features a token as it is; NaN where it cannot be read.
        scales: With the best factor on the residual, and where it does not fit on parts of the
            weights.
        normalizations: With normalizations that a training may have used.
        stated: With the factor of its folder, or the one that its training would have used on these
            residuals.
        implied: Factors that training codes derive from the norms of these residuals.
        toggled: With a BOS where there is none, or without it.
        first: Of tokens that open a document without BOS, over the variance of all; NaN for none.
        rest: Of all others.
        openings: Of the first tokens measured, as "read" and with BOS "toggled"; NaN where they are
            attention sinks.
        adds_bos: Does the tokenizer put a BOS before plain text?
        starts_with_bos: Share of documents that began with one.
        null: Of residuals turned at random, at the best factor.
        norm_ratio: Mean norm of the reconstruction over that of the residual.
        cosine: Mean cosine of both.
        roles: By role of the token.
        fidelity: Row of a fidelity table.
        base_fits: Is this a finetune of a model that it fits?
    """

    hook: str
    d_in: int
    widths: dict[str, int]
    facts: dict[str, Any]
    precision: Precision
    here: float = math.inf
    active: float = math.nan
    layers: list[Repair] = field(default_factory=list)
    scales: list[Repair] = field(default_factory=list)
    normalizations: list[Repair] = field(default_factory=list)
    implied: list[float] = field(default_factory=list)
    toggled: float = math.nan
    stated: Repair | None = None
    first: float = math.nan
    rest: float = math.nan
    openings: dict[str, float] = field(default_factory=dict)
    adds_bos: bool = False
    starts_with_bos: float = 0.0
    null: float = math.inf
    norm_ratio: float = math.nan
    cosine: float = math.nan
    roles: dict[str, float] = field(default_factory=dict)
    fidelity: dict[str, Any] = field(default_factory=dict)
    base_fits: bool = False

    @property
    def repairs(self) -> dict[str, Repair]:
        """The best repair of each kind, whether it helps or not."""
        found = {}
        if self.layers:
            found[LAYER] = min(self.layers, key=lambda repair: repair.fvu)
        dense = DENSE * self.facts.get("l0", math.inf)
        far = (repair for repair in self.scales if not 1 / AROUND_ONE < repair.factor < AROUND_ONE)
        if away := [repair for repair in far if not repair.l0 > dense]:
            factor = min(away, key=lambda repair: repair.fvu)
            found[NORM if self.matches(factor) else SCALE] = factor
        if self.normalizations:
            way = min(self.normalizations, key=lambda repair: repair.fvu)
            plain = min((repair.fvu for repair in self.scales), default=math.inf)
            if way.fvu < SIMPLER * plain and (
                NORM not in found or way.fvu < SIMPLER * found[NORM].fvu
            ):
                found[NORM] = way
        if math.isfinite(self.toggled):
            found[BOS] = Repair(
                "with BOS" if self.starts_with_bos < 0.5 else "without BOS", 1.0, self.toggled
            )
        return found

    @property
    def helping(self) -> dict[str, Repair]:
        """Those that leave clearly less unexplained, and less than the null, best first."""
        good = {
            cause: repair
            for cause, repair in self.repairs.items()
            if repair.fvu
            <= (HELPS[LAYER] if self.costs_nothing(repair) else HELPS[cause]) * self.here
            and repair.fvu < STRANGE * self.null
            and (cause != LAYER or repair.z >= BEYOND)
            and (
                cause not in (SCALE, NORM)
                or self.here > MATTERS
                or repair.fvu <= STRONG * self.here
            )
            # a dictionary that fits the base has no wrong hook or scale: there the finetune moved
            and not (self.base_fits and cause in (LAYER, SCALE, NORM))
        }
        return dict(sorted(good.items(), key=lambda item: item[1].fvu))

    def costs_nothing(self, repair: Repair) -> bool:
        """Does this factor on the residual, beyond chance, explain more with no more features?

        A lower threshold explains more too, but by more features; an SAE of a fixed number of
        features hardly suffers from a wrong factor, which then shows here only.
        """
        return repair.name == "input" and repair.z >= BEYOND and repair.l0 <= SAME_L0 * self.active

    def matches(self, repair: Repair) -> bool:
        """Is this factor the one of a normalization that nobody folded?"""
        if repair.name != "input":
            return False
        stored = self.facts.get("scaling_factor")
        known = [*self.implied, *([stored] if stored else [])]
        return self.states_normalization or any(
            abs(math.log(repair.factor / one)) <= SAME for one in known
        )

    @property
    def states_normalization(self) -> bool:
        """Does the folder say that residuals were normalized in training, in a way that must be folded?"""
        return self.facts.get("normalize_activations") in (
            "expected_average_only_in",
            "covariance_whitening",
        )

    @property
    def unfolded_by_statement(self) -> bool:
        """Does it say so, and not fit clearly worse for it?"""
        fits = self.stated is not None and self.stated.fvu <= STALE * self.here
        return self.states_normalization and fits and not self.base_fits

    @property
    def opens_otherwise(self) -> bool:
        """Are the first tokens of documents those of the other BOS handling, or such as it never saw?"""
        moved = self.openings.get("toggled", math.nan) <= OPENING * self.openings.get(
            "read", math.nan
        )
        return moved or self.first >= max(FIRST * self.rest, MUCH)

    @property
    def expects_bos(self) -> str:
        """Which statement about the BOS does this reading break? "" for none."""
        stated, trained = self.facts.get("prepend_bos"), self.facts.get("adds_bos")
        if stated is not None and bool(stated) != (self.starts_with_bos >= 0.5):
            return f"its metadata says prepend_bos={bool(stated)}, {self.starts_with_bos:.0%} of documents began with BOS"
        if trained and self.adds_bos not in trained:
            return f"it was trained with a tokenizer that {'adds' if trained[0] else 'adds no'} BOS; this one differs"
        return ""

    @property
    def best(self) -> float:
        """Least that any single repair leaves unexplained."""
        tried = [*self.layers, *self.scales, *self.normalizations]
        return min(
            [
                self.here,
                *([self.toggled] if math.isfinite(self.toggled) else []),
                *(r.fvu for r in tried),
            ]
        )

    @property
    def cause(self) -> str:
        """What is the first thing that is wrong? "" for nothing."""
        if self.d_in not in self.widths.values():
            return OTHER
        if not self.precision.finite:
            return DTYPE
        if self.helping:
            return next(iter(self.helping))
        if not math.isfinite(self.here):
            return DTYPE if self.fidelity else OTHER
        if self.unfolded_by_statement:
            return NORM
        if self.best >= STRANGE * self.null:  # of such residuals first tokens say nothing
            return OTHER
        if self.opens_otherwise:
            return BOS
        if self.expects_bos:
            return BOS
        return DTYPE if self.precision.complaint else ""
