"""Old name of `process`, until every caller in the repository has the new one."""

from .process import cpu_count as count  # noqa: F401
