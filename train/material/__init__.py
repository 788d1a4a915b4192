"""All that one training works with, an account of the rest, and who judges."""
