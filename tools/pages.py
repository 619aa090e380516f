"""Write the generated pages of the documentation: one for each paper that is an executable specification."""

from pathlib import Path

from variorum.explain.formal.page import PAPERS, page

FOLDER = Path(__file__).parents[1] / "docs" / "formal"

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in PAPERS:
        (FOLDER / f"{name}.md").write_text(page(name), encoding="utf-8")
        print(f"wrote docs/formal/{name}.md")
