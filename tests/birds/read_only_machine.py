"""Run a command as where containers run: on a machine of its own, read-only and not as root."""

import os
import subprocess
import sys

NOBODY = 65534
SCRIPT = """
set -e
mount --bind /tmp /tmp
{shm}
mount --options remount,bind,ro /
{tmp}
exec "$@"
"""
READ_ONLY_SHM = "mount --types tmpfs --options ro,size=4k none /dev/shm"
READ_ONLY_TMP = "mount --options remount,bind,ro /tmp"
# without capabilities but one: the Python of these tests may lie in the folder of root
RIGHTS = "-all,+dac_read_search"
WITHOUT_RIGHTS = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
    *(f"--inh-caps={RIGHTS}", f"--ambient-caps={RIGHTS}", f"--bounding-set={RIGHTS}"),
]


def on_read_only_machine(command: list[str], writable: str) -> list[str]:
    """Return a command that runs another one where all but /tmp or /dev/shm is read-only.

    It sees the network and the processes of this machine, and has no rights: those of root run as
    nobody.
    """
    lines = {"shm": READ_ONLY_SHM, "tmp": ""}
    if writable == "/dev/shm":  # noqa: S108
        lines = {"shm": "", "tmp": READ_ONLY_TMP}
    is_root = os.geteuid() == 0
    unshare = ["unshare", "--mount"] if is_root else ["unshare", "--mount", "--map-root-user"]
    script = ["sh", "-c", SCRIPT.format(**lines), "sh"]
    return [*unshare, *script, *(AS_NOBODY if is_root else WITHOUT_RIGHTS), *command]


def reason_to_skip() -> str | None:
    """Return why no such machine can be had here, if so."""
    if sys.platform != "linux":
        return "namespaces are a feature of Linux"
    probe = on_read_only_machine(["true"], "/tmp")  # noqa: S108
    try:
        done = subprocess.run(probe, capture_output=True, text=True)
    except FileNotFoundError as error:
        return f"{error.filename} is not installed (Debian's package util-linux has it)"
    return None if done.returncode == 0 else f"this system allows no namespaces: {done.stderr}"
