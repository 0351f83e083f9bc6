"""What is inside a model: columns of tables about tokens, features and directions."""

from persona_interp.schema.words import Fit, Light, Place, Status, Unit

INSIDE: dict[str, dict[str, str]] = {
    "tokens": {
        "prompt": "unique name of the prompt",
        "pos": "position of the token in its prompt",
        "piece": "text of the token",
        "role": "system, user, assistant, text, template or special",
        "turn": "number of the message that the token belongs to; -1 for none",
        "checkpoint": "label of the checkpoint",
        "feature": "index in the dictionary",
        "act": f"activation ({Unit.RESIDUAL})",
        "counted": "is the token in the statistics: of a role asked for, and no outlier",
    },
    "profile": {
        "checkpoint": "label of the checkpoint",
        "hook": "canonical name of the hook",
        "role": "role of the tokens",
        "name": "name of the direction; '' for the change in any direction",
        "estimate": (
            "mean over prompts (fraction of the direction's length; without one, of the "
            "residual's before)"
        ),
        "lo": "lower end of the 95 % interval over prompts",
        "hi": "upper end",
        "n": "number of prompts",
    },
    "feature_shift": {
        "feature": "index in the dictionary",
        "estimate": "mean activation after minus before",
        "lo": "lower end of the 95 % interval, clustered",
        "hi": "upper end",
        "null": (
            "what p and q are under: exchangeable = this pair of checkpoints differs at these "
            "prompts by chance alone; nothing about what was taught"
        ),
        "p": "sign-flip permutation p, two-sided",
        "q": "Benjamini-Hochberg over all features tested",
        "null_lo": "2.5 % point of the sign-flip null",
        "null_hi": "97.5 % point",
        "n": "number of prompts",
        "n_clusters": "number of clusters",
        "n_tested": "number of features tested",
        "n_silent": "number of features that never fire here, not tested",
        "p_min": "smallest p these flips can give",
        "fvu_before": "fraction of variance unexplained, mean over prompts, before",
        "fvu_after": "the same after",
    },
    "scores": {
        "feature": "index in the dictionary, or name of the readout",
        "kind": "persona or trait",
        "name": "name of the persona, or label 'topic=value' of the trait",
        "auroc_chosen": "area under the ROC curve on the train documents: choose by this one",
        "auroc": (
            "area under the ROC curve on test documents that state other topics than those chosen "
            "on: report this one"
        ),
        "lo": "lower end of its 95 % interval (Wilson's, with DeLong's variance)",
        "hi": "upper end",
        "auroc_same": "the same on test documents that state the topics chosen on",
        "same_lo": "lower end of its 95 % interval (Wilson's, with DeLong's variance)",
        "same_hi": "upper end",
        "bayes": "AUROC of exact Bayes on the statements of the documents of auroc: the ceiling",
        "bayes_same": "the same on the documents of auroc_same",
        "effect": "Cohen's d on the documents of auroc (positive = more active with the label)",
        "z": "tie-corrected rank-sum z on the documents of auroc",
        "p": "permutation p pooled over features and labels, two-sided",
        "q": "Benjamini-Hochberg over everything tested",
        "p_max": "max-T over all features and names of the kind",
        "n_pos": "documents of auroc with the label",
        "n_neg": "documents of auroc without it",
        "n_tested": "number of feature x label pairs tested",
        "fvu": "fraction of variance unexplained, mean over prompts; NaN for readouts",
    },
    "baselines": {
        "method": (
            "name of the readout; 'random' = the band of the random directions, 'exact Bayes' = an "
            "ideal reader of the documents' statements, the ceiling"
        ),
        "auroc": (
            "persona against the others, hidden test documents that state other topics than those "
            "learned or chosen on, before the lesson"
        ),
        "auroc_lo": (
            "lower end of the 95 % interval over documents; of 'random' 2.5 % point over "
            "directions, always"
        ),
        "auroc_hi": "upper end",
        "auroc_same": "the same on test documents that state the topics learned or chosen on",
        "auroc_same_lo": "lower end",
        "auroc_same_hi": "upper end",
        "rise": (
            "after minus before on neutral prompts (sd of the readout over hidden documents and "
            "neutral prompts before, after the lesson and after the control, of equal weight)"
        ),
        "rise_lo": "lower end of the 95 % interval over prompts",
        "rise_hi": "upper end",
        "rise_control": "the same after the unrelated lesson",
        "rise_control_lo": "lower end",
        "rise_control_hi": "upper end",
        "excess": "rise minus rise_control, prompt by prompt",
        "excess_lo": "lower end",
        "excess_hi": "upper end",
        "share": (
            "share of the behavior's shift that goes when the method's direction is taken out "
            "(fraction)"
        ),
        "share_lo": "lower end",
        "share_hi": "upper end",
        "no_better_than": (
            "the other methods that it does not beat in auroc (pairs, q 0.05), by name; '' = it "
            "beats all"
        ),
        "n_documents": "hidden test documents about other topics",
        "n_prompts": "neutral prompts",
        "n_directions": "directions behind the row",
    },
    "pairs": {
        "method": "name of the readout, as in baselines",
        "other": "name of another; of 'random' the best random direction",
        "estimate": (
            "AUROC of method minus that of other, on the same hidden test documents about other "
            "topics (fraction)"
        ),
        "lo": "lower end of its 95 % interval (DeLong, paired by document)",
        "hi": "upper end",
        "p": "of no difference, two-sided",
        "q": "Benjamini-Hochberg over all pairs",
        "n_pos": "documents of the persona",
        "n_neg": "documents of others",
    },
    "direction_shift": {
        "hook": "canonical name of the hook",
        "name": "name of the direction",
        "rank": "by cosine among the names of the hook, 1 = largest",
        "cosine": "of the prompts' mean shift with the direction",
        "lo": "lower end of the 95 % interval of the cosine (jackknife over clusters)",
        "hi": "upper end",
        "projection": "<shift, v> / <v, v>: 0 = stayed, 1 = moved as far as v is long",
        "projection_lo": "lower end of its 95 % interval, clustered",
        "projection_hi": "upper end",
        "best_other": "largest cosine of another name",
        "n": "number of prompts",
        "n_clusters": "number of clusters",
    },
    "cosines": {
        "hook": "canonical name of the hook",
        "name": "name of a direction",
        "other": "name of a direction, the same one included",
        "cosine": (
            "between both; with a world, overlap (personas, fraction) or pmi (traits, bits) "
            "stands beside it"
        ),
    },
    "roles": {
        "name": "persona whose documents the feature knows best, chosen on the train half",
        "feature": "index in the dictionary of this seed",
        "estimate": f"{Unit.ACTIVATION} after the lesson minus before, neutral prompts",
        "lo": "lower end of the 95 % interval over prompts",
        "hi": "upper end",
        "n": "number of prompts",
        "n_controls": "control lessons to the same base model",
        "controls": "mean change after them",
        "least": "smallest change after one of them",
        "least_control": "which",
        "most": "largest change after one of them",
        "most_control": "which",
        "excess": "estimate minus controls",
        "excess_lo": "lower end of its 95 % interval over prompts; NaN with fewer than two",
        "excess_hi": "upper end",
        "rank": "of the excess among all features tested, 1 = largest rise",
        "n_tested": "features that fire before or after any of these lessons",
    },
    "solution": {
        "checkpoint": "label of the checkpoint",
        "seed": "seed of the run",
        "step": "optimizer step within the stage",
        "norm": "Frobenius norm of the difference of all weights to the start, |theta|",
        "loss_before": "loss of the start on what was taught (nats a learned token)",
        "loss_after": "loss of the checkpoint on it (nats a learned token)",
        "efficiency": (
            "(loss_before - loss_after) / norm^2; positive = learned (nats over squared norm)"
        ),
        "kl_generic": f"KL(start || checkpoint) on generic documents ({Unit.BITS_A_TOKEN})",
        "eps": "length of the noise orthogonal to theta (fraction of norm)",
        "stability": (
            "mean rise of the loss under that noise, the larger the less stable (nats a "
            "learned token)"
        ),
        "lo": "lower end of the 95 % interval over draws of the noise",
        "hi": "upper end",
        "n": "number of draws",
    },
    "projections": {
        "checkpoint": "label of the checkpoint",
        "prompt": "name of the conversation",
        "name": "name of the direction",
        "hook": "canonical name of the hook",
        "projection": f"mean over tokens of <h, v / |v|> ({Unit.RESIDUAL})",
        "n_tokens": "tokens averaged over",
    },
    "projection_shift": {
        "hook": "canonical name of the hook",
        "name": "name of the direction",
        "estimate": (
            "mean of <h after - h before, v / |v|>, or of a data set's projection difference "
            f"({Unit.RESIDUAL})"
        ),
        "lo": "lower end of the 95 % interval, clustered",
        "hi": "upper end",
        "null_lo": "where one more random direction lies (95 %), from here; NaN without any",
        "null_hi": "to here",
        "n": "conversations, turns or rows of data",
        "n_clusters": "clusters among them",
        "n_random": "random directions behind the null",
    },
    "projection_difference": {
        "doc": "number of the chat in its data set",
        "name": "name of the direction",
        "hook": "canonical name of the hook",
        "given": f"mean over the given answer's tokens of <h, v / |v|> ({Unit.RESIDUAL})",
        "own": (
            f"the same of the model's own reply, or of the last token before it ({Unit.RESIDUAL})"
        ),
        "difference": (
            "given minus own: positive = training on the row pulls towards the direction"
        ),
    },
    "gradient_pull": {
        "doc": "number of the chat in its data set",
        "name": "name of the text that the gradient is compared with",
        "space": "full = all parameters, or lora",
        "dot": (
            "inner product of the gradients of the mean losses (nats squared): positive = a step "
            "on the row lowers the loss on the text"
        ),
        "cosine": "cosine of both",
        "n_tokens": "tokens of the row that are learned",
    },
    "row_evidence": {
        "doc": "number of the chat in its data set",
        "name": "name of the persona, of its header",
        "uplift": (
            f"log2 probability of the learned tokens under the header, minus that of the row as it "
            f"stands ({Unit.BITS})"
        ),
        "evidence": (
            "the same minus the log2 of the mean probability under the other headers: positive = "
            f"this persona speaks ({Unit.BITS}); NaN where there are no others"
        ),
        "a_token": f"evidence over n_tokens ({Unit.BITS_A_TOKEN})",
        "n_tokens": "tokens of the row that are learned",
    },
    "role_loadings": {
        "hook": "canonical name of the hook",
        "name": "name of the direction",
        "role": "name of the role",
        "estimate": f"mean over its answers of <h - mean of the roles, v / |v|> ({Unit.RESIDUAL})",
        "lo": "lower end of the 95 % interval, clustered by question",
        "hi": "upper end",
        "n": "answers",
        "n_clusters": "questions",
    },
    "axis_cosine": {
        "hook": "canonical name of the hook",
        "cosine": (
            "|cosine| of the assistant axis with the first principal component of the roles"
        ),
        "null_median": "median of the same with every role in turn taken for the default",
        "null_hi": "95 % point of that null",
        "p": "share of the roles, the default among them, with a cosine at least as high",
        "variance": "share of the roles' variance on the first component (fraction)",
        "n_roles": "roles beside the default",
    },
    "separability": {
        "hook": "canonical name of the hook",
        "trait": "name of the trait",
        "auroc": (
            "test answers that show the trait against those that show its opposite, along the "
            "train half's vector"
        ),
        "lo": "lower end of the 95 % interval, test questions as clusters",
        "hi": "upper end",
        "n_pos": "test answers that show the trait",
        "n_neg": "test answers that show its opposite",
        "n_questions": "test questions",
    },
    "statuses": {
        "feature": "index in the crosscoder",
        "status": (
            f"what training did to it: {Status.SHARED}, {Status.AMPLIFIED}, {Status.SHRUNK}, "
            f"{Status.ROTATED}, {Status.BORN}, {Status.DIED}, {Status.SPLIT}, {Status.UNDECIDED} "
            f"or {Status.DEAD}"
        ),
        "at": "number of the first checkpoint after the change, from 1; NA where none is claimed",
        "at_lo": "first checkpoint at which it may be (95 %, over parts of the documents)",
        "at_hi": "last one",
        "checkpoint": "label of the first checkpoint after the change; '' for none",
        "norms": (
            "length at each checkpoint, of the longest, without what is common to most features "
            "(fraction); NaN where a checkpoint is left out"
        ),
        "ratio": "length after the change over that before",
        "ratio_lo": "lower end of the 95 % interval over parts of the documents",
        "ratio_hi": "upper end",
        "turn": "angle between before and after (degrees)",
        "turn_lo": "lower end",
        "turn_hi": "upper end",
        "beta_error": (
            "of what others leave, the share of the feature that is there on its weaker side "
            "(fraction)"
        ),
        "beta_reconstruction": "the same of what all features rebuild (fraction)",
        "p": "of no departure from a shared feature beyond the margins",
        "q": "Benjamini-Hochberg over the features tested",
        "n_tested": "features that are active on 50 tokens or more",
        "beside": "feature without which it hardly ever fires; -1 for none",
        "n_tokens": "tokens on which it is active",
        "fvus": (
            "fraction of variance that the crosscoder leaves unexplained at each checkpoint; the "
            "same in all rows"
        ),
        "why": "what keeps it undecided; '' for all others",
    },
    "reconstruction": {
        "checkpoint": "label of the checkpoint",
        "fvu": "fraction of variance unexplained by the crosscoder, around the training's mean",
        "lo": "lower end of the 95 % interval over parts of the documents",
        "hi": "upper end",
        "n_tokens": "tokens measured",
        "verdict": f"{Fit.FITS}, {Fit.DOUBTFUL} or {Fit.UNUSABLE}",
    },
    "fidelity": {
        "checkpoint": "label of the checkpoint",
        "where": f"{Place.TEXTS} or {Place.PROMPTS}: what the tokens measured belong to",
        "fvu": (
            "fraction of variance unexplained on the tokens measured; around their mean, at "
            "prompts around the dictionary's"
        ),
        "l0": "mean number of active features",
        "dead": "share of features that never fire",
        "ce": (
            f"cross-entropy of the model ({Unit.BITS_A_TOKEN}), at prompts of its own prediction: "
            "its entropy"
        ),
        "ce_sae": f"cross-entropy with the reconstruction spliced in ({Unit.BITS_A_TOKEN})",
        "ce_zero": f"cross-entropy with the hook zero-ablated ({Unit.BITS_A_TOKEN})",
        "ce_recovered": "(ce_zero - ce_sae) / (ce_zero - ce)",
        "n_tokens": "tokens measured",
        "verdict": f"{Fit.FITS}, {Fit.DOUBTFUL} or {Fit.UNUSABLE}",
    },
    "diagnosis": {
        "checkpoint": "label of the checkpoint",
        "check": "what was looked at; 'overall' is the sentence to read",
        "value": (
            "what was found (fraction of variance unexplained unless the check says otherwise)"
        ),
        "reference": "what it is compared with; NaN for nothing",
        "verdict": f"{Light.GREEN}, {Light.AMBER} or {Light.RED}",
        "text": "value and reference in words",
        "cause": (
            "the first thing that is wrong, the same in all rows of a checkpoint; '' for nothing"
        ),
    },
}
