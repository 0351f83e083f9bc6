"""Data with a known truth, for the calibration. Nothing here imports ``persona_interp.analysis``."""
