"""What the tests of private training share."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import oracle


@pytest.fixture(params=["float32", "float64"])
def floatx(request):
    """Runs a test in both precisions."""
    with oracle.precision(request.param):
        yield request.param
