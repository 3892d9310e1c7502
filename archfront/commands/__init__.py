"""The commands of the command line, one file each. What is heavy is imported when a command runs."""
