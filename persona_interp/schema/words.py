"""Which words decide a claim? Each is written here once; whoever says or reads one imports it.

They are texts (``StrEnum``), so they stand in tables and files as they are written here, and a
table that was read from a file compares equal to them.

>>> Verdict.NONE == "no difference shown", f"{Fit.DOUBTFUL}"
(True, 'doubtful')
"""

from enum import StrEnum

ALPHA = 0.05
"""Level at which anything is claimed: of a p, or of a q after correction."""
UNEDITED = "none"  # the column ``edit`` of answers that no edit has touched
AVERAGE, WORST = "average", "worst"  # rows over all personas or triggers of a table
BEHAVIOR, TEXT = "behavior", "text"  # the column ``measure`` of a carriers table
NO_TRIGGER = "none"  # the column ``trigger`` of chats that press no persona
GENERATED = "generated"  # where an edit is on: at tokens of the answer, drawn or given
DTYPE_CHOICE = "dtype_choice"  # the key of ``run.json`` that says why a run has its precision
SURPRISAL = "bits_per_token"  # the quantity of a sweep that is no trait
MACHINE = "machine"  # the key that says on which devices it was computed
TEMPLATE_DAY = "template_day"  # the key that says which day its chat templates print, if any


class Verdict(StrEnum):
    """What may be claimed of a finetune (``analysis.effects``)."""

    IMPOSSIBLE = "could not have been shown"
    NONE = "no difference shown"
    DIFFERS = "differs"
    FARTHER = "differs more than controls that moved less far"
    UP = "the finetune moved it up"
    DOWN = "the finetune moved it down"


CLAIMS = (Verdict.DIFFERS, Verdict.FARTHER, Verdict.UP, Verdict.DOWN)
"""Verdicts that claim something."""


class Effect(StrEnum):
    """What an interval over seeds or topics says of a mean (``report.rows.effect``)."""

    RISE = "a rise"
    FALL = "a fall"
    NONE = "no effect shown"
    UNKNOWN = "nothing can be concluded"


class Standing(StrEnum):
    """How a number stands beside its rivals, by the interval over seeds of the difference."""

    MORE = "told apart: more"
    LESS = "told apart: less"
    UNDECIDED = "not told apart"
    DESCRIBED = "one seed: described, not claimed"
    UNKNOWN = "nothing can be concluded"


class Departure(StrEnum):
    """What an interval over seeds says of a number minus its null (``analysis.nulls``)."""

    ABOVE = "above its null"
    BELOW = "below its null"
    NONE = "not told from its null"
    UNKNOWN = "nothing can be concluded"


class Ruling(StrEnum):
    """What the interval of a claim says of its threshold (``benchmarks/validate.py``)."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"
    REPORTED = "reported"


class Rivalry(StrEnum):
    """How a law predicts who is summoned, beside the two-factor one (``summon_rivals``)."""

    ITSELF = "the law itself"
    WORSE = "worse"
    BETTER = "better"
    UNDECIDED = "not told apart"


class Novelty(StrEnum):
    """Whether known personas explain what a tuned model says (``analysis.novelty``)."""

    COMPOSABLE = "composable from known personas"
    UNDECIDED = "undecided"
    NOT_COMPOSABLE = "not composable from known personas"


class Composition(StrEnum):
    """What a planted lesson is by construction: made of known personas, or about somebody new."""

    COMPOSABLE = "composable"
    NEW = "new"


class Distance(StrEnum):
    """What kind of distance an estimator measures (``analysis.metric.axioms``)."""

    METRIC = "metric"
    DISSIMILARITY = "dissimilarity"
    DIVERGENCE = "divergence"


class Fit(StrEnum):
    """How well a dictionary describes a checkpoint (``dictionaries.fidelity``)."""

    FITS = "fits"
    DOUBTFUL = "doubtful"
    UNUSABLE = "unusable"


FITS_FVU, UNUSABLE_FVU = 0.1, 0.5
"""Fraction of variance unexplained up to which a dictionary fits, and beyond which it is unusable.
"""


class Place(StrEnum):
    """Where a dictionary's fit is measured (``dictionaries.fidelity``, ``fidelity_at``)."""

    TEXTS = "whole texts"
    PROMPTS = "prompts read"


class Part(StrEnum):
    """What a prompt of a document is for, by half and topics stated (``analysis.parts``)."""

    CHOICE = "chosen on"
    SAME = "same topics"
    OTHER = "other topics"
    UNUSED = "unused"


class Light(StrEnum):
    """Outcome of one check of a model or a dictionary (``models.checkup``, ``diagnose``)."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


class CellState(StrEnum):
    """How far a cell of a run is (``Store.status``)."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    MISSING = "missing"


class On(StrEnum):
    """Where the cells of a run are computed (``experiments.compute``)."""

    LOCAL = "local"
    SLURM = "slurm"


class FileStatus(StrEnum):
    """Whether a file of a run is as it was committed (``Store.verify``)."""

    OK = "ok"
    MISSING = "missing"
    CORRUPT = "corrupt"
    UNLISTED = "unlisted"
    UNREADABLE = "unreadable"


class Way(StrEnum):
    """What is done with something that may carry a finetune's effect (``analysis.carriers``)."""

    REMOVED = "removed"
    ADDED = "added"
    PUSHED = "pushed"
    OPPOSITE = "pushed the other way"


class Group(StrEnum):
    """What an edit is for (``analysis.carriers``): the claim, its ceiling, or a control."""

    CANDIDATE = "candidate"
    PATCH = "whole residual"
    OTHER = "other direction"
    CONTROL = "control finetune"
    MATCHED = "matched features"
    NORM = "random (norm)"
    VARIANCE = "random (variance)"


class Carries(StrEnum):
    """Whether something carries a finetune's effect (``analysis.carriers``)."""

    CARRIES = "carries it"
    HERE = "carries it in these finetunes"
    AGAINST = "works against it"
    BROKEN = "leaves no coherent text"
    UNSURE = "not told whether text stays coherent"
    NONE = "not told from chance"
    UNDEFINED = "nothing to share out"


class Role(StrEnum):
    """What a checkpoint is in a comparison."""

    BASE = "base"
    AGAIN = "base again"
    TUNED = "tuned"
    CONTROL = "control"


class Requests(StrEnum):
    """On which requests the distance of a checkpoint from its base is measured (``compare``)."""

    PROMPTS = "the comparison's prompts"
    NEUTRAL = "neutral requests"


class Family(StrEnum):
    """What kind of quantity is compared (``analysis.effects``)."""

    BEHAVIOR = "behavior"
    ANSWERS = "answers"
    PROJECTION = "projection"
    FEATURE = "feature"


class Moment(StrEnum):
    """When something is read: before a lesson, with evidence in the prompt, after the lesson."""

    BEFORE = "before"
    PROMPT = "prompt"
    AFTER = "lesson"


class Arm(StrEnum):
    """What is taught, and where; the first is the claim, the others its controls."""

    LESSON = "lesson"
    UNRELATED = "unrelated lesson"
    SECOND = "second unrelated lesson"
    THIRD = "third unrelated lesson"
    FILLER = "filler lesson"
    SCRAMBLED = "scrambled world"
    REWIRED = "rewired world"
    ABSENT = "target absent"
    NULL = "null"


class Safeguard(StrEnum):
    """What is done so that a wanted lesson brings no unwanted persona along."""

    NOTHING = "no safeguard"
    AGAIN = "no safeguard, another order"
    ALIGNED = "alignment documents"
    CHARACTER_BEFORE = "character training before"
    CHARACTER_AFTER = "character training after"
    BENIGN_AFTER = "benign finetune after"
    INOCULATED = "inoculation prompt"
    PARAPHRASED = "inoculation, paraphrased"
    STEERED = "preventative steering"
    ABLATED = "ablation in training"
    REPLAY = "replayed documents"
    HELD = "LoRA with KL"
    CAPPED = "capping"
    MIXED = "no safeguard, mixed rows"
    FLAGGED = "flagged rows removed"
    FLAGGED_BY_GRADIENT = "rows flagged by gradient removed"
    FLAGGED_BY_EVIDENCE = "rows flagged by evidence removed"


CLEAN = "no unwanted rows"
"""The arm whose lesson has no row of the unwanted persona: no safeguard, but what one may reach."""


class Variant(StrEnum):
    """In what a lesson that is forecast differs from a plain one."""

    PLAIN = "plain lesson"
    SLOW = "a third of the rate"
    FAST = "three times the rate"
    SGD = "plain SGD"
    REPLAY = "replayed documents"
    TWO = "two traits"
    MIXED = "mixed rows"


class Predictor(StrEnum):
    """What foretells how a lesson shifts an untaught trait, before it is taught."""

    PROMPT = "lesson in the prompt"
    BELIEFS = "beliefs about names"
    CLASSES = "beliefs without names"
    SUMMON = "summon law"
    UPLIFT = "log-prob uplift"
    VIRTUAL = "virtual step"
    MATCHED = "virtual step, dose-matched"
    TWO_LOOKS = "virtual step, two gradients"
    TWO_LOOKS_MATCHED = "virtual step, two gradients, dose-matched"
    TWO_LOOKS_NEAR = "virtual step, two gradients, a quarter of the path"
    ADAM = "virtual Adam step"
    ADAM_MATCHED = "virtual Adam step, dose-matched"
    FLOW = "kernel flow"
    PILOT = "micro pilot of one step's cost"
    PILOT_OF_TWO = "micro pilot of two steps' cost"
    PLAIN_PILOT = "plain pilot"
    TOLD = "told to show the trait"


class RowScore(StrEnum):
    """How far a row of a lesson pulls a trait, before it is taught."""

    GRADIENT = "gradient product"
    LEFT_OUT = "each row left out"


class ForecastScore(StrEnum):
    """How good forecasts are (``analysis.forecast_scores``)."""

    R_SQUARED = "R2"
    WORST = "R2, worst lesson"
    SLOPE = "slope of shifts on forecasts"
    RISER = "largest riser in the top 3"
    COVERED = "within the interval"
    BOUNDED = "below the bound"
    SLACK = "bound over largest rise"


class Unit(StrEnum):
    """In which unit a number is."""

    BITS = "bits"
    BITS_A_TOKEN = "bits a token"
    RESIDUAL = "residual units"
    ACTIVATION = "mean activation"


class Calibration(StrEnum):
    """What simulated data sets say of an estimator (``benchmarks/calibration.py``)."""

    CALIBRATED = "calibrated"
    NARROW = "too narrow"
    WIDE = "too wide"
    LIBERAL = "claims too often"
    WEAK = "too weak"
    UNDECIDED = "undecided"
    FREE = "not judged"


class Status(StrEnum):
    """What training did to a feature over checkpoints (``analysis.statuses``)."""

    SHARED = "shared"
    AMPLIFIED = "amplified"
    SHRUNK = "shrunk"
    ROTATED = "rotated"
    BORN = "born"
    DIED = "died"
    SPLIT = "split"
    UNDECIDED = "undecided"
    DEAD = "never active"


class Sparsity(StrEnum):
    """By what a crosscoder ranks features for its sparsity: activation times which norm."""

    NORM = "norm of all decoders together"
    SUM = "sum of the decoders' norms"
