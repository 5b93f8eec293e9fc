"""Forward authorization: another proxy asks, the gateway answers with a verdict."""
