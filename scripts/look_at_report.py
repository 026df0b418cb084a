"""Pictures of a report in a real browser, narrow as a phone and wide, light and dark.

    python scripts/look_at_report.py DIR/report.html OUT

Needs Debian's ``chromium`` on the path; CI does not, which tests the structure of the page instead
(`tests/test_report_browser.py`). Prints the width of the page beside that of the window and exits
with 1 when the page is wider: then one would have to scroll sideways to read it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = (390, 1280)
BROWSER = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
    "--allow-file-access-from-files", "--virtual-time-budget=4000",
)  # fmt: skip
# A browser window cannot be as narrow as a phone; a frame in it can.
FRAME = """<!DOCTYPE html><body style="margin:0"><iframe id="f" src="{page}" width="{width}"
height="{height}" style="border:0;display:block"></iframe><p id="said"></p><script>
document.getElementById("f").onload = e => {{
  const d = e.target.contentDocument;
  if ({opened}) d.querySelectorAll("details").forEach(x => x.open = true);
  const r = d.documentElement;
  const said = `width=${{r.scrollWidth}} height=${{r.scrollHeight}}`;
  document.getElementById("said").textContent = said;
}};</script>
"""


def browse(page: Path, width: int, height: int, opened: bool, *options: str) -> str:
    """What the browser prints, with ``page`` in a frame of that size."""
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.html"
        frame.write_text(
            FRAME.format(
                page=page.resolve().as_uri(),
                width=width,
                height=height,
                opened=str(opened).lower(),
            )
        )
        window = f"--window-size={max(width, 500)},{height}"
        run = subprocess.run(
            [*BROWSER, window, f"--user-data-dir={folder}/profile", *options, frame.as_uri()],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    return run.stdout


def main(page: Path, out: Path) -> int:
    out.mkdir(parents=True, exist_ok=True)
    too_wide = 0
    for width in WIDTHS:
        for opened in (False, True):
            said = re.search(
                r"width=(\d+) height=(\d+)", browse(page, width, 800, opened, "--dump-dom")
            )
            assert said is not None, "the browser did not load the page"
            wide, high = map(int, said.groups())
            too_wide += wide > width
            what = "all sections open" if opened else "as it opens"
            print(f"{width} px, {what}: the page is {wide} px wide, {high} px high")
            for scheme, force in (("light", ()), ("dark", ("--force-dark-mode",))):
                if opened and scheme == "dark":
                    continue
                name = out / f"{width}-{scheme}{'-open' if opened else ''}.png"
                height = min(high, 12_000)
                browse(page, width, height, opened, f"--screenshot={name.resolve()}", *force)
                print(f"  {name}")
    return int(too_wide > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
