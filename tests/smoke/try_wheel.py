"""Build sdist and wheel, look through them, and install them in new environments.

    python tests/smoke/try_wheel.py                                # without extras
    python tests/smoke/try_wheel.py --extras metrics examples      # and with each of these

In each environment use_wheel.py takes a new user's first steps.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from packaging.metadata import Metadata

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ADDRESS = "https://example.org/graphkd"  # in place of the one that pyproject.toml has, or lacks
# What a downstream packager needs of the sdist, and what is too large for it.
WANTED = {
    "examples/quickstart.py", "examples/study/__main__.py", "benchmarks/report.py", "docs/conf.py",
    "docs/index.md", "docs/_static/graphkd.css", "tests/contract.py", "Makefile", "constraints.txt",
    "SECURITY.md", "recipe/recipe.yaml",
}  # fmt: skip
UNWANTED = ("benchmarks/results/study/", "docs/_build/", "data/", "runs/")
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"')


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def build(source: Path, folder: Path, *flags: str) -> None:
    run(sys.executable, "-m", "build", *flags, "--outdir", folder, source)


def metadata_of(wheel: Path) -> Metadata:
    """The metadata of a wheel; fails if an index would refuse them."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(file.read(name), validate=True)


def links(text: str) -> list[str]:
    """The links and figures of a README, but not those to a place in it."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = [one or other for one, other in LINK.findall(text)]
    return [link for link in found if not link.startswith("#")]


def look_through(sdist: Path, wheel: Path, work: Path) -> None:
    """Check what lies in the sdist and what the metadata say, with and without an address."""
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
        file.extractall(work, filter="data")
    assert names >= WANTED, WANTED - names
    assert not [name for name in names if name.startswith(UNWANTED)]
    source, here = work / sdist.name.removesuffix(".tar.gz"), ROOT / "README.md"
    project = source / "pyproject.toml"
    text, found = re.subn(
        '^address = ".*"$', f'address = "{ADDRESS}"', project.read_text(), flags=re.M
    )
    assert found == 1
    project.write_text(text)
    build(source, work / "addressed", "--wheel")
    addressed = metadata_of(next((work / "addressed").glob("*.whl")))
    assert addressed.project_urls["Repository"] == ADDRESS
    for readme in (addressed.description, metadata_of(wheel).description):
        assert not [link for link in links(readme) if not re.match("https?://", link)]
    assert len(links(addressed.description)) == len(links(here.read_text(encoding="utf-8")))


def try_out(wheel: Path, sdist: Path, extra: str, folder: Path) -> None:
    """Install in a new environment; without an extra, the sdist then takes the wheel's place."""
    venv.create(folder)
    python, constraints = folder / "bin" / "python", ROOT / "constraints.txt"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    install = (*pip, "install", "-qq", "--no-compile")
    torch = next(line for line in constraints.read_text().split() if line.startswith("torch=="))
    run(*install, torch)
    run(*install, "-c", constraints, f"{wheel}[{extra}]" if extra else wheel)
    run(*pip, "check")
    print(run(python, "-W", "error", HERE / "use_wheel.py", str(folder)), end="")
    if extra:
        print(f"With the extra {extra}")
    else:
        run(*install, "--no-deps", "--force-reinstall", sdist)
        run(python, "-W", "error", HERE / "use_wheel.py", str(folder))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--extras", nargs="+", default=[], help="each in an environment of its own")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        build(ROOT, work)
        (wheel,), (sdist,) = work.glob("*.whl"), work.glob("*.tar.gz")
        look_through(sdist, wheel, work)
        for extra in ["", *args.extras]:
            with tempfile.TemporaryDirectory() as env:
                try_out(wheel, sdist, extra, Path(env))


if __name__ == "__main__":
    main()
