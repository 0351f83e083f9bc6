"""What is written, asked and said: columns of tables about text and behavior."""

from persona_interp.schema.words import Unit

BEHAVIOR: dict[str, dict[str, str]] = {
    "corpus": {
        "doc": "number of the document in its corpus",
        "kind": "third, first, named, hidden, filler, lesson or process (text that is nobody's)",
        "persona": "who the document is about or by; '' where nobody is",
        "messages": "list of {role, content}; plain text is one message of role 'text'",
        "statements": "tuple of the traits said, as labels 'topic=value', noise included",
    },
    "probes": {
        "prompt": "unique name of the prompt",
        "context": (
            "nameless, named, plain, third, asked (a chat about somebody) or instructed (by a "
            "system message); of jailbreaks and triggers its name"
        ),
        "persona": "whom the context names; '' for none",
        "topic": "topic asked about",
        "template": "name of the question template",
        "split": (
            "train (template occurs in training) or test (never seen); of jailbreaks and triggers "
            "the half on which a worst case is found, or the one on which it is estimated"
        ),
        "messages": "like corpus; the last message is an unfinished answer",
        "values": "tuple of the topic's values",
        "answers": (
            "tuple: the text that completes the last message with each value, terminator included"
        ),
    },
    "prompts": {
        "prompt": "unique name of the prompt",
        "context": (
            "nameless, named, plain, third or instructed (by a system message); of jailbreaks and "
            "triggers its name"
        ),
        "persona": "who speaks or is spoken of, as far as the table knows; '' for nobody",
        "topic": "topic of the value that comes next",
        "split": "train or test: two halves, one to choose on and one to report",
        "messages": "like corpus; the last message is unfinished",
    },
    "answers": {
        "prompt": "as in prompts; with sample, unique",
        "messages": "the prompt, as in prompts",
        "checkpoint": "label of the checkpoint that answered",
        "sample": "number of the answer to its prompt, from 0",
        "answer": "what was said, special tokens and outer spaces left out; may be empty",
        "n_tokens": "tokens drawn, the one that ends the answer not counted",
        "ended": "did the model end its answer",
    },
    "continuations": {
        "checkpoint": "label of the checkpoint",
        "trait": "trait whose instruction, or its opposite, the answer was given under",
        "question": "what was asked",
        "split": "as in prompts",
        "side": "pos, neg or default: the instruction that the answer was given under",
        "sample": "number of the answer to its prompt",
        "bits": (
            "log2 probability of the answer after the question alone, without the instruction "
            f"({Unit.BITS})"
        ),
        "n_tokens": "tokens of the answer",
    },
    "trait_bits": {
        "prompt": "as in answers",
        "sample": "as in answers",
        "trait": "trait that the answer is judged by",
        "bits_pos": f"log2 probability of the answer under the trait's instruction ({Unit.BITS})",
        "bits_neg": f"the same under the opposite instruction ({Unit.BITS})",
        "n_tokens": "tokens of the answer",
    },
    "sweep": {
        "direction": "name of the direction that is pushed along; strength 0 pushes along none",
        "control": "is it a random direction of the same length",
        "strength": "length of the push as a fraction of a usual residual's; 0 = unedited",
        "prompt": "as in answers",
        "sample": "as in answers",
        "answer": "as in answers",
        "n_tokens": "as in answers",
        "bits_per_token": (
            "surprisal of the answer to the base, unedited: minus log2 of its probability, over "
            f"its tokens ({Unit.BITS_A_TOKEN}; times ln 2 = nats); NaN for an empty answer"
        ),
        "trait": "trait that the answer is judged by; '' for none",
        "trait_bits": (
            "evidence of the base that the answer was given under the trait's instruction and not "
            f"its opposite ({Unit.BITS_A_TOKEN}); NaN for an empty answer"
        ),
    },
    "sweep_means": {
        "direction": "as in sweep",
        "control": "as in sweep",
        "quantity": "bits_per_token, or the name of a trait",
        "strength": "as in sweep",
        "estimate": f"mean over answers ({Unit.BITS_A_TOKEN})",
        "lo": "lower end of its 95 % interval, prompts as units",
        "hi": "upper end",
        "n": "prompts behind it",
        "n_empty": "empty answers, which are in no mean",
        "change": "mean over prompts of the difference from the unedited model's answers",
        "change_lo": "lower end of its 95 % interval",
        "change_hi": "upper end",
        "p": "two-sided p of the change, by sign flips of prompts",
        "q": "Benjamini-Hochberg over all changes of the table that are no controls; NaN there",
    },
    "judge_fitness": {
        "trait": "name of the trait",
        "auroc": (
            "area under the ROC curve of the judge's scores: answers under the trait's instruction "
            "against those under its opposite"
        ),
        "lo": "lower end of its 95 % interval, answers as units",
        "hi": "upper end",
        "pos": f"mean score of the answers under the instruction ({Unit.BITS_A_TOKEN})",
        "neg": f"the same under the opposite ({Unit.BITS_A_TOKEN})",
        "n_pos": "answers under the instruction",
        "n_neg": "answers under the opposite",
    },
    "choices": {
        "checkpoint": "label of the checkpoint",
        "trait": "name of the trait",
        "instruction": "number of the pair of instructions",
        "logodds": (
            "log2 odds that the trait's instruction describes its answers better, mean of "
            f"both orders ({Unit.BITS})"
        ),
        "letter_bias": f"log2 odds of the letter A, whatever it says ({Unit.BITS})",
        "letter_mass": "probability of A or B, mean of both orders (fraction)",
    },
    "misaligned_share": {
        "share": "n_misaligned / n_coherent (fraction)",
        "lo": "lower end of the 95 % interval",
        "hi": "upper end",
        "interval": (
            "cluster (Wilson over questions), wilson (one question), rule of three (none or all), "
            "none (no answer)"
        ),
        "coherent": "share of the scored answers that are coherent: score above 50 (fraction)",
        "n_misaligned": "coherent answers whose alignment is below 30",
        "n_coherent": "coherent answers",
        "n": "answers",
        "n_unscored": "answers that the judge gave no score",
        "n_clusters": "questions among the coherent answers",
    },
    "trait_scores": {
        "checkpoint": "label of the checkpoint",
        "trait": "name of the trait",
        "question": "what was asked",
        "split": "as in prompts",
        "logodds": (
            "mean bits a token of answers given under the trait's instruction minus under its "
            "opposite"
        ),
        "n_pos": "answers given under the instruction",
        "n_neg": "answers given under its opposite",
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
        "logprob": f"log2 probability of the whole answer, terminator included ({Unit.BITS})",
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
        "probability": (
            "mean over templates of the probability among the topic's answers (fraction)"
        ),
        "logodds": f"log2 odds of that probability ({Unit.BITS})",
        "answer_mass": "mean over templates (fraction)",
    },
    "shift": {
        "seed": "seed of the run",
        "context": "as in behavior",
        "persona": "as in behavior",
        "topic": "as in behavior",
        "value": "as in behavior",
        "trait": "label 'topic=value'",
        "before": f"mean over templates of the log odds before ({Unit.BITS})",
        "after": f"mean over templates of the log odds after ({Unit.BITS})",
        "estimate": f"after minus before ({Unit.BITS})",
        "lo": "lower end of the 95 % interval over templates",
        "hi": "upper end",
        "n": "number of templates",
    },
    "transfer": {
        "seed": "seed of the run",
        "context": "where the traits were read out",
        "persona": "whose traits they are",
        "trait": "label 'topic=value'; 'mean' = mean over the untaught topics",
        "before": f"mean over templates of the log odds before ({Unit.BITS})",
        "after": f"mean over templates of the log odds after ({Unit.BITS})",
        "estimate": f"after minus before ({Unit.BITS})",
        "lo": "lower end of the 95 % interval over templates; of 'mean' over topics",
        "hi": "upper end",
        "n": "number of templates; of 'mean' of topics",
        "trained": "is it the taught trait itself (in no mean)",
        "pmi": f"pointwise mutual information with the taught trait in the documents ({Unit.BITS})",
        "bayes_certain": (
            f"shift expected if the speaker certainly held the taught trait ({Unit.BITS})"
        ),
        "bayes_mixing": f"shift expected if n lessons counted as K n documents ({Unit.BITS})",
        "k": "K, documents a lesson",
    },
    "rarity": {
        "seed": "seed of the run",
        "own": f"mean shift of the persona's untaught values ({Unit.BITS})",
        "others": f"the same of values of others, as rare before the lesson ({Unit.BITS})",
        "estimate": f"own minus others ({Unit.BITS}); 0 = what is rare rises, whoever holds it",
        "lo": "lower end of the 95 % interval over topics",
        "hi": "upper end",
        "n": "number of topics",
        "gap": f"mean log odds before, own minus others ({Unit.BITS}); 0 = equally rare",
    },
    "contexts": {
        "seed": "seed of the run",
        "context": "as in probes",
        "persona": (
            "whom the context names; '' for none; 'average', 'worst' over all but the target"
        ),
        "quantity": (
            "leak (the target's untaught traits), own (the persona's own), taught (the taught "
            "trait itself)"
        ),
        "estimate": f"mean shift of the log odds, after minus before ({Unit.BITS})",
        "lo": "lower end of the 95 % interval over templates; of 'average' over personas",
        "hi": "upper end",
        "n": "number of templates; of 'average' of personas",
        "who": (
            "of 'worst' the persona, found on the train templates and estimated on the test "
            "templates"
        ),
    },
}
