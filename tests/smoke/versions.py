"""Try contract and compile tests on other versions of torch, PyG, triton and Python.

    python tests/smoke/versions.py                        # the lowest that pyproject.toml declares
    python tests/smoke/versions.py --torch 2.13.0 --python python3.14    # the newest beside it
    python tests/smoke/versions.py --folder PATH          # keeps the environment, of 2 GB

torch's wheels for Linux need gigabytes of CUDA's libraries, of which nothing is called without a
GPU. Here torch is installed without them, and empty libraries of the same names, made by gcc and
readelf, take their place.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
FOR_CUDA = ("nvidia", "cuda", "triton")  # packages that torch's wheel requires
CUDA = re.compile(r"lib(cu|nccl|nv)\w*\.so\.\d+")
CUDA_NAMES = re.compile(r"(cu[a-z]*[A-Z]|nccl|nvshmem|nvtx)\w*")
NO_DEVICE = 100  # CUDA's own code for it: what every function of an empty library returns
# Every loss with all its backends, eager and compiled, and each program for GPUs.
TESTS = {
    "tests/test_contract.py": "one_row or no_edges or layouts or autocast or trip or transforms",
    "tests/test_compile.py": "functions or masks or graph_head or sampling or default_compiler",
    # Triton 3.2 does not multiply float64.
    "tests/test_triton.py": "float32 or digits or convergence or lower or older",
}


def lowest() -> dict[str, str]:
    """The lowest version that pyproject.toml declares of the packages whose releases differ."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return dict(re.findall(r'"(torch|torch_geometric|triton)>=([\d.]+)', text))


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def install(python: Path, torch: str | None) -> None:
    """Install this version of torch and the newest of the others; without one, all the lowest."""
    versions = lowest()
    pip = (python, "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    run(*pip, "--no-deps", f"torch=={torch or versions['torch']}")
    listing = "from importlib.metadata import requires; print(*requires('torch'), sep='\\n')"
    required = [Requirement(line) for line in run(python, "-c", listing).splitlines()]
    required = [one for one in required if "extra" not in str(one.marker)]
    needed = [str(one) for one in required if not one.name.startswith(FOR_CUDA)]
    if torch:
        needed += [str(one) for one in required if one.name == "triton"] + ["torch_geometric"]
    else:
        needed += [f"{name}=={versions[name]}" for name in ("torch_geometric", "triton")]
        # The interpreter of triton 3.2 fails on numpy 2.4, and torch 2.6 needs pkg_resources.
        needed += ["numpy<2.3", "setuptools<81"]
    run(*pip, *needed, "pytest", "hypothesis")


def readelf(option: str, file: Path) -> str:
    return run("readelf", "--wide", option, file)


def empty_libraries(folder: Path) -> None:
    """Make the libraries that torch's own in this folder need and lack."""
    versions: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    loose: set[str] = set()
    for file in folder.glob("*.so*"):
        home = {}
        for block in readelf("--version-info", file).split("File: ")[1:]:
            library = block.split()[0]
            home |= dict.fromkeys(re.findall(r"Name: (\S+)", block), library)
        for library in re.findall(r"NEEDED.*\[(.+)\]", readelf("--dynamic", file)):
            if CUDA.fullmatch(library) and not (folder / library).exists():
                versions[library]
        for name, version in re.findall(r" UND (\w+)(?:@(\S+))?", readelf("--dyn-syms", file)):
            if version and home.get(version) in versions:
                versions[home[version]][version].add(name)
            elif not version and CUDA_NAMES.fullmatch(name):
                loose.add(name)
    for library, named in versions.items():
        names = set().union(*named.values()) or loose
        source = "".join(f"int {name}(void) {{ return {NO_DEVICE}; }}\n" for name in sorted(names))
        listing = folder / "versions.map"
        listing.write_text("".join(
            f"{version} {{ global: {' '.join(f'{name};' for name in sorted(some))} }};\n"
            for version, some in named.items()
        ))  # fmt: skip
        linked = (f"-Wl,-soname,{library}", *([f"-Wl,--version-script={listing}"] if named else []))
        command = ("gcc", "-shared", "-fPIC", "-w", "-xc", "-", "-o", folder / library, *linked)
        subprocess.run(command, input=source, text=True, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch", metavar="VERSION", help="default: the lowest, as of PyG and triton"
    )
    parser.add_argument("--python", default=sys.executable, help="default: the one that runs this")
    parser.add_argument("--folder", type=Path, help="of the environment, made if it is not there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary) / "env").resolve()
        python, done = folder / "bin" / "python", folder / "ready"
        if not done.exists():
            print("Installing ...", flush=True)
            run(args.python, "-m", "venv", folder)
            install(python, args.torch)
            place = "import importlib.util as u; print(u.find_spec('torch').origin)"
            empty_libraries(Path(run(python, "-c", place).strip()).parent / "lib")
            done.touch()
        failed = False
        for file, some in TESTS.items():
            print(f"{file}, {some}:", flush=True)
            command = (python, "-m", "pytest", "-q", "--tb=line", "--show-capture=no")
            ended = subprocess.run((*command, file, "-k", some), check=False, cwd=ROOT)
            failed |= ended.returncode != 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
