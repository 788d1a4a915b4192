"""The net that hears people: what it is made of and how it learns (`birdrec train voice`)."""
