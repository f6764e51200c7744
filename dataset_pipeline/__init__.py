"""One spec file and raw files in; a gated, versioned, explainable training dataset out."""

__version__ = "0.1.0"
