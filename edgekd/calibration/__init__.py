"""Rates and costs of a machine or a board, from graphs that are built by code and run there."""
