"""Parity vectors: inputs with what the trained model answers, chosen, written, read and replayed."""
