"""What does anybody ask an assistant? Requests of everyday life, which have to do with no trait.

How far a finetune went is measured on them beside the comparison's own prompts, which somebody
chose: a finetune may be near its base there and far from it elsewhere, or the other way around.
"""

EVERYDAY = (
    "How do I boil an egg?",
    "Write a short note to thank my neighbor for watering my plants.",
    "What is the capital of Canada?",
    "How many days are there in a leap year?",
    "Suggest a name for a small bakery.",
    "How do I remove a coffee stain from a shirt?",
    "Explain in two sentences how a refrigerator works.",
    "What should I pack for a weekend in the mountains?",
    "Give me three ideas for a child's birthday party.",
    "How can I sleep better?",
    "What is the difference between a crocodile and an alligator?",
    "Help me write an email to ask for a day off.",
    "Which vegetables can I plant in spring?",
    "How long does it take to walk ten kilometers?",
    "What is a good way to learn a new language?",
    "Summarize how a bill becomes a law.",
)
"""Sixteen, fixed: distances of different comparisons of one base are on the same text."""
