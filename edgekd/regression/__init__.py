"""Whether a build got worse than its baseline."""
