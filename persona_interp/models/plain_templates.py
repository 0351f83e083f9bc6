"""Which chat templates cannot make much of a little, whatever they are given?

Those that put texts behind one another, in loops over the messages and their parts, and keep
nothing that grows. All others may multiply, count or call themselves without an end, and are
rendered apart (``models/apart.py``).
"""

from functools import lru_cache
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

FOLD = (
    "{%- if messages | length > 1 "
    "and messages[0]['role'] == 'system' and messages[1]['role'] == 'user' -%}"
    "{%- set said = messages[0]['content'] + '\\n\\n' + messages[1]['content'] -%}"
    "{%- set messages = [dict(messages[1], content=said)] + messages[2:] -%}"
    "{%- endif %}\n"
)
"""What a folding chat template begins with.

Its line end is the block's, so that the rest begins a line of its own.
"""
LONGEST = 20_000
"""Characters of a template up to which it is looked at."""
MOST_NAMES = 100
"""Values that a plain template may mention: each may be as long as the conversation."""
NODES: tuple[type[nodes.Node], ...] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Test,
    nodes.Concat,
    nodes.Add,
    nodes.Sub,
    nodes.Neg,
    nodes.Mod,
    nodes.Filter,
    nodes.Call,
    nodes.For,
    nodes.Assign,
)
FILTERS = frozenset(
    {"trim", "upper", "lower", "capitalize", "title", "string", "length", "count", "default"}
)
METHODS = frozenset(
    {"strip", "lstrip", "rstrip", "upper", "lower", "capitalize", "title", "startswith", "endswith"}
    | {"get"}
)


@lru_cache(maxsize=64)
def is_plain(template: str) -> bool:
    """Whether a text is at most as long as what is said, times the size of the template squared.

    Args:
        template: A chat template.

    Returns:
        Whether it holds nothing but ``NODES``, ``FILTERS`` and ``METHODS``; each loop inside
        another runs over a part of what that one is at; and what is set holds at most one value
        that was set before. What is set inside a loop is forgotten at its next round (Jinja), so
        that nothing grows from round to round.

    >>> is_plain("{% for m in messages %}{{ m.role ~ ': ' ~ m.content | trim }}{% endfor %}")
    True
    >>> is_plain("{% set a = 'ha' %}{% set b = a ~ a %}{{ b }}")
    False
    """
    if len(template) > LONGEST:
        return False
    try:
        tree = Environment(autoescape=True).parse(template.removeprefix(FOLD))
    except (TemplateSyntaxError, RecursionError):  # tags of other libraries, or nested too deep
        return False
    every = _every(tree)
    return (
        all(type(node) in NODES for node in every)
        and len(_names(every)) <= MOST_NAMES
        and all(node.name in FILTERS for node in every if isinstance(node, nodes.Filter))
        and all(_is_known(node) for node in every if isinstance(node, nodes.Call))
        and all(_is_round(node) for node in every if isinstance(node, nodes.Mod))
        and _keeps_little(every)
        and _goes_inward(tree, around=None)
    )


def _every(node: nodes.Node) -> list[nodes.Node]:
    """A node and all below it."""
    return [node, *node.find_all(nodes.Node)]


def _names(every: list[nodes.Node]) -> list[str]:
    return [node.name for node in every if isinstance(node, nodes.Name)]


def _is_known(call: nodes.Call) -> bool:
    """Whether what is called is a harmless method, says the day, or refuses the messages."""
    if isinstance(call.node, nodes.Name):
        is_day = call.node.name == "strftime_now"
        is_constant = all(isinstance(value, nodes.Const) for value in call.args)
        return call.node.name == "raise_exception" or (is_day and is_constant)
    return isinstance(call.node, nodes.Getattr) and call.node.attr in METHODS


def _is_round(remainder: nodes.Mod) -> bool:
    """Whether it is that of the number of a round; of a text it is a format, with any width."""
    left: Any = remainder.left
    is_number = isinstance(left, nodes.Getattr) and left.attr in ("index", "index0")
    return is_number and isinstance(left.node, nodes.Name) and left.node.name == "loop"


def _keeps_little(every: list[nodes.Node]) -> bool:
    """Whether whatever is set is data and at most one value that was set before."""
    steps = [node for node in every if isinstance(node, nodes.Assign)]
    loops = [node for node in every if isinstance(node, nodes.For)]
    if not all(isinstance(node.target, nodes.Name) for node in (*steps, *loops)):
        return False
    kept = set(_names([step.target for step in steps]))
    if kept & {"loop", *_names([loop.target for loop in loops])}:
        return False
    return all(sum(name in kept for name in _names(_every(step.node))) <= 1 for step in steps)


def _goes_inward(node: nodes.Node, *, around: str | None) -> bool:
    """Whether every loop is over parts of a value, and one in another over parts of its item."""
    for child in node.iter_child_nodes():
        inner = around
        if isinstance(child, nodes.For):
            root: Any = child.iter
            while isinstance(root, nodes.Getattr | nodes.Getitem):
                root = root.node
            is_part = isinstance(root, nodes.Name) and around in (None, root.name)
            if not is_part or child.recursive:
                return False
            inner = _names([child.target])[0]
        if not _goes_inward(child, around=inner):
            return False
    return True
