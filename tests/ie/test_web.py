"""What the servers share: how they stop, how long they wait for a client, and how many they take."""

import signal
from pathlib import Path

import pytest
from running import ROOT, stops_with_weasel

PAGE = f"""
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
from starlette.applications import Starlette
from ie import web
web.run_page(Starlette(), web.listen(0, "--port"), "key", "A page.")
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_stops_with_the_weasel_that_started_it(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "page.py").write_text(PAGE, encoding="utf-8")
    stops_with_weasel(tmp_path, tmp_path / "page.py", [], how)
