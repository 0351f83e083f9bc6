"""What is looked for inside of the models, and under which names is it kept?"""

METHODS = ("mean difference", "minimal pair", "probe")
"""How a persona's direction is made; each is the file of a ``personas`` cell."""
VECTOR = "minimal pair"
"""Method whose vectors are reported: only the name in the prompt differs."""
SPAN = "subspace of the three"
"""Edit that takes out what the target's directions by all three methods span."""
RANDOM = "random (norm)"
"""Group of edits: a random direction as long as the target's is taken out."""
N_FAMILY, N_PAGES, N_NEIGHBORS = 5, 3, 8
"""Features in a family, how many of them get a page, and how many neighbors a page lists."""
