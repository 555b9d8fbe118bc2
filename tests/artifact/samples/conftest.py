"""The languages of which samples run here."""

import pytest


@pytest.fixture(params=["python", "node", "cpp"])
def language(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    name: str = request.param
    return name
