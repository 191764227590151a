"""The lab: tasks, networks, the many-trials engine, records, figures and the command line.

It is used through ``etalambda`` on the command line and through its modules. Its dependencies come
with the ``lab`` extra and are imported only where they are used. Nothing else imports it.
"""

__all__: list[str] = []
EXPERIMENTAL: frozenset[str] = frozenset()
