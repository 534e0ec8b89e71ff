"""Tests of the library rest on copies of the demo's configs, which `init` doesn't change."""

import deals
import pytest
from running import ROOT

# forms.cfg is for tests alone.
COPIES = sorted(path for path in deals.CONFIGS.glob("*.cfg") if path.name != "forms.cfg")


@pytest.mark.parametrize("copy", COPIES, ids=lambda path: path.name)
def test_the_copy_for_tests_is_the_config_that_ships(copy) -> None:
    assert copy.read_text("utf-8") == (ROOT / "configs" / copy.name).read_text("utf-8"), (
        f"cp configs/{copy.name} tests/configs/"
    )
