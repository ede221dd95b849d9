"""Run every benchmark: `python -m bench`, or some of them by name: `python -m bench replay query`.

Each runs in a process of its own, so that peak memory is its own, and writes bench/results/.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NOT_BENCHMARKS = ("harness", "posts", "__init__", "__main__")


def main() -> int:
    known = sorted(f.stem for f in HERE.glob("*.py") if f.stem not in NOT_BENCHMARKS)
    wanted = sys.argv[1:] or known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"No benchmark called {', '.join(unknown)}. Known: {', '.join(known)}.")
        return 2
    failed = [n for n in wanted if subprocess.call([sys.executable, HERE / f"{n}.py"])]
    if failed:
        print(f"Failed: {', '.join(failed)}.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
