"""What does a run say, in words that a reader can check?

``write_report`` puts what the report of an experiment's wing says of its tables into one
self-contained, inert ``report.html``, with the tables as CSV beside it. Sentences are made from
tables and say "no effect shown" where an interval includes zero; every number names its CSV.
``token_view``, ``role_view`` and ``feature_page`` are blocks of such a page; ``show`` shows a view
in a notebook.
"""

from persona_interp.report.features import examples, feature_page
from persona_interp.report.provenance import provenance_of
from persona_interp.report.report import write_report
from persona_interp.report.tokens import role_view, show, token_view

__all__ = [
    "examples",
    "feature_page",
    "provenance_of",
    "role_view",
    "show",
    "token_view",
    "write_report",
]
