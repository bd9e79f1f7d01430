"""What leaves the cloud for people: the outbox's mails."""
