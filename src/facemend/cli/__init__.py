"""The command line: one command a file. A command reads its arguments, calls the library and prints."""
