"""The server: one page for people, one HTTP API for programs, one warm model for both."""
