"""What do the tables between the rooms look like?

Tables on disk are the only bridge between the model side (torch) and the analysis side. This file is their reference:
``TABLES`` and ``DATASETS`` name what each holds, ``check`` refuses what does not fit. Units are **bits** (log2) in
storage; ``answer_mass``, ``fvu`` and probabilities are fractions. ``persona`` is ``""`` for the nameless assistant.
Extra columns (``world``, ``lesson``, ``lr``, ``arm``) are welcome everywhere.
"""

from typing import Any

import pandas as pd
import xarray as xr

from persona_interp.errors import SchemaError, unknown

TABLES: dict[str, dict[str, str]] = {
    "corpus": {
        "doc": "number of the document in its corpus",
        "kind": "third, first, named, hidden, filler or lesson",
        "persona": "who the document is about or by; '' where nobody is",
        "messages": "list of {role, content}; plain text is one message of role 'text'",
        "statements": "tuple of the traits said, as labels 'topic=value', noise included",
    },
    "probes": {
        "prompt": "unique name of the prompt",
        "context": "nameless, named, plain or third",
        "persona": "whom the context names; '' for none",
        "topic": "topic asked about",
        "template": "name of the question template",
        "split": "train (template occurs in training) or test (never seen)",
        "messages": "like corpus; the last message is an unfinished answer",
        "values": "tuple of the topic's values",
        "answers": "tuple: the text that completes the last message with each value, terminator included",
    },
    "prompts": {
        "prompt": "unique name of the prompt",
        "context": "nameless, named, plain or third",
        "persona": "who speaks or is spoken of, as far as the table knows; '' for nobody",
        "topic": "topic of the value that comes next",
        "split": "train or test: two halves, one to choose on and one to report",
        "messages": "like corpus; the last message is unfinished",
    },
    "behavior": {
        "checkpoint": "label of the checkpoint, 'lesson@8'",
        "seed": "seed of the run",
        "stage": "name of the training stage",
        "step": "optimizer step within the stage",
        "context": "as in probes",
        "persona": "as in probes",
        "topic": "as in probes",
        "template": "as in probes",
        "split": "as in probes",
        "value": "value whose probability this row holds",
        "logprob": "log2 probability of the whole answer, terminator included (bits)",
        "answer_mass": "summed probability of all answers of the topic at this prompt (fraction)",
    },
    "logodds": {
        "checkpoint": "as in behavior",
        "seed": "as in behavior",
        "step": "as in behavior",
        "context": "as in behavior",
        "persona": "as in behavior",
        "topic": "as in behavior",
        "value": "as in behavior",
        "probability": "mean over templates of the probability among the topic's answers (fraction)",
        "logodds": "log2 odds of that probability (bits)",
        "answer_mass": "mean over templates (fraction)",
    },
    "shift": {
        "seed": "seed of the run",
        "context": "as in behavior",
        "persona": "as in behavior",
        "topic": "as in behavior",
        "value": "as in behavior",
        "trait": "label 'topic=value'",
        "before": "log odds before (bits)",
        "after": "log odds after (bits)",
        "estimate": "after minus before (bits)",
        "lo": "lower end of the 95 % interval over templates",
        "hi": "upper end",
        "n": "number of templates",
    },
    "transfer": {
        "seed": "seed of the run",
        "context": "where the traits were read out",
        "persona": "whose traits they are",
        "trait": "label 'topic=value'; 'mean' = mean over the untaught topics",
        "before": "log odds before (bits)",
        "after": "log odds after (bits)",
        "estimate": "after minus before (bits)",
        "lo": "lower end of the 95 % interval over templates; of 'mean' over topics",
        "hi": "upper end",
        "n": "number of templates; of 'mean' of topics",
        "trained": "is it the taught trait itself (in no mean)",
        "pmi": "pointwise mutual information with the taught trait in the documents (bits)",
        "bayes_certain": "shift expected if the speaker certainly held the taught trait (bits)",
        "bayes_mixing": "shift expected if n lessons counted as K n documents (bits)",
        "k": "K, documents a lesson",
    },
    "tokens": {
        "prompt": "unique name of the prompt",
        "pos": "position of the token in its prompt",
        "piece": "text of the token",
        "role": "system, user, assistant, text, template or special",
        "turn": "number of the message that the token belongs to; -1 for none",
        "checkpoint": "label of the checkpoint",
        "feature": "index in the dictionary",
        "act": "activation (residual units)",
        "counted": "is the token in the statistics: of a role asked for, and no outlier",
    },
    "profile": {
        "checkpoint": "label of the checkpoint",
        "hook": "canonical name of the hook",
        "role": "role of the tokens",
        "name": "name of the direction; '' for the change in any direction",
        "estimate": "mean over prompts (fraction of the direction's length; without one, of the residual's before)",
        "lo": "lower end of the 95 % interval over prompts",
        "hi": "upper end",
        "n": "number of prompts",
    },
    "feature_shift": {
        "feature": "index in the dictionary",
        "estimate": "mean activation after minus before",
        "lo": "lower end of the 95 % interval, clustered",
        "hi": "upper end",
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
        "auroc": "area under the ROC curve on the test documents: report this one",
        "lo": "lower end of its 95 % interval (DeLong)",
        "hi": "upper end",
        "effect": "Cohen's d on the test documents (positive = more active with the label)",
        "z": "tie-corrected rank-sum z on the test documents",
        "p": "permutation p pooled over features and labels, two-sided",
        "q": "Benjamini-Hochberg over everything tested",
        "p_max": "max-T over all features and names of the kind",
        "n_pos": "test documents with the label",
        "n_neg": "test documents without it",
        "n_tested": "number of feature x label pairs tested",
        "fvu": "fraction of variance unexplained, mean over prompts; NaN for readouts",
    },
    "baselines": {
        "method": "name of the readout; 'random' = the band of the random directions",
        "auroc": "persona against the others, hidden test documents, before the lesson",
        "auroc_lo": "lower end of the 95 % interval over documents; of 'random' 2.5 % point over directions, always",
        "auroc_hi": "upper end",
        "rise": "after minus before on neutral prompts (sd of the readout over the hidden documents)",
        "rise_lo": "lower end of the 95 % interval over prompts",
        "rise_hi": "upper end",
        "rise_control": "the same after the unrelated lesson",
        "rise_control_lo": "lower end",
        "rise_control_hi": "upper end",
        "excess": "rise minus rise_control, prompt by prompt",
        "excess_lo": "lower end",
        "excess_hi": "upper end",
        "share": "share of the behavior's shift that goes when the method's direction is taken out (fraction)",
        "share_lo": "lower end",
        "share_hi": "upper end",
        "no_better_than": "the other methods that it does not beat, by name; '' = it beats all",
        "n_documents": "hidden test documents",
        "n_prompts": "neutral prompts",
        "n_directions": "directions behind the row",
    },
    "contexts": {
        "seed": "seed of the run",
        "context": "as in probes",
        "persona": "whom the context names; '' for none; 'average', 'worst' over all but the target",
        "quantity": "leak (the target's untaught traits), own (the persona's own), taught (the taught trait itself)",
        "estimate": "mean shift of the log odds, after minus before (bits)",
        "lo": "lower end of the 95 % interval over templates; of 'average' over personas",
        "hi": "upper end",
        "n": "number of templates; of 'average' of personas",
        "who": "of 'worst' the persona, found on the train templates and estimated on the test templates",
    },
    "contrast": {
        "checkpoint": "as in behavior",
        "seed": "as in behavior",
        "step": "as in behavior",
        "context": "where it was read out",
        "persona": "whom the context names; '' for none",
        "estimate": "mean over topics of log2 P(first persona's value) / P(second's) (bits)",
        "lo": "lower end of the 95 % interval over topics",
        "hi": "upper end",
        "n": "number of untaught topics on which the two differ",
        "p_first": "probability of the first persona's values, mean over these topics (fraction)",
        "p_second": "the same of the second's",
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
    "predicted": {
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
        "estimate": "contrast with the first persona last minus contrast with the second persona last (bits)",
        "lo": "lower end of the 95 % interval over seeds",
        "hi": "upper end",
        "least": "smallest value among the seeds (bits)",
        "mixed": "mean contrast where both come in both phases (bits)",
        "n_seeds": "number of seeds",
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
        "cosine": "between both; with a world, overlap (personas, fraction) or pmi (traits, bits) stands beside it",
    },
    "divergence": {
        "doc": "number of the document in its corpus",
        "name": "whom one header names",
        "other": "whom the other names; unordered pairs",
        "distance": "mean over tokens of the root of the Jensen-Shannon divergence of the next token (0 to 1)",
        "n_tokens": "tokens compared",
    },
    "likelihood": {
        "doc": "number of the document in its corpus",
        "persona": "who speaks in the document; '' where nobody is known to",
        "name": "whom the header names; '' for nobody",
        "logprob": "log2 probability of the tokens under that header, summed (bits)",
        "n_tokens": "tokens predicted",
    },
    "added_kl": {
        "doc": "number of the document in its corpus",
        "name": "name of the direction added",
        "kl": "KL from the model to the model with the direction, mean over tokens (bits a token)",
        "n_tokens": "tokens compared",
    },
    "gradients": {
        "space": "full (all parameters) or lora (fresh adapters)",
        "name": "name of a corpus",
        "other": "name of a corpus, the same one included",
        "dot": "inner product of the gradients of the mean loss (nats per token, squared, per squared weight)",
        "cosine": "of both gradients",
        "n_tokens": "tokens of the first corpus that were learned",
    },
    "causes": {
        "edit": "name of the edit; 'none' = no edit",
        "base": "mean log odds of the target's untaught traits before the lesson (bits)",
        "tuned": "the same after the lesson (bits)",
        "edited": "the same with the edit (bits)",
        "share": "of tuned minus base: what the edit takes away, or brings (fraction)",
        "lo": "lower end of the 95 % interval over templates",
        "hi": "upper end",
        "n": "number of templates",
        "note": "why there is no share; '' where there is one",
    },
    "persona_weights": {
        "checkpoint": "label of the checkpoint",
        "step": "optimizer step within the stage",
        "persona": "a known persona of the mixture",
        "weight": "of the persona in the mixture of known personas that best explains what is said (fraction)",
        "persona_bits": "log2 odds of the weight (bits); weights count as at least 0.001 and at most 0.999",
        "misfit": "divergence from what is said to that mixture (bits a topic)",
    },
    "evidence": {
        "checkpoint": "label of the checkpoint",
        "seed": "seed of the run",
        "step": "optimizer step of the lesson",
        "persona_bits": "log2 odds of the target in the best mixture of known personas, untaught topics (bits)",
        "weight": "of the target in that mixture (fraction)",
        "misfit": "divergence from what is said to that mixture (bits a topic)",
        "effect": "mean log odds of the target's untaught traits, minus before the lesson (bits)",
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
        "distance_js": "the same by what is said: root Jensen-Shannon divergence from the start model (0 to 1)",
        "bayes_lesson": "share that exact Bayes expects of a speaker who holds the taught trait (fraction)",
        "bayes_start": "the same of one who said the start's statements before (fraction)",
    },
    "fidelity": {
        "checkpoint": "label of the checkpoint",
        "fvu": "fraction of variance unexplained on the tokens measured",
        "l0": "mean number of active features",
        "dead": "share of features that never fire",
        "ce": "cross-entropy of the model (bits per token)",
        "ce_sae": "cross-entropy with the reconstruction spliced in (bits per token)",
        "ce_zero": "cross-entropy with the hook zero-ablated (bits per token)",
        "ce_recovered": "(ce_zero - ce_sae) / (ce_zero - ce)",
        "n_tokens": "tokens measured",
        "verdict": "fits, doubtful or unusable",
    },
}

DATASETS: dict[str, dict[str, tuple[str, ...]]] = {
    "activations": {"act": ("checkpoint", "prompt", "d_model")},
    "features": {"act": ("checkpoint", "prompt", "feature"), "fvu": ("checkpoint", "prompt")},
}

ARRAYS: dict[str, tuple[str, ...]] = {"directions": ("name", "hook", "d_model")}


def names(prompts: Any) -> list[Any]:
    """What is each of these prompts called?

    Args:
        prompts: A probes or prompts table (named by ``prompt``) or a corpus table (named by ``doc``).

    Returns:
        The names, in order.

    Raises:
        SchemaError: It is neither, is empty, or two prompts have one name.

    >>> names(pd.DataFrame({"doc": [7, 8], "kind": "hidden", "persona": "", "messages": [[]] * 2, "statements": ""}))
    [7, 8]
    """
    column = "prompt" if "prompt" in getattr(prompts, "columns", ()) else "doc"
    check(prompts, "prompts" if column == "prompt" else "corpus")
    twice = prompts[column][prompts[column].duplicated()].tolist()
    if twice:
        raise SchemaError(f"every prompt needs a name of its own; {column} {twice[0]!r} occurs twice.")
    return prompts[column].tolist()


def check(table: Any, kind: str) -> Any:
    """Does this table hold what a function of its kind needs?

    Args:
        table: A DataFrame (kinds in ``TABLES``) or xarray Dataset (kinds in ``DATASETS``).
        kind: The kind expected; one of ``ARRAYS`` is an xarray DataArray.

    Returns:
        The table itself, so that a call can be wrapped around an argument.

    Raises:
        SchemaError: Columns, variables or dimensions are missing, or the table has no rows.

    >>> check(pd.DataFrame({"doc": [0], "kind": "hidden", "persona": "", "messages": [[]]}), "corpus")
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a corpus table lacks the columns statements; it has doc, kind, persona, messages.
    """
    if kind in TABLES:
        if not isinstance(table, pd.DataFrame):
            raise SchemaError(f"a {kind} table is a pandas DataFrame; got {type(table).__name__}.")
        missing = [c for c in TABLES[kind] if c not in table.columns]
        if missing:
            has = ", ".join(map(str, table.columns)) or "no columns"
            raise SchemaError(f"a {kind} table lacks the columns {', '.join(missing)}; it has {has}.")
        if table.empty:
            raise SchemaError(f"this {kind} table has no rows; make one that has, or check the filter that emptied it.")
        return table
    if kind in ARRAYS:
        if not isinstance(table, xr.DataArray) or table.dims != ARRAYS[kind] or not table.size:
            got = f"{table.dims} of sizes {table.shape}" if isinstance(table, xr.DataArray) else type(table).__name__
            raise SchemaError(
                f"{kind} are a DataArray of dims {ARRAYS[kind]}, as record.mean_difference gives them; got {got}. "
                'Picking one name keeps the dim with a list: directions.sel(name=["john"]).'
            )
        return table
    if kind not in DATASETS:
        raise SchemaError(unknown("schema kind", kind, [*TABLES, *DATASETS, *ARRAYS]))
    if not isinstance(table, xr.Dataset):
        raise SchemaError(f"{kind} come as an xarray Dataset; got {type(table).__name__}.")
    for name, dims in DATASETS[kind].items():
        if name not in table or table[name].dims != dims:
            got = dict(zip(table.data_vars, (table[v].dims for v in table.data_vars), strict=True))
            raise SchemaError(f"{kind} need a variable '{name}' of dims {dims}; this Dataset holds {got}.")
    if not all(table.sizes.values()):
        raise SchemaError(f"these {kind} are empty: sizes {dict(table.sizes)}.")
    return table
