"""The version, readable without importing metadata machinery; pyproject.toml reads it too."""

__version__ = "0.1.0"
