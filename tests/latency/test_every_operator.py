"""The predictor looks at graphs of strangers: whatever operator is in one, it is counted or refused in a sentence."""

import math
import warnings

import pytest

from edgekd.device import load_profile
from edgekd.errors import BadInput
from edgekd.latency.graph import summarise
from edgekd.latency.predictor import predict_summary


@pytest.mark.slow
def test_every_operator_of_onnx_own_test_cases_is_counted_or_refused() -> None:
    with warnings.catch_warnings(action="ignore"):
        from onnx.backend.test.case.node import collect_testcases

        cases = {case.name: case.model for case in collect_testcases(None) if case.model is not None}
    profile, counted = load_profile("raspberry-pi-5"), 0
    for name, model in cases.items():
        for optimised in (False, True):
            try:
                summary = summarise(model, optimised=optimised)
            except BadInput as error:
                assert str(error), name
                continue
            for precision in (None, "int8"):
                latency = predict_summary(summary, profile, precision=precision).latency_ms
                assert latency is not None and 0 <= latency.value < math.inf, name
            counted += 1
    assert counted > 0.9 * 2 * len(cases) > 2000
