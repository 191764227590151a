"""The lab's experiments: ``run(config, run, progress)``, one module each.

They write parts into an open record, so an interrupted run goes on where it was, and work for any
config of `etalambda.lab.configs`.
"""
