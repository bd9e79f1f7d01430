-- Which UPSs their agents have lost: a list of ten thousand devices asks for those of the last minutes at once.

CREATE INDEX event_lost ON event (ts) WHERE kind = 'communication_lost';
