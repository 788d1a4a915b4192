"""Sound that nobody recorded: songs from contours, and birds that do not exist."""
