"""The parts of the artifact: what an app embeds, and what proves it."""
