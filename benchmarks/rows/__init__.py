"""Rows of the calibration: every file here simulates the estimators of one kind."""
