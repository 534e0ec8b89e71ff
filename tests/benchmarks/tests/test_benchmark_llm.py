"""The benchmark command, in small."""

import json
import subprocess
import sys

from running import ROOT


def benchmark(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "tests/benchmarks/run.py", "benchmark-llm", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_it_prints_ratios_of_one_run(tmp_path):
    output = tmp_path / "found.json"
    small = ["--latency", "0.1", "--rounds", "4", "--concurrency", "1,8", "--overhead-texts", "50"]
    result = benchmark(
        *small, "--parts", "throughput,overhead,memory", "--memory-texts", "100", "--output", str(output)
    )
    assert result.returncode == 0, result.stderr
    assert "plain spacy-llm" in result.stdout
    assert "x plain" in result.stdout
    found = json.loads(output.read_text())
    plain, one, eight = found["throughput"]
    assert [row["concurrency"] for row in (plain, one, eight)] == [1, 1, 8]
    assert eight["rate"] > 3 * plain["rate"]
    assert all(row["of_ideal"] <= 1.01 for row in found["throughput"])
    assert found["overhead"]["found in the store"] < found["overhead"]["asked over HTTP, stored"]
    assert found["memory"]["documents"] == 100


def test_a_part_that_is_none_is_reported():
    result = benchmark("--parts", "speed")
    assert result.returncode == 1
    assert (
        "--parts speed is no part; choose from throughput, overhead, memory, embedded, unpacking."
        in " ".join((result.stdout + result.stderr).split())
    )
