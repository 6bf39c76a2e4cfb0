"""Sphinx configuration. Nothing on the site needs a network, at build or in the browser."""

import inspect
import json
import re
import shutil
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx_gallery.sorting import ExplicitOrder

import graphkd

project = "graphkd"
author = "The graphkd authors"
copyright = author  # noqa: A001
version = release = graphkd.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery/*"]

# The reference, from the docstrings -----------------------------------------------------------

add_module_names = False
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autosummary_generate = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shapes"]
napoleon_use_rtype = False
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True


def source_of(app: Sphinx | None, module: str, name: str) -> str | None:
    """Find the module that defines a class: losses name the package in its place."""
    kind = getattr(import_module(module), name.partition(".")[0], None)
    if not inspect.isclass(kind):
        return None
    return next((x.__module__ for x in vars(kind).values() if inspect.isfunction(x)), None)


def guides() -> dict[str, str]:
    """The page of each loss, by its Module and functions: the first link in the list of losses."""
    text = (Path(__file__).parent / "losses" / "index.md").read_text(encoding="utf-8")
    links = re.findall(r"\[`(\w+)\(.*?\)`\]\((.+?)\.md(.*?)\)", text)
    found = {name: f"../../losses/{page}.html{anchor}" for name, page, anchor in reversed(links)}
    of_files = {
        (source_of(None, "graphkd", name) or "").replace(".losses.", ".functional."): url
        for name, url in found.items()
    }
    functions = (x for x in vars(graphkd.functional).values() if inspect.isfunction(x))
    named = {x.__name__: of_files[x.__module__] for x in functions if x.__module__ in of_files}
    return named | found


OTHER_GUIDES = {
    "TeacherStore": "teacher outputs, once <../../teacher_store.html",
    "Tap": "in your training loop <../../training.html",
    "Doctor": "findings and remedies <../../diagnostics/doctor.html",
}
WHAT = "when it helps, options that matter, pitfalls"
OF_LOSSES = {name: f"{WHAT} <{url}" for name, url in guides().items()}
autosummary_context = {"guides": OF_LOSSES | OTHER_GUIDES}

AS_THERE = re.compile(r"^( +)([\w, ]+): As in the function\.(.*)$")


def arguments(function: Any) -> dict[str, list[str]]:
    """What a function's docstring says of each argument, line by line."""
    lines = (inspect.getdoc(function) or "").splitlines()
    package = ".".join(getattr(function, "__module__", "").split(".")[:2])
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in lines[lines.index("Args:") + 1 :] if "Args:" in lines else []:
        if not line.startswith("    "):
            break
        if line.startswith("     "):
            text = line.strip()
        else:
            head, _, text = line.strip().partition(": ")
            names = head.split(", ")
        # Functions name their neighbours without a module, which is not the class's.
        text = re.sub(r":func:`(\w+)`", rf":func:`~{package}.\1`", text)
        for name in names:
            found.setdefault(name, []).append(text)
    return found


def say_options(app: Any, what: str, name: str, kind: Any, _: Any, text: list[str]) -> None:
    """Put the function's words where a Module says of an argument: as in the function.

    A Module's function has its name: ``GCRDLoss``, ``gcrd_loss``.
    """
    if what != "class" or not any(AS_THERE.match(line) for line in text):
        return
    packages = (graphkd.functional, graphkd.diagnostics)
    alike = {key.replace("_", ""): value for x in packages for key, value in vars(x).items()}
    said = arguments(alike.get(kind.__name__.lower()))
    lines = []
    for line in text:
        if found := AS_THERE.match(line):
            indent, names, rest = found.groups()
            for argument in names.split(", "):
                if argument not in said:
                    raise ExtensionError(
                        f"{name} says of {argument}: as in the function. No function of its name "
                        "documents it."
                    )
                first, *more = said[argument]
                lines += [f"{indent}{argument}: {first}", *(f"{indent}    {x}" for x in more)]
            lines += [f"{indent}   {rest}"] if rest else []
        else:
            lines.append(line)
    text[:] = lines


# The pages -------------------------------------------------------------------------------------

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = "graphkd"
html_static_path = ["_static"]
html_css_files = ["graphkd.css"]
html_favicon = "_static/favicon.svg"
html_extra_path = ["llms.txt", "../tests/api.txt"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
WITHOUT_SIDEBAR = (
    "index", "tutorial", "architecture", "changelog", "contributing", "released_code", "security",
    "results*", "study*",
)  # fmt: skip
html_context = {"default_mode": "auto"}
html_sidebars = {page: [] for page in WITHOUT_SIDEBAR}
html_theme_options = {
    "logo": {"text": f"graphkd {release}"},
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}

# The gallery: scripts that run when the site is built --------------------------------------------

# From what losses do to one loss's choices, to what goes wrong, to a whole run.
ORDER = (
    "gradient_flow", "soft_targets", "temperature", "false_negatives", "kernels",
    "exact_and_sampled", "collapse", "teacher_and_students",
)  # fmt: skip
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "min_reported_time": 60,
    "thumbnail_size": (600, 400),
    "capture_repr": (),
    "show_signature": False,
    "write_computation_times": False,
    "within_subsection_order": ExplicitOrder([f"plot_{name}.py" for name in ORDER]),
}

# Formulae --------------------------------------------------------------------------------------
# MathJax is a file of an installed package, copied into the site. Its SVG output needs no fonts.
# All that it would fetch while running is switched off: TeX packages on demand, and the menu.

mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {
    "tex": {"packages": {"[-]": ["autoload", "require"]}},
    "options": {"enableMenu": False},
}


def copy_mathjax(app: Sphinx) -> None:
    """Copy MathJax and its licence into the site."""
    if app.builder.format != "html":
        return
    package = distribution("django-static-mathjax")
    installed = Path(str(package.locate_file("mathjax/static/mathjax")))
    target = Path(app.outdir) / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(installed / "es5" / "tex-svg.js", target)
    shutil.copy(installed / "LICENSE", target)


# The tutorial as a notebook ----------------------------------------------------------------------

PARTS = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def notebook(page: str) -> dict[str, Any]:
    """A page's text and its Python, as Jupyter's cells; what it printed is left out."""
    page = re.sub(r" On the site it is there\n<a href.*?</a>\.", "", page)  # that is this one
    page = re.sub(r"\{\w+\}`~?([\w.]+)`", r"`\1`", page)  # a role of the site is a name
    page = re.sub(r"\[([^\]]+)\]\((?!http)[^)]+\)", r"\1", page)  # other pages are not there
    text, *rest = PARTS.split(page)
    pieces = [("markdown", text), ("code", "%pip install graphkd scikit-learn")]
    for language, block, after in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        pieces += [("code", block)] if language == "python" else []
        pieces += [("markdown", after)]
    cells: list[dict[str, Any]] = []
    for kind, source in pieces:
        if source.strip():
            own = {"outputs": [], "execution_count": None} if kind == "code" else {}
            lines = source.strip().splitlines(keepends=True)
            cells.append({"cell_type": kind, "metadata": {}, "source": lines, **own})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": kernel}, "cells": cells}


def write_notebook(app: Sphinx) -> None:
    """Put the tutorial's notebook where its page links to."""
    if app.builder.format != "html":
        return
    page = (Path(app.srcdir) / "tutorial.md").read_text(encoding="utf-8")
    target = Path(app.outdir) / "_static" / "tutorial.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(notebook(page), indent=1, ensure_ascii=False), encoding="utf-8")


# The examples, for those who have no clone ------------------------------------------------------

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def pack_examples(app: Sphinx) -> None:
    """Put all scripts and what they share into one file of the site."""
    if app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "examples.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(target, "w", ZIP_DEFLATED) as file:
        for path in sorted(EXAMPLES.rglob("*")):
            if path.suffix in (".py", ".md") and "__pycache__" not in path.parts:
                file.write(path, path.relative_to(EXAMPLES.parent))


# The bibliography, from CITATION.cff -----------------------------------------------------------

CITATION = Path(__file__).resolve().parents[1] / "CITATION.cff"
# A key's word is the first of the title that is not one of these.
FILLERS = {"a", "an", "from", "like", "on", "the", "what", "you"}


def entry(kind: str, key: str, fields: dict[str, str]) -> str:
    """A BibTeX entry."""
    lines = [f"  {name} = {{{text}}}," for name, text in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def own_entry(cited: dict[str, Any]) -> str:
    """The entry of the package itself."""
    authors = [
        f"{{{a['name']}}}" if "name" in a else f"{a['family-names']}, {a['given-names']}"
        for a in cited["authors"]
    ]
    fields = {
        "title": "{" + cited["title"] + "}",
        "author": " and ".join(authors),
        "note": f"Version {cited['version']}",
    }
    return entry("misc", cited["title"].partition(":")[0], fields)


def bibtex(paper: dict[str, Any]) -> str:
    """The entry of a paper, as CITATION.cff describes it."""
    authors, arxiv = paper["authors"], re.search(r"arxiv\.org/abs/(\S+)", paper["url"])
    words = re.findall(r"\w+", paper["title"].lower())
    word = next(word for word in words if word not in FILLERS)
    fields = {
        "title": "{" + paper["title"] + "}",
        "author": " and ".join(f"{a['family-names']}, {a['given-names']}" for a in authors),
        "year": str(paper["year"]),
    }
    if paper["type"] == "conference-paper":
        kind, fields["booktitle"] = "inproceedings", paper["collection-title"]
    else:
        preprint = f"arXiv preprint arXiv:{arxiv[1]}" if arxiv else ""
        kind, fields["journal"] = "article", paper.get("journal", preprint)
    fields["url"] = paper["url"]
    return entry(kind, f"{authors[0]['family-names'].lower()}{paper['year']}{word}", fields)


class Bibliography(SphinxDirective):
    """The package and every paper of CITATION.cff: what of it is here, and its BibTeX entry."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(CITATION)
        cited = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
        entries = [("graphkd", own_entry(cited))]
        entries += [(paper["notes"], bibtex(paper)) for paper in cited["references"]]
        found: list[nodes.Node] = []
        for title, text in entries:
            found += [nodes.rubric("", title), nodes.literal_block(text, text, language="bibtex")]
        return found


def setup(app: Sphinx) -> None:
    """Register what this file adds to Sphinx."""
    app.add_directive("bibliography", Bibliography)
    app.connect("builder-inited", copy_mathjax)
    app.connect("builder-inited", write_notebook)
    app.connect("builder-inited", pack_examples)
    app.connect("viewcode-follow-imported", source_of)
    app.connect("autodoc-process-docstring", say_options, priority=400)  # napoleon's is 500
