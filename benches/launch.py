"""Starts one process and tells its peak memory: `launch.py REPORT CPUS COMMAND...`, run with `python -I -S`.

A process counts as its own the memory that the process had from which it was forked. Whoever compares outputs holds hundreds of
megabytes, so it does not fork what it measures: this small one does.
"""

import json
import os
import sys
import time

report, cpus, command = sys.argv[1], sys.argv[2], sys.argv[3:]
os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
start = time.perf_counter()
process = os.fork()
if process == 0:
    try:
        os.execvp(command[0], command)
    finally:
        os._exit(127)
_, status, usage = os.wait4(process, 0)
seconds = time.perf_counter() - start
with open(report, "w") as file:
    json.dump({"seconds": seconds, "peak_mb": usage.ru_maxrss / 1024, "code": os.waitstatus_to_exitcode(status)}, file)
