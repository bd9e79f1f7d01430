"""The agent as a server of a building system: its database, its line to the cloud, its link to others."""
