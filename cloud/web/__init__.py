"""The portal: pages, API and live streams over HTTP."""
