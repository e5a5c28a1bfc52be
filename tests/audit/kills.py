"""Programs that are killed where a test says, on machines of any pace: tests/kill.h."""
import os
import signal


class Kills:
    def __init__(self, shim):
        self.shim = shim

    def _environment(self, **more):
        return {**os.environ, "LD_PRELOAD": self.shim,
                "ASAN_OPTIONS": "verify_asan_link_order=0", **more}

    def counting(self, path):
        """The environment in which a program tells in a file how many of its calls change one."""
        return self._environment(LETHE_KILL_CALLS=str(path))

    def at(self, call):
        """… in which it is killed before that call."""
        return self._environment(LETHE_KILL=str(call))

    def placed(self, count, pattern):
        """… in which it is killed when so many files or folders of such paths were put in place."""
        return self._environment(LETHE_KILL_PLACED=f"{count} {pattern}")


def was_killed(process):
    """Waits for the end, which has to be a kill."""
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, (process.returncode, said)
