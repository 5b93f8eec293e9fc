"""The processes of `noai-guard serve`: a supervisor and its workers, each with uvicorn and an app."""
