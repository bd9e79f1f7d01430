"""The portal in real browsers."""
