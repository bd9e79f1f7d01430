"""What the cloud does by itself, beside devices and requests: parts of the jobs process."""
