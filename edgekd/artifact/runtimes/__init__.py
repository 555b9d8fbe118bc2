"""The graphs in the formats that runtimes have of their own, and what a build for them alone needs."""
