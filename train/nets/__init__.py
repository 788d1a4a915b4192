"""The nets, what they see and what they are measured by."""
