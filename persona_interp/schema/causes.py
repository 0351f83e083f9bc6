"""What carries an effect: columns of tables about edits of the inside."""

from persona_interp.schema.words import Carries, Group, Ruling, Unit, Way

CAUSES: dict[str, dict[str, str]] = {
    "causes": {
        "edit": "name of the edit; 'none' = no edit",
        "base": f"mean log odds of the target's untaught traits before the lesson ({Unit.BITS})",
        "tuned": f"the same after the lesson ({Unit.BITS})",
        "edited": f"the same with the edit ({Unit.BITS})",
        "share": "of tuned minus base: what the edit takes away, or brings (fraction)",
        "lo": "lower end of the 95 % interval over templates",
        "hi": "upper end",
        "share_of_patch": (
            "of what the other model's whole residual takes away, or brings, at the same hook: the "
            "same (fraction); NaN without a patch"
        ),
        "share_of_patch_lo": "lower end of its 95 % interval over templates",
        "share_of_patch_hi": "upper end",
        "share_net": (
            "share minus what the same edit does to the other model, of tuned minus base "
            "(fraction); NaN where that was not edited"
        ),
        "share_net_lo": "lower end of its 95 % interval over templates",
        "share_net_hi": "upper end",
        "other_edited": (
            f"the other model with the edit: the base where tuned is edited ({Unit.BITS}); NaN "
            "where it was not"
        ),
        "n": "number of templates",
        "note": "why there is no share; '' where there is one",
    },
    "carriers": {
        "measure": "behavior, or text that is drawn under the edit",
        "candidate": "what may carry the effect: a direction, features, or both",
        "kind": "direction, features, or directions and features",
        "group": (
            f"what the edit is for: {Group.CANDIDATE}, {Group.PATCH}, {Group.OTHER}, "
            f"{Group.CONTROL} or {Group.MATCHED}"
        ),
        "size": "directions or features in it, at one site",
        "sites": "hooks at which it is edited, all at once",
        "how": (
            f"{Way.REMOVED} from the tuned model; {Way.ADDED} to the base, as far as the finetune "
            f"went; {Way.PUSHED} in the base as far as its text stays coherent; {Way.OPPOSITE}"
        ),
        "effect": (
            "what the edit takes away or brings: bits of log odds in a world, else bits a token"
        ),
        "lo": "lower end of its 95 % interval over prompts",
        "hi": "upper end",
        "share": "of tuned minus base (fraction); NaN where that is too small to be shared out",
        "share_lo": "lower end of its 95 % interval over prompts",
        "share_hi": "upper end",
        "share_of_patch": (
            "of what the other model's whole residual does at the same sites (fraction); NaN of "
            "text, which cannot be patched"
        ),
        "share_of_patch_lo": "lower end of its 95 % interval over prompts",
        "share_of_patch_hi": "upper end",
        "tuned_lo": (
            "lower end of the 95 % t interval over finetunes, of share_of_patch (of text: share); "
            "NaN of fewer than three"
        ),
        "tuned_hi": "upper end",
        "null_lo": (
            "where the same number of one more random direction lies (95 %, t prediction; the "
            "wider of both kinds), from here"
        ),
        "null_hi": "to here",
        "n_null": "random edits behind it, of the kind of which there are fewer",
        "p": (
            "of a random edit going as far, two-sided: the larger of both kinds; NaN of controls"
        ),
        "q": "Benjamini-Hochberg over all tests of the family",
        "family": (
            "what is corrected together: a measure, of all candidates and ways (in a comparison of "
            "all finetunes too), and how many tests that is"
        ),
        "judged": "the number that the verdict is about: share_of_patch, of text share",
        "strength": "of a push, the largest that is told coherent (times the finetune's); else 1",
        "strength_hi": "of a push, the largest that is not told to break the text; else NaN",
        "nats": "nats a token by which text under the edit surprises the base; NaN if not drawn",
        "excess": "the same beyond a model's own text, mean over questions (nats a token)",
        "excess_lo": (
            "lower end of its 95 % interval over questions; of several finetunes the mean of "
            "theirs, which is wide rather than narrow"
        ),
        "excess_hi": "upper end",
        "coherence": (
            f"'{Ruling.HOLDS}' where the whole interval lies below the limit, '{Ruling.FAILS}' "
            f"beyond it, else '{Ruling.UNDECIDED}'; '' where no text was asked for"
        ),
        "n": "prompts (templates of a world), none of which chose anything",
        "n_tuned": "finetunes behind the row",
        "verdict": (
            f"{Carries.CARRIES}, {Carries.HERE}, {Carries.AGAINST}, {Carries.BROKEN}, "
            f"{Carries.UNSURE}, {Carries.NONE} or {Carries.UNDEFINED}; '' of controls"
        ),
        "note": "why there is no share; '' where there is one",
    },
    "rivals": {
        "group": "kind of edit that is compared with the edit itself",
        "n": "edits of this kind",
        "mean": "their mean (fraction of the shift)",
        "least": "smallest of them",
        "least_edit": "its name",
        "most": "largest of them",
        "most_edit": "its name",
        "own": "the same number of the edit itself",
        "difference": "own minus most; negative = one of them takes more",
        "held_out": "own minus what the one takes that takes most in the other seeds",
        "rank": "of the edit itself among them, 1 = it takes more than all",
    },
}
