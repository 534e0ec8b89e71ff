"""The project file, whose commands and vars are named."""

import pytest
import srsly
from running import ROOT


@pytest.fixture(scope="session")
def project() -> dict:
    return srsly.read_yaml(ROOT / "project.yml")
