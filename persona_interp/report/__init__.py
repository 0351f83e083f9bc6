"""What does a run say, in words that a reader can check?

``write_report`` puts what the report of an experiment's wing says of its tables into one
self-contained, inert ``report.html``, with the tables as CSV beside it. Sentences are made from
tables and say "no effect shown" where an interval includes zero; every number names its CSV.
``tokens``, ``roles`` and ``feature_page`` are blocks of such a page; a notebook shows the first two
by themselves. ``browse`` writes a page of all features, to be sorted and searched.
"""

from persona_interp.arguments import doors
from persona_interp.report.browser import browse
from persona_interp.report.features import examples, feature_page
from persona_interp.report.provenance import provenance_of, versions
from persona_interp.report.report import write_page, write_report
from persona_interp.report.tokens import roles, tokens

__all__ = [
    "browse",
    "examples",
    "feature_page",
    "provenance_of",
    "roles",
    "tokens",
    "versions",
    "write_page",
    "write_report",
]

globals().update(doors(__name__, globals(), __all__))
