"""The MQTT endpoint of devices: TLS, log-in, telemetry into PostgreSQL, control messages down."""
