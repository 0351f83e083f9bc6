"""What does a run say, in words that a reader can check?

``write_report`` turns an experiment's tables into figures and one self-contained, inert ``report.html``. Sentences are
made from tables (``findings``) and say "no effect" where an interval includes zero; every number names its CSV.
"""

from persona_interp.report.provenance import provenance_of
from persona_interp.report.transfer import write_report

__all__ = ["provenance_of", "write_report"]
