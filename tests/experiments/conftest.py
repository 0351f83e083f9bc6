"""The toy tasks are importable by name, here and in the processes that a test starts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
