"""The version, in a file of its own so that nothing needs to import the package's front door for it."""

__version__ = "0.1.0"
