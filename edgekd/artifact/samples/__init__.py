"""Programs that an app takes over, and the README that says how they are run; `templates/` is what both are made of."""
