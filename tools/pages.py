"""Write the generated pages of the documentation: the executable papers, and what each system costs the house."""

from pathlib import Path

from variorum.compare.shares import MOST_LINES, shares, table
from variorum.explain.formal.page import PAPERS, page

DOCS = Path(__file__).parents[1] / "docs"

SHARES = f"""# What a system costs

The measure of the grammar is what a new system needs outside of its own file. This page is measured from the code: a
test holds every system to at most {MOST_LINES} lines in its file and to no line elsewhere that knows its name. A part
that one system uses so far stands in a file of its own, open to all.

"""

if __name__ == "__main__":
    (DOCS / "formal").mkdir(exist_ok=True)
    for name in PAPERS:
        (DOCS / "formal" / f"{name}.md").write_text(page(name), encoding="utf-8")
        print(f"wrote docs/formal/{name}.md")
    (DOCS / "shares.md").write_text(SHARES + table(shares()) + "\n", encoding="utf-8")
    print("wrote docs/shares.md")
