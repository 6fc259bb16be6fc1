"""Running one process and measuring it: wall time, peak memory, what it kept on disk meanwhile."""

import json
import os
import statistics
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path


class Failed(Exception):
    """A run ended badly or two outputs differ."""


@dataclass
class Execution:
    """One process, from its start to its end."""

    seconds: float
    # Highest resident set; of the whole process tree where that was asked for.
    peak_mb: float
    printed: str
    # The most that lay in its folder for temporary files at one time.
    temporary_mb: float
    # Resident memory over time, where that was asked for; the last sample may be of what had ended already.
    resident_mb: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Resident memory of the last fifth of the time against that of the second."""
        n = len(self.resident_mb) // 5
        if n == 0:
            raise Failed(f"{len(self.resident_mb)} samples of memory are too few")
        return statistics.mean(self.resident_mb[-n:]) / statistics.mean(self.resident_mb[n : 2 * n])


def tree_rss_mb(root: int) -> float:
    """Resident memory of a process and of all it started, now."""
    children: dict[int, list[int]] = {}
    rss: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(stat[1]), []).append(int(entry))
        rss[int(entry)] = int(stat[21])
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        total += rss.get(pid, 0)
        todo += children.get(pid, [])
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def folder_mb(folder: Path) -> float:
    """What the files below a folder hold, now; files may vanish while it looks."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                pass
    return total / 2**20


def execute(command: list[str], cpus: set[int], folder: Path, env: dict[str, str], *, tree: bool = False, temporary: bool = False) -> Execution:
    """Runs a command in a folder.

    `tree` counts the memory of all processes that it starts; `temporary` gives it a folder of its own for temporary files
    and watches how much lies there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out, err, scratch = folder / "stdout", folder / "stderr", folder / "temporary"
    env = {**os.environ, **env}
    if temporary:
        scratch.mkdir(exist_ok=True)
        env["TMPDIR"] = str(scratch)
    report = folder / "measured.json"
    report.unlink(missing_ok=True)
    launch = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), str(report), ",".join(map(str, sorted(cpus)))]
    peak = most = 0.0
    resident: list[float] = []
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        process = subprocess.Popen([*launch, *map(str, command)], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        done = threading.Event()

        def sample() -> None:
            nonlocal peak, most
            while not done.wait(0.2 if tree else 0.05):
                if tree:
                    resident.append(tree_rss_mb(process.pid))
                    peak = max(peak, resident[-1])
                if temporary:
                    most = max(most, folder_mb(scratch))

        watch = threading.Thread(target=sample, daemon=True) if tree or temporary else None
        if watch:
            watch.start()
        process.wait()
        done.set()
        if watch:
            watch.join()
    measured = json.loads(report.read_text()) if report.exists() else {"code": process.returncode or 1}
    if measured["code"] != 0:
        tail = err.read_text(errors="replace")[-3000:]
        raise Failed(f"exit code {measured['code']}: {' '.join(map(str, command))}\n{tail}")
    return Execution(measured["seconds"], max(peak, measured["peak_mb"]), out.read_text(errors="replace"), most, resident[:-1])
