"""Chromium without a window: a page as it is after its scripts have run, and what a script finds that uses it."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
    "--virtual-time-budget=10000",
    # No name of the network is known: what the page needs must be in it.
    "--host-resolver-rules=MAP * ~NOTFOUND",
]  # fmt: skip
TOLD = "what-the-test-found"


def opened(path: Path, folder: Path, *more: str) -> tuple[str, list[str]]:
    """The page's elements after its scripts have run, and what the console said; ``folder`` is the browser's own."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={folder / 'browser'}", *more, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def used(path: Path, folder: Path, script: str, *, width: int = 1280) -> dict[str, Any]:
    """What a script finds that uses the page as a reader does: the body of an async function that fills ``told``.

    width: of the page, which is a frame in another, as windows have a least width. ``console`` is what the console
    said; an error of the script is raised as an AssertionError.
    """
    harness = f"""<script>(async () => {{
      const told = {{}};
      const at = (id) => document.getElementById(id);
      const pick = (id, value) => {{ at(id).value = value; at(id).dispatchEvent(new Event("change")); }};
      const tick = (id) => at(id).click();
      const rest = () => new Promise((done) => setTimeout(done, 50));
      try {{ {script} }} catch (error) {{ told.error = String(error.stack || error); }}
      parent.postMessage(JSON.stringify(told), "*");
    }})();</script></body>"""
    inner, outer = folder / "inner.html", folder / "outer.html"
    whole = path.read_text("utf-8")
    end = whole.rindex("</body>")
    inner.write_text(whole[:end] + harness + whole[end + len("</body>") :], "utf-8")
    outer.write_text(
        f"""<!doctype html><meta charset="utf-8"><body>
        <iframe src="inner.html" style="border:0; width:{width}px; height:900px"></iframe>
        <script>addEventListener("message", (event) => {{
          const box = document.createElement("pre");
          box.id = "{TOLD}";
          box.textContent = event.data;
          document.body.append(box);
        }});</script>""",
        "utf-8",
    )
    dom, console = opened(outer, folder, f"--window-size={max(width, 500)},1000")
    found = re.search(rf'<pre id="{TOLD}">(.*?)</pre>', dom, re.DOTALL)
    assert found, f"the script came to no end: {console}"
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    assert "error" not in told, told["error"]
    return {**told, "console": console}
