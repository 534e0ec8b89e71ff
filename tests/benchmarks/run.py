"""Run a script of this folder or of the project: python tests/benchmarks/run.py benchmark-llm --help"""

import os
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

if __name__ == "__main__":
    paths = [*(ROOT / "scripts").glob("*.py"), *(HERE / "scripts").glob("*.py")]
    scripts = {path.stem: path for path in sorted(paths)}
    if len(sys.argv) < 2 or sys.argv[1] not in scripts:
        sys.exit(f"name one of {', '.join(scripts)}")
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "scripts"), str(HERE.parent)]
    runpy.run_path(str(scripts[sys.argv.pop(1)]), run_name="__main__")
