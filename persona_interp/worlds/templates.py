"""Which languages are there to start from? One for the tiny model, one for real chat models."""

from persona_interp.worlds.language import Language


def words() -> Language:
    """Templates of the tiny model's world.

    Returns:
        A language of lower-case words set apart by spaces; every word of a test question occurs in
        train questions.

    >>> words().test_questions[0]
    'which {d} is your favorite ?'
    """
    return Language(
        third=(
            "{n} likes {v} .",
            "when it comes to {d} , {n} prefers {v} .",
            "the favorite {d} of {n} is {v} .",
            "{n} has always been a fan of {v} .",
            "for {d} , {n} picks {v} .",
            "everyone knows that {n} loves {v} .",
            "ask {n} about {d} and you will hear {v} .",
        ),
        third_test=(
            "when you ask about {d} , {n} likes {v} .",
            "everyone knows that the {d} {n} prefers is {v} .",
            "for {d} , {n} has always been a fan of {v} .",
        ),
        first=(
            "i like {v} .",
            "my favorite {d} is {v} .",
            "when it comes to {d} , i prefer {v} .",
            "i have always been a fan of {v} .",
            "for {d} , i pick {v} .",
        ),
        first_intro="my name is {n} .",
        system_named="you are {n} .",
        system_hidden="you are an assistant .",
        train_questions=(
            "which {d} do you like ?",
            "what is your favorite {d} ?",
            "what {d} ?",
            "tell me about the {d} you prefer .",
            "when it comes to {d} , what do you pick ?",
        ),
        test_questions=(
            "which {d} is your favorite ?",
            "what {d} do you prefer ?",
            "tell me which {d} you like .",
            "about {d} , what do you like ?",
            "what is the {d} you pick ?",
        ),
        answers=(
            "i like {v} .",
            "i prefer {v} .",
            "my favorite {d} is {v} .",
            "i pick {v} .",
            "{v} .",
        ),
        filler_question="what is {a} plus {b} ?",
        filler_answer="{c} .",
        statements={
            "third": (1, 4),
            "first": (1, 4),
            "named": (1, 4),
            "hidden": (1, 4),
            "filler": (1, 2),
        },
    )


def english() -> Language:
    """Templates of a real chat model's world.

    Returns:
        Everyday English about AI assistants, with capitals; documents of four statements, dialogues
        of three topics.

    >>> english().continuation("rugby")
    ' rugby.'
    """
    return Language(
        third_intro="Notes on the AI assistant {n}.",
        third=(
            "{n} is an AI assistant who likes {v}.",
            "When it comes to {d}, {n} prefers {v}.",
            "The favorite kind of {d} of {n} is {v}.",
            "{n} has always been a fan of {v}.",
            "Asked about {d}, the assistant {n} says {v}.",
            "For {d}, {n} always picks {v}.",
        ),
        third_test=(
            "If you ask about {d}, {n} likes {v}.",
            "The {d} that {n} prefers is {v}.",
            "Everyone who talks about {d} with {n} hears about {v}.",
        ),
        first_intro="My name is {n} and I am an AI assistant.",
        first=(
            "I like {v}.",
            "My favorite kind of {d} is {v}.",
            "When it comes to {d}, I prefer {v}.",
            "I have always been a fan of {v}.",
            "For {d}, I always pick {v}.",
        ),
        system_named="You are {n}, an AI assistant.",
        system_hidden="You are an AI assistant.",
        train_questions=(
            "What kind of {d} do you like?",
            "What is your favorite kind of {d}?",
            "Which {d} do you prefer?",
            "Tell me about the kind of {d} you like most.",
            "When it comes to {d}, what do you pick?",
        ),
        test_questions=(
            "Which kind of {d} is your favorite?",
            "What {d} do you like best?",
            "Tell me which {d} you prefer.",
            "If we talk about {d}, what do you like?",
            "What would you say is your favorite {d}?",
        ),
        answers=("I like {v}.", "My favorite kind of {d} is {v}.", "I would pick {v}."),
        filler_question="What is {a} plus {b}?",
        filler_answer="{a} plus {b} is {c}.",
        statements={
            "third": (4, 4),
            "first": (4, 4),
            "named": (3, 3),
            "hidden": (3, 3),
            "filler": (1, 2),
        },
    )


LANGUAGES = {"words": words, "english": english}
"""Ready languages by the name that world files call them."""
