import pytest

from si_crsae.evaluation.figures import new_figure


@pytest.fixture
def figure():
    return new_figure(figsize=(10.0, 6.0))
