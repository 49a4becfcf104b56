"""Fuzz the readers for some minutes: `python tests/fuzz/run.py MINUTES`, with ever new inputs.

The tests of this folder run again and again, each time from another seed and with more examples
than in the suite. The smallest input that fails is stored under tests/data_files/fuzz/found/ and
its seed printed; put it into the corpus (tests/data_files/fuzz/weights-*.bin) with the fix.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / "tests" / "data_files" / "fuzz" / "found"


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    end, seed = time.monotonic() + 60 * minutes, int(time.time())
    FOUND.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"FUZZ_EXAMPLES": "500", "FUZZ_FOUND": str(FOUND)}
    rounds = 0
    while time.monotonic() < end or rounds == 0:
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}"]
        command = [sys.executable, "-m", "pytest", *options, "tests/fuzz"]
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if code != 0:
            raise SystemExit(f"seed {seed}: an input failed; see {FOUND} and the lines above")
        seed, rounds = seed + 1, rounds + 1
    print(f"{rounds} rounds of 500 examples a test, no failure")


if __name__ == "__main__":
    main()
