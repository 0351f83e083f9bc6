"""What is looked for inside of the models, and under which names is it kept?"""

METHODS = ("mean difference", "minimal pair", "probe")
"""How a persona's direction is made; each is the file of a ``personas`` cell."""
VECTOR = "minimal pair"
"""Method whose vectors are reported: only the name in the prompt differs."""
TOP = "top feature"
"""Readout and edit: the feature that knows the target best, chosen on train documents."""
SPAN = "subspace of the three"
"""Edit that takes out what the target's directions by all three methods span."""
RANDOM, VARIED = "random (norm)", "random (variance)"
"""Groups of edits: random directions as long as the target's, uniform or as residuals vary."""
PATCH, ADDED_PATCH = "base residual patched in", "tuned residual patched in"
"""Edits that put the other model's whole residual in: about the most that one hook can do."""
BRINGS = ("added", "added persona", "added patch")
"""Groups of edits that are to bring the effect to the base; all others are to take it away."""
NO_RIVALS = ("none", "patch", *BRINGS)
"""Groups of edits that are not compared with taking the target's vector out; all others are."""
GROUPS = {
    "method": "other ways to take the persona out",
    "feature": "single features that know the persona",
    "persona": "other personas' vectors",
    RANDOM: "random directions of equal norm",
    VARIED: "random directions that vary as residuals do",
    "matched": "features that fire as often in documents",
    "active": "features as active after the lesson",
}
"""Group of edits -> what its members are."""
N_FAMILY, N_PAGES, N_NEIGHBORS = 5, 3, 8
"""Features in a family, how many of them get a page, and how many neighbors a page lists."""
