"""The job `listen`: a microphone for a month."""
