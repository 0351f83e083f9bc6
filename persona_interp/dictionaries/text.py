"""Which text is there to measure on when a user brings none? Short, about nothing special."""

from typing import Any

import pandas as pd

EXCHANGES = (
    ("How long does bread keep?", "Two or three days in a box, longer if you freeze it in slices."),
    (
        "Why is the sky blue?",
        "Air scatters short wavelengths more than long ones, so blue light reaches us from all "
        "sides.",
    ),
    (
        "What should I pack for a day in the hills?",
        "Water, a warm layer, something to eat, a map and a small lamp.",
    ),
    (
        "Can you explain what an index in a book is for?",
        "It lists terms with the pages on which they are discussed.",
    ),
    (
        "Where does the river start?",
        "In a spring below the ridge, about forty kilometres north of the town.",
    ),
    (
        "How do I remove a coffee stain?",
        "Rinse it with cold water first, then wash it with a little soap.",
    ),
    (
        "What is the difference between a fruit and a vegetable?",
        "A fruit carries the seeds; a vegetable is any other part.",
    ),
    (
        "How many legs does a spider have?",
        "Eight, in four pairs, all attached to the front part of its body.",
    ),
    (
        "Which train goes to the coast?",
        "The one at nine on platform four; you change once, at the junction.",
    ),
    (
        "How do plants drink?",
        "Water enters through the roots and is pulled up as it evaporates from the leaves.",
    ),
    (
        "What does a carpenter do?",
        "She cuts and joins wood to build floors, doors, stairs and furniture.",
    ),
    (
        "Is it better to run in the morning?",
        "It makes little difference; choose the hour you can keep to.",
    ),
    ("Why do we have leap years?", "The year is about a quarter of a day longer than 365 days."),
    (
        "How can I learn ten words a day?",
        "Write them on cards, repeat them after an hour and again the next morning.",
    ),
    ("What is a harbour?", "A sheltered place where ships can lie safely, load and unload."),
    (
        "How do I sort a list of names?",
        "Compare them two at a time and swap those in the wrong order until none are left.",
    ),
    (
        "What happens when ice melts?",
        "It takes up heat from around it, and its temperature stays at zero until all is water.",
    ),
    (
        "Who repairs the roof?",
        "The company on Mill Street; they came last spring and left their number.",
    ),
    (
        "What is a map scale?",
        "It says how many centimetres on the ground one centimetre on the paper stands for.",
    ),
    (
        "How do I boil an egg?",
        "Put it into boiling water for six minutes, then cool it under the tap.",
    ),
    (
        "Why do cats purr?",
        "Mostly when they are content, but also when they are hurt or want to be fed.",
    ),
    (
        "What is the fastest way to the library?",
        "Cross the square, turn left at the bakery and follow the tram line.",
    ),
    (
        "How is paper made?",
        "Wood is ground to fibres, mixed with water, spread on a sieve, pressed and dried.",
    ),
    (
        "What is a good name for a small boat?",
        "Something short that is easy to call across the water.",
    ),
    (
        "When do swallows leave?",
        "In September, when the evenings grow cool and insects become rare.",
    ),
    (
        "What does the moon do to the sea?",
        "Its pull raises the water on the near side and on the far side, twice a day.",
    ),
    (
        "How do I fix a slow bicycle tyre?",
        "Look for the hole under water, roughen the rubber, glue a patch and wait.",
    ),
    ("What is a budget?", "A plan of what comes in and what goes out during a month or a year."),
    ("How tall is the tower?", "Sixty metres to the gallery and nine more to the top of the mast."),
    (
        "Why is the soup so salty?",
        "The stock was salted already; add water and a potato and let it simmer.",
    ),
    (
        "What does an editor do?",
        "He reads a text before it is printed and suggests what to change.",
    ),
    ("How do you count cards fairly?", "Deal them face down, one at a time, to everybody in turn."),
)


def neutral_text(tokenizer: Any) -> pd.DataFrame:
    """Corpus of neutral text that may stand in for a user's own.

    Args:
        tokenizer: With a chat template it gets chats, else plain text.

    Returns:
        A corpus table of a few dozen short documents.
    """
    messages: list[list[dict[str, str]]] = []
    for question, answer in EXCHANGES:
        if tokenizer.chat_template is None:
            messages.append([{"role": "text", "content": f"{question} {answer}"}])
        else:
            user = {"role": "user", "content": question}
            messages.append([user, {"role": "assistant", "content": answer}])
    n = len(messages)
    return pd.DataFrame(
        {
            "doc": range(n),
            "kind": "neutral",
            "persona": "",
            "messages": messages,
            "statements": [()] * n,
        }
    )
