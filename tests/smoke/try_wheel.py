"""Build the wheel, install it with no extras in a new environment, and run use_wheel.py there."""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", work, ROOT)
        (wheel,) = work.glob("*.whl")
        env = work / "env"
        venv.create(env)
        python, constraints = env / "bin" / "python", ROOT / "constraints.txt"
        quiet = ("-qq", "--no-compile", "--disable-pip-version-check")
        pip = (sys.executable, "-m", "pip", "--python", python, "install", *quiet)
        torch = next(line for line in constraints.read_text().split() if line.startswith("torch=="))
        run(*pip, torch)
        run(*pip, "-c", constraints, wheel)
        print(run(python, "-W", "error", HERE / "use_wheel.py", str(env)), end="")


if __name__ == "__main__":
    main()
