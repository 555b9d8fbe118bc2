"""Write the tree in README.md: one line per file, which is the first sentence of its docstring. Run by `make tree`."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- tree -->\n```\n", "```\n<!-- /tree -->"
WIDTH = 120
OTHERS = {
    "device_profiles/": "one YAML file for each device, every figure with its source; data only",
    "pipelines/": "one YAML file for each recipe; data only",
    "tests/": "mirrors edgekd/; the files at its top run the whole job",
    "benchmarks/": "what the predictor's constants and the README's figures come from",
    "docs/": "decisions (adr/), dependencies, the schemas of results.json, recipes and edgekd.yaml",
}


def tree() -> str:
    """The tree as text, folders before the files at the same level."""
    lines = [f"{'edgekd/':<26}"]
    lines += _folder(ROOT / "edgekd", 1)
    lines += [f"{name:<26}{text}" for name, text in OTHERS.items()]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def with_tree(readme: str) -> str:
    """README.md with the tree between its marks brought up to date."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{tree()}{END}{after}"


def _folder(folder: Path, depth: int) -> list[str]:
    lines = []
    entries = sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name))
    for path in entries:
        if path.is_dir() and any(path.rglob("*.py")):
            lines += [f"{'  ' * depth}{path.name}/", *_folder(path, depth + 1)]
        elif path.suffix == ".py" and path.name != "__init__.py":
            lines.append(f"{'  ' * depth + path.name:<26}{_first_sentence(path)}")
    return lines


def _first_sentence(path: Path) -> str:
    """The first sentence of a docstring, cut at the last comma or colon that fits where it is too long for a line."""
    docstring = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
    sentence = re.split(r"(?<=\w)\. ", docstring, maxsplit=1)[0].rstrip(".")
    ends = [match.start() for match in re.finditer(r"[,:;] |$", sentence) if match.start() <= WIDTH - 26]
    return sentence[: ends[-1] if ends else WIDTH - 26]


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_tree(path.read_text(encoding="utf-8")), encoding="utf-8")
