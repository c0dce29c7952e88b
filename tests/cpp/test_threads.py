"""How work is shared among threads, under ThreadSanitizer. `make fuzz` tries it more often."""

import subprocess

from fuzzing import EXAMPLES
from repository import ROOT, compiler


def test_sharing_of_work_has_no_data_race(tmp_path):
    program = str(tmp_path / "threads_test")
    flags = ["-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=thread", "-I."]
    command = [*compiler(), *flags, "-pthread", "tests/cpp/threads_test.cc", "-o", program]
    subprocess.run(command, check=True, cwd=ROOT)
    for _ in range(int(EXAMPLES) // 50 if EXAMPLES else 1):
        result = subprocess.run([program], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr[-10000:]
