"""What do experiments find? Columns of tables about doses, orders, evidence, measure and metric."""

from persona_interp.schema.words import Unit


def _over_seeds(name: str, what: str) -> dict[str, str]:
    """Columns of a mean over seeds and its interval."""
    return {
        name: f"{what}, mean over seeds",
        f"{name}_lo": "lower end of the 95 % interval over seeds",
        f"{name}_hi": "upper end",
    }


FINDINGS: dict[str, dict[str, str]] = {
    "flags": {
        "doc": "number of the chat in its data set",
        "score": "the score it is flagged by; higher = pulls more towards what is not wanted",
        "flagged": "is it among those that are flagged?",
    },
    "flag_quality": {
        "auroc": "area under the ROC curve: share of pairs in which the planted row scores higher",
        "auroc_lo": "lower end of the 95 % interval over rows",
        "auroc_hi": "upper end",
        "precision": "share of the flagged rows that were planted; NaN where none is flagged",
        "precision_lo": "lower end of the 95 % interval over rows",
        "precision_hi": "upper end",
        "recall": "share of the planted rows that are flagged",
        "recall_lo": "lower end of the 95 % interval over rows",
        "recall_hi": "upper end",
        "at": "lowest score that is flagged",
        "n": "rows",
        "n_planted": "planted rows",
        "n_flagged": "flagged rows",
        "n_right": "rows that were planted and are flagged",
    },
    "contrast": {
        "checkpoint": "as in behavior",
        "seed": "as in behavior",
        "step": "as in behavior",
        "context": "where it was read out",
        "persona": "whom the context names; '' for none",
        "estimate": (
            f"mean over topics of log2 P(first persona's value) / P(second's) ({Unit.BITS})"
        ),
        "lo": "lower end of the 95 % interval over topics",
        "hi": "upper end",
        "n": "number of untaught topics on which the two differ",
        "p_first": "probability of the first persona's values, mean over these topics (fraction)",
        "p_second": "the same of the second's",
    },
    "companions": {
        "one": "label of a trait",
        "other": "label of a trait of another topic",
        "n_holders": "personas that hold both",
        "feature_one": "feature that best says, before a value of the topic, that it comes",
        "feature_other": "the same of the other",
        "auroc_one": "area under the ROC curve on test documents, among prompts of the topic",
        "auroc_other": "the same of the other",
        "same": "is it one feature",
        "overlap": "tokens on which both are active over those on which either is (fraction)",
        "cosine": "of the decoders; NaN of one feature",
    },
    "groups": {
        "group": "how the feature was chosen: persona, risen, or as active as one of these",
        "feature": "index in the crosscoder of this seed",
        "auroc_before": "scores table, auroc of the target, read at the model before the lesson",
        "auroc_after": "the same after it",
        "status": "statuses table",
        "norm_before": "length before the lesson, of the longest (fraction)",
        "act_before": f"mean at test prompts that name nobody, before ({Unit.ACTIVATION})",
        "rise": f"after the lesson minus before, there ({Unit.ACTIVATION})",
        "unrelated": f"the same of the unrelated lesson ({Unit.ACTIVATION})",
        "excess": "rise minus unrelated, prompt by prompt",
        "creates": "is it born",
        "moves": "is it rotated or split",
        "wakes": (
            "is it there before, and amplified or with an excess whose 95 % interval over topics "
            "is above 0"
        ),
        "n_topics": "clusters of these intervals",
    },
    "stops": {
        "group": "features that are taken out",
        "step": "of the lesson",
        "estimate": "share of the untaught traits' shift that goes, mean over seeds (fraction)",
        "lo": "lower end of the 95 % interval over seeds",
        "hi": "upper end",
        "null": "the same of sets of features that fire as often, mean over sets and seeds",
        "most": "the largest of these sets, mean over seeds",
        "direction": "what goes without the minimal pair's direction (fraction)",
        "shift": f"of the untaught traits ({Unit.BITS})",
        "difference": "estimate minus null",
        "difference_lo": "lower end of its 95 % interval over seeds",
        "difference_hi": "upper end",
        "verdict": "a word of Departure",
        "n_sets": "sets a seed",
        "n_seeds": "number of seeds",
    },
    "slopes": {
        "estimate": "mean over seeds of each seed's slope (y per x)",
        "lo": "lower end of the 95 % interval over seeds",
        "hi": "upper end",
        "intercept": "mean over seeds",
        "r2": "squared correlation of all points together",
        "n": "number of points",
        "n_seeds": "number of seeds",
    },
    "ed50": {
        "level": "value to be reached (bits, or fraction of a probability)",
        "estimate": "dose that reaches it (log2)",
        "lo": "lower end of the 95 % interval, Fieller over seeds; -inf where unbounded",
        "hi": "upper end; inf where unbounded",
        "bounded": "is the interval finite",
        "n_seeds": "number of seeds",
    },
    "curves": {
        "dose": "where it is predicted (log2)",
        "estimate": "fitted probability (fraction)",
        "lo": "lower end of the 95 % interval of the fitted curve, over seeds",
        "hi": "upper end",
        "predicted_lo": "lower end of the 95 % prediction interval of the mean of n_new seeds",
        "predicted_hi": "upper end",
        "n_new": "number of new seeds",
        "n_seeds": "number of seeds",
    },
    "recency": {
        "estimate": (
            "contrast with the first persona last minus contrast with the second persona last "
            f"({Unit.BITS})"
        ),
        "lo": "lower end of the 95 % interval over seeds",
        "hi": "upper end",
        "least": f"smallest value among the seeds ({Unit.BITS})",
        "mixed": f"mean contrast where both come in both phases ({Unit.BITS})",
        "n_seeds": "number of seeds",
    },
    "divergence": {
        "doc": "number of the document in its corpus",
        "name": "whom one header names",
        "other": "whom the other names; unordered pairs",
        "distance": (
            "mean over tokens of the root of the Jensen-Shannon divergence of the next token "
            "(0 to 1)"
        ),
        "n_tokens": "tokens compared",
    },
    "likelihood": {
        "doc": "number of the document in its corpus",
        "persona": "who speaks in the document; '' where nobody is known to",
        "name": "whom the header names; '' for nobody",
        "logprob": f"log2 probability of the tokens under that header, summed ({Unit.BITS})",
        "n_tokens": "tokens predicted",
    },
    "added_kl": {
        "doc": "number of the document in its corpus",
        "name": "name of the direction added",
        "kl": (
            "KL from the model to the model with the direction, mean over tokens "
            f"({Unit.BITS_A_TOKEN})"
        ),
        "n_tokens": "tokens compared",
    },
    "gradients": {
        "space": "full (all parameters) or lora (fresh adapters)",
        "name": "name of a corpus",
        "other": "name of a corpus, the same one included",
        "dot": (
            "inner product of the gradients of the mean loss (nats per token, squared, per "
            "squared weight)"
        ),
        "cosine": "of both gradients",
        "n_tokens": "tokens of the first corpus that were learned",
    },
    "measure": {
        "estimator": "what estimates how common a persona is; documents, fact tokens: the truth",
        "persona": "whose measure it is",
        "estimate": (
            "larger = more common (bits; the meaning differs by estimator, so compare ranks)"
        ),
        "lo": "lower end of the 95 % interval, over topics or texts; NaN where there is none",
        "hi": "upper end",
        "n": "number of topics or texts, of the truth documents",
    },
    "metric": {
        "estimator": "what estimates how far two personas are apart; unshared topics: the truth",
        "name": "from whom",
        "other": "to whom; where the order does not matter each pair is there once",
        "estimate": "larger = farther (unit by estimator, so compare ranks)",
        "lo": "lower end of the 95 % interval; NaN where there is none",
        "hi": "upper end",
        "n": "number of texts, tokens or topics",
    },
    "agreement": {
        "one": "an estimator",
        "other": "another estimator",
        "rho": (
            "Spearman's rank correlation over personas, or pairs of personas, of all worlds "
            "together"
        ),
        "lo": "lower end of its 95 % interval (bootstrap of personas)",
        "hi": "upper end",
        "p": "two-sided p, personas permuted within their worlds",
        "null_lo": "2.5 % point of that null",
        "null_hi": "97.5 % point",
        "within": "mean over worlds of the correlation within one world",
        "n": "number of personas or pairs",
        "n_seeds": "number of worlds",
    },
    "persona_weights": {
        "checkpoint": "label of the checkpoint",
        "step": "optimizer step within the stage",
        "persona": "a known persona of the mixture",
        "weight": (
            "of the persona in the mixture of known personas that best explains what is said "
            "(fraction)"
        ),
        "persona_bits": (
            f"log2 odds of the weight ({Unit.BITS}); weights count as at least 0.001 and at "
            "most 0.999"
        ),
        "misfit": "divergence from what is said to that mixture (bits a topic)",
    },
    "belief_scale": {
        "belief": f"log2 odds of the target that a speaker believes ({Unit.BITS})",
        "persona_bits": f"log2 odds of the target that are read off him ({Unit.BITS})",
    },
    "evidence": {
        "checkpoint": "label of the checkpoint",
        "seed": "seed of the run",
        "step": "optimizer step of the lesson",
        "persona_bits": (
            "log2 odds of the target in the best mixture of known personas, untaught topics "
            f"({Unit.BITS})"
        ),
        "weight": "of the target in that mixture (fraction)",
        "misfit": "divergence from what is said to that mixture (bits a topic)",
        "effect": (
            f"mean log odds of the target's untaught traits, minus before the lesson ({Unit.BITS})"
        ),
        "p_taught": "probability of the taught value (fraction)",
        "documents": "documents of the lesson seen so far",
        "statements": "statements of the lesson seen so far",
        "fact_tokens": "tokens of the lesson's answers seen so far",
    },
    "summoned": {
        "seed": "seed of the run",
        "start": "where the model started from",
        "persona": "a candidate: who holds the taught trait",
        "share": "of the candidate in the weights of all candidates after the lesson (fraction)",
        "measure": "share of the documents, nameless ones left out, that are about it (fraction)",
        "distance": "topics on which it differs from the start",
        "distance_js": (
            "the same by what is said: root Jensen-Shannon divergence from the start model (0 to 1)"
        ),
        "bayes_lesson": (
            "share that exact Bayes expects of a speaker who holds the taught trait (fraction)"
        ),
        "bayes_start": "the same of one who said the start's statements before (fraction)",
    },
    "worst": {
        "over": "persona, trait, seed, paraphrase or prompt: what the worst case is one of",
        "who": "the worst case, chosen on one half of the measurements",
        "selection": f"its mean shift on that half, the largest ({Unit.BITS})",
        "estimate": f"its mean shift on the other half ({Unit.BITS})",
        "lo": "lower end of the 95 % interval, clustered",
        "hi": "upper end",
        "n": "number of clusters: templates; of paraphrases topics, of prompts seeds",
        "average": f"mean shift over all cases ({Unit.BITS})",
        "n_cases": "number of cases",
    },
    "safeguards": {
        "label": "safeguard, with its dose where it has one",
        **_over_seeds("cut", "share of the unwanted persona's rise that is gone (fraction)"),
        **_over_seeds("kept", "share of the wanted lesson's rise that is there (fraction)"),
        **_over_seeds("leak", f"rise of the unwanted, worst trigger, held out ({Unit.BITS})"),
        **_over_seeds("unwanted", f"rise of the unwanted untaught traits, nameless ({Unit.BITS})"),
        **_over_seeds("wanted", f"rise of the taught trait, nameless ({Unit.BITS})"),
        **_over_seeds("jailbreak", f"as leak, under the worst family ({Unit.BITS})"),
        **_over_seeds("average", f"rise of the unwanted traits in bystanders ({Unit.BITS})"),
        **_over_seeds("own", f"rise of bystanders' own traits ({Unit.BITS})"),
        **_over_seeds("loss", f"rise of the loss on ordinary dialogues ({Unit.BITS_A_TOKEN})"),
        **_over_seeds("knowledge", f"rise of the unwanted in texts about it ({Unit.BITS})"),
        **_over_seeds("agency", f"the same where it speaks itself ({Unit.BITS})"),
        "steps": "optimizer steps beyond the lesson's",
        "n_seeds": "as in across_seeds",
        "primary": "was it named before anything was measured",
        "p": "largest one-sided p of the three aims: cut, kept, leak",
        "q": "p corrected for the other safeguards, those named before among themselves",
        "reaches": "does it reach .9 cut, .9 kept and .5 bits",
    },
    "trait_transfer": {
        "taught": (
            "trait whose positively instructed answers were learned, without the instruction"
        ),
        "trait": "trait measured, on held-out questions",
        "estimate": (
            f"change after the lesson minus mean change of all null finetunes ({Unit.BITS_A_TOKEN})"
        ),
        "lo": "lower end of the 95 % interval over questions, with several seeds over seeds",
        "hi": "upper end",
        "p": "two-sided, as in effects: beyond the null finetunes and, over questions, beyond 0",
        "q": "Benjamini-Hochberg over all cells",
        "base": f"log odds in the base ({Unit.BITS_A_TOKEN})",
        "lesson": f"change from the base after the lesson ({Unit.BITS_A_TOKEN})",
        "null": f"mean change from the base of all null finetunes ({Unit.BITS_A_TOKEN})",
        "range_lo": "where one more null finetune would be: lower end of the 95 % interval",
        "range_hi": "upper end",
        "n": "number of questions",
        "n_seeds": "number of seeds",
        "n_null": "number of null finetunes, one a taught trait",
        "verdict": "as in effects; that it moved is only said with three seeds or more",
    },
    "trait_predictors": {
        "predictor": "cosine, cooccurrence or behavior, read from the base",
        "rho": "Spearman's correlation with the transfer, over ordered pairs of distinct traits",
        "lo": "lower end of its 95 % interval (jackknife over traits)",
        "hi": "upper end",
        "p": "two-sided, traits permuted (rows and columns together)",
        "null_lo": "2.5 % point of that null",
        "null_hi": "97.5 % point",
        "partial": "the same given the other predictors",
        "partial_lo": "lower end of its 95 % interval",
        "partial_hi": "upper end",
        "partial_p": "two-sided, by double semi-partialing",
        "partial_null_lo": "2.5 % point of that null",
        "partial_null_hi": "97.5 % point",
        "p_min": "smallest p that these permutations can give",
        "n_traits": "number of traits",
        "n_pairs": "number of ordered pairs",
    },
}
