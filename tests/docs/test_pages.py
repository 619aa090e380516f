"""The code of the documentation runs, page by page, as a reader would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
WRITTEN = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]  # what is generated stands in folders of its own
PAGES = sorted(p for p in WRITTEN if p.exists() and BLOCK.search(p.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_of_the_page_runs(page, tmp_path):
    """All Python blocks of a page, one after another, in a fresh process and an empty folder."""
    script = tmp_path / "page.py"
    script.write_text("\n".join(BLOCK.findall(page.read_text())))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=280,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_every_page_of_the_site_exists():
    """Each page that the site's navigation names is a file, or one that ``make docs`` makes."""
    names = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert names
    made = (ROOT / "tools" / "pages.py").read_text()
    assert [n for n in names if not (ROOT / "docs" / n).exists() and f'"{n}"' not in made] == []
