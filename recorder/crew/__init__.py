"""Who does the work of a scan: this process, several, or many machines; the same bytes from all."""
