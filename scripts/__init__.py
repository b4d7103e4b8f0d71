"""One absl-flag program a job; each is also a console command."""
