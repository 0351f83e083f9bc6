"""Makes the modules of this folder importable by name, for each other and for the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
