"""Building Operation WorkStation in a terminal, with an Enterprise Server and stand-alone servers."""
