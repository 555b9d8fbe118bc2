"""What a run takes where the user says nothing and the recipe's field leaves it open."""

EPOCHS = 30
"""Passes over the training data, where no time is given either."""
KEEP_MACS = 0.5
"""Share of the teacher's MACs that --student auto keeps, where no latency budget decides."""
DEFAULT_DROP = 0.02
"""Score that the shipped file may lose against the teacher where no `drop` budget is set: two points."""
QUANTIZATION_DROP = 0.005
"""Score that int8 may lose on top of fp32 before a further rung is tried, where no `drop` budget says otherwise; and
what it may cost on top where fp32 alone has lost too much already."""
