"""`mer bench`: what this machine makes of the framework, beside a baseline of the same run."""
