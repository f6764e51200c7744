"""Measurements of whole runs: see README.md beside this file. Nothing of the package imports it."""
