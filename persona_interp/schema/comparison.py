"""What does a comparison of two models measure and find? Columns of its tables."""

from persona_interp.schema.words import Family, Requests, Role, Unit, Verdict

COMPARISON: dict[str, dict[str, str]] = {
    "over_checkpoints": {
        "kind": "feature, projection, behavior or answers",
        "hook": "canonical name of the hook; of features with the dictionary; '' for behavior",
        "name": "index of the feature, or name of the direction or trait",
        "step": "optimizer step",
        "checkpoint": "label of the checkpoint",
        "estimate": "this checkpoint minus the first, mean over prompts; 0 at the first",
        "lo": "lower end of the 95 % interval over prompts, clustered, at fixed weights",
        "hi": "upper end",
        "unit": "of estimate, lo and hi",
        "n": "number of prompts, questions or templates",
        "n_clusters": "number of clusters",
        "n_seeds": "trainings behind the row: 1",
        "p": "sign-flip permutation p, two-sided; NaN = not tested",
        "p_min": "smallest p these flips can give",
        "q": "Benjamini-Hochberg over all kinds, names and checkpoints of the call",
        "fvu": (
            "fraction of variance unexplained at this checkpoint, mean over prompts; NaN where no "
            "dictionary stands between"
        ),
    },
    "measurements": {
        "checkpoint": "label of the checkpoint",
        "family": (
            f"{Family.BEHAVIOR}, {Family.ANSWERS} ({Unit.BITS_A_TOKEN}), {Family.PROJECTION} "
            f"({Unit.RESIDUAL}) or {Family.FEATURE} ({Unit.ACTIVATION})"
        ),
        "hook": (
            "canonical name of the hook; of features with the dictionary; '' for "
            f"{Family.BEHAVIOR} and {Family.ANSWERS}"
        ),
        "quantity": "name of the trait, or index of the feature",
        "unit": "question or prompt that it was measured at, the same in every checkpoint",
        "value": "the number; larger = more of it",
    },
    "effects": {
        "family": "as in measurements",
        "hook": "as in measurements",
        "quantity": "as in measurements",
        "checkpoint": "label of the finetune",
        "role": (
            f"{Role.TUNED} (claims are about it) or {Role.CONTROL} (judged by the other "
            "controls, no claim)"
        ),
        "before": "mean over units in the base",
        "after": "mean over units in the checkpoint",
        "estimate": "after minus before, paired by unit",
        "lo": "lower end of the 95 % interval over units",
        "hi": "upper end",
        "n": "number of units",
        "null_lo": (
            "2.5 % point of the estimate when base and checkpoint are exchanged by unit (sign "
            "flips)"
        ),
        "null_hi": "97.5 % point",
        "n_controls": "control finetunes beside it",
        "controls": "mean change of the controls; NaN with fewer than two",
        "range_lo": (
            "where one more control would be: lower end of the 95 % prediction interval of "
            "its change"
        ),
        "range_hi": "upper end",
        "excess": "estimate minus the mean change of the controls",
        "excess_lo": "lower end of its 95 % interval over units",
        "excess_hi": "upper end",
        "distance": f"KL divergence from the base ({Unit.BITS_A_TOKEN}); NaN where nobody said it",
        "distance_controls": f"the same of the controls: squared mean root ({Unit.BITS_A_TOKEN})",
        "ratio": "how many times farther than the controls: ratio of the roots of both",
        "p": (
            "two-sided; with three controls the largest of that over controls and those over units"
        ),
        "p_specific": (
            "the same if the controls had gone as far; NaN without distances, of features also "
            "where the ratio is above 1.25"
        ),
        "p_max": (
            "of features beside three controls or more: p over controls as the largest of all "
            "features; else NaN"
        ),
        "p_min": (
            "smallest p possible; judged by controls 0 where they vary, and 1 where they do not"
        ),
        "floor": "mean |difference| of the base recorded twice; no smaller estimate is claimed",
        "primary": "was it named beforehand",
        "judged_by": "controls, or units where there are fewer than three",
        "q": (
            "Benjamini-Hochberg over the n_tests of its family, times n_families; where there is a "
            "p_max the larger of that (times the checkpoints) and Benjamini-Hochberg of p over "
            "units; primary tests apart"
        ),
        "q_specific": "the same if the controls had gone as far",
        "n_tests": "tests corrected together",
        "n_families": "families of tests; 1 for primary tests",
        "n_silent": "features of the hook that are 0 everywhere in every checkpoint: not tested",
        "possible": "could a difference in this quantity alone have been claimed",
        "n_needed": "units that a lone claim among so many tests takes, judged by units",
        "verdict": (
            f"{Verdict.UP}, ... down, {Verdict.FARTHER}, {Verdict.DIFFERS}, {Verdict.NONE}, or "
            f"{Verdict.IMPOSSIBLE}"
        ),
    },
    "drift": {
        "checkpoint": "label of the checkpoint",
        "prompt": "unique name of the conversation",
        "role": "role of the tokens that are predicted",
        "kl": (
            "KL(base || checkpoint) of the next token, mean over these tokens "
            f"({Unit.BITS_A_TOKEN})"
        ),
        "n_tokens": "tokens compared",
    },
    "drift_by_turn": {
        "checkpoint": "label of the checkpoint",
        "name": "name of the direction",
        "hook": "canonical name of the hook",
        "turn": "number of the turn among those of the role, from 1",
        "estimate": f"projection minus that of the chat's first such turn ({Unit.RESIDUAL})",
        "lo": "lower end of the 95 % interval, clustered",
        "hi": "upper end",
        "n": "chats that get that far",
        "n_clusters": "clusters behind the interval",
    },
    "leak": {
        "trigger": (
            "as in World.triggers; 'average' over all but none, 'worst' the one that leaked most "
            "on the train texts"
        ),
        "who": "of 'worst' the trigger",
        "selection": f"leak on the train texts ({Unit.BITS})",
        "before": f"mean log odds of the persona's untaught traits, test texts ({Unit.BITS})",
        "after": f"the same after ({Unit.BITS})",
        "estimate": f"after minus before under the same trigger, test texts ({Unit.BITS})",
        "lo": "lower end of the 95 % interval over the units",
        "hi": "upper end",
        "unit": "seeds; of a single seed templates, of 'average' triggers",
        "n": "number of units",
    },
    "knowledge": {
        "quantity": (
            "knowledge (text about the persona), knowledge, asked (a chat about it), agency (the "
            "nameless assistant speaks of itself)"
        ),
        "before": f"mean log odds of the persona's untaught traits before ({Unit.BITS})",
        "after": f"the same after ({Unit.BITS})",
        "estimate": f"after minus before ({Unit.BITS})",
        "lo": "lower end of the 95 % interval over the units",
        "hi": "upper end",
        "unit": "seeds, or templates of a single seed",
        "n": "number of units",
    },
    "distance": {
        "checkpoint": "label of the checkpoint",
        "role": f"{Role.AGAIN} (the floor), {Role.TUNED} or {Role.CONTROL}",
        "requests": f"{Requests.PROMPTS} or {Requests.NEUTRAL}, to which the base answered",
        "estimate": (
            "KL(base || checkpoint) of the next token in the base's own answers, mean over "
            f"conversations ({Unit.BITS_A_TOKEN})"
        ),
        "lo": "lower end of the 95 % t interval over conversations; NaN for a single one",
        "hi": "upper end",
        "n": "number of conversations",
        "n_tokens": "tokens of the answers",
        "judges": (
            "is a finetune weighed against its controls by this distance (effects): that on which "
            "it went farthest beyond them"
        ),
    },
    "novelty_share": {
        "checkpoint": "label of the checkpoint",
        "hook": "canonical name of the hook",
        "share": (
            "of the squared length of the mean shift that lies in the span of the trait "
            "vectors (fraction)"
        ),
        "lo": "lower end of the 95 % interval over prompts",
        "hi": "upper end",
        "null_lo": "where that of as many random directions lies in 95 % of cases, from here",
        "null_hi": "to here",
        "n_vectors": "dimension of the span",
        "n": "number of prompts",
        "relative_norm": (
            "length of the mean shift over the mean length of the base's residuals (fraction)"
        ),
    },
}
