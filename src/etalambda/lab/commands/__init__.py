"""The commands: thin functions whose signatures are the flags. The work is done elsewhere."""
