"""How long does the page of the network take in headless Chromium, on one thread?

    python benchmarks/browser.py             # builds the page where it is not built; 1 minute

From opening the address to the first segments (files come from this machine, so a line's speed is
not in it), one street through the network, and one move of a slider of the merge up to its picture.
Each is the median, with the least and the largest.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from pfpn.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "browser.json"
BUILT = ROOT / "web" / "network" / "built"
LIMITS = {"usable": 4000, "network": 500, "slider": 50}  # ms: what the page promises
ANSWERED = "() => document.documentElement.dataset.runs && pageState().merged"
# The network's time is the worker's own; the slider's is from the event to two frames later.
NETWORK = """async () => {
  const runs = () => Number(document.documentElement.dataset.runs);
  const times = [];
  for (let i = 0; i < 10; i++) {
    const [before, began] = [runs(), performance.now()];
    document.querySelector(`#gallery [data-street="${i}"]`).click();
    while (runs() === before) await new Promise((done) => setTimeout(done, 2));
    times.push(performance.now() - began);
  }
  return times;
}"""
SLIDER = """async () => {
  const slider = document.getElementById("score");
  const times = [];
  for (let i = 0; i < 20; i++) {
    await new Promise((done) => requestAnimationFrame(done));
    slider.value = 0.3 + 0.03 * i;
    const began = performance.now();
    slider.dispatchEvent(new Event("input"));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - began);
  }
  return times;
}"""


class Quiet(SimpleHTTPRequestHandler):
    """A server that prints nothing."""

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/index.html"
    finally:
        server.shutdown()


def measure(address: str, repeats: int) -> dict[str, list[float]]:
    """Return the times of each kind, in ms."""
    program = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    )
    times: dict[str, list[float]] = {"usable": [], "network": [], "slider": []}
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        for _ in range(repeats):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            began = time.perf_counter()
            page.goto(address)
            page.wait_for_function(ANSWERED)
            times["usable"].append(1000 * (time.perf_counter() - began))
            page.wait_for_selector('#gallery [data-street="19"] canvas')
            page.wait_for_timeout(500)
            times["network"] += page.evaluate(NETWORK)
            times["slider"] += page.evaluate(SLIDER)
            page.context.close()
        browser.close()
    return times


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if not (BUILT / "index.html").is_file():
        command = [sys.executable, ROOT / "web" / "network" / "build.py"]
        if subprocess.run(command).returncode:
            return 1
    with serving(BUILT) as address:
        times = measure(address, args.repeats)
    rows = {
        name: {
            "median_ms": statistics.median(values), "least_ms": min(values),
            "largest_ms": max(values), "num": len(values), "promised_ms": LIMITS[name],
        }
        for name, values in times.items()
    }  # fmt: skip
    for name, row in rows.items():
        print(
            f"{name:8} median {row['median_ms']:6.0f} ms, {row['least_ms']:.0f} to "
            f"{row['largest_ms']:.0f} of {row['num']}; promised {row['promised_ms']} ms"
        )
    write_atomically(RESULTS, (json.dumps(rows, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
