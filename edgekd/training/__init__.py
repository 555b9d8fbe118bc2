"""Training a student with and without its teacher: the loop, its schedule, its views of the data, its checkpoints."""
