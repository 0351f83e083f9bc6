"""Data with a known truth, for the calibration: no file imports ``persona_interp.analysis``."""
