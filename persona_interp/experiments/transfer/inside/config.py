"""What is looked for inside of the models, and under which names is it kept?"""

METHODS = ("mean difference", "minimal pair", "probe")
"""How a persona's direction is made; each is the file of a ``personas`` cell."""
SPAN = "subspace of the three"
FAMILY, SHOWN, NEAREST = 5, 3, 8
"""Features in a family, how many of them get a page, and how many neighbors a page shows."""
VECTOR = "minimal pair"
"""Method whose vectors are reported: only the name in the prompt differs."""
