"""The one file of settings, `birdrec.toml`: its keys, how it is read, checked and changed."""
